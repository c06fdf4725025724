"""cutover status."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mailculator.cli import output
from mailculator.cli.service import Json

application = typer.Typer(
    help="The way of a live queue from DynamoDB to MariaDB.", no_args_is_help=True, rich_markup_mode=None
)


class StepName(StrEnum):
    """What --step takes; the steps of cutover.assessment, which --help would be slower with."""

    BOTH = "both"
    SWITCH = "switch"
    DISABLE = "disable"
    FORGET = "forget"


StepOption = Annotated[
    StepName | None,
    typer.Option(
        "--step",
        help="Judge this step: run on both, switch the producer, disable DynamoDB, forget it. Default: the next one.",
        metavar="both|switch|disable|forget",
    ),
]


@application.callback()
def group() -> None:
    """The way of a live queue from DynamoDB to MariaDB."""  # without this, typer would make `status` the group


@application.command("status")
def status(step: StepOption = None, as_json: Json = False) -> None:
    """Say in which phase a cutover is, and whether the next step is safe.

    Run it with the environment of the service. It also looks at a queue that is configured and switched off. Exit code
    0 when the step is safe, 3 when it is not, 69 when a queue is away, 78 for settings and schema.
    """
    raise typer.Exit(output.run(_status(step, as_json=as_json)))


async def _status(step: StepName | None, *, as_json: bool) -> int:
    from mailculator.cli import cutover_report

    return await cutover_report.report(None if step is None else step.value, as_json=as_json)
