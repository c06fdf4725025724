"""Types commands inside this process: the same application, without the third of a second that a new one takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from typer.testing import CliRunner

from mailculator.cli.main import application
from tests.support.service import environment


async def type_in(*arguments: str, variables: Mapping[str, object]) -> tuple[int, str, str]:
    """As tests.support.service.command: exit code, standard output, standard error; in a thread with a loop of its own.

    Arguments:
        variables: all that the command sees of an environment, beside what every process needs.
    """
    others: dict[str, str | None] = dict.fromkeys(os.environ)
    runner = CliRunner(env={**others, **environment(**variables)})
    result = await asyncio.to_thread(runner.invoke, application, list(arguments), prog_name="mailculator")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
