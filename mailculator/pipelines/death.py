"""What is told when something that should run for as long as the process does has ended though nobody had ended it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from mailculator.events import PipelineFailed


async def watched(loop: Coroutine[Any, Any, None], died: Callable[[Exception], None]) -> None:
    """Run a loop. What it dies of is told; it tears nothing down that others have begun.

    Arguments:
        died: told of it. It should see to it that the process stops in good order.
    """
    try:
        await loop
    except Exception as error:  # whatever it is, nobody foresaw it
        died(error)


def death(store: str, name: str, error: BaseException) -> PipelineFailed:
    """The event of such an end.

    Arguments:
        store: "" for what all stores share.
        name: what has ended.
        error: what it ended with.
    """
    trace = "".join(traceback.format_exception(error))
    cause = _cause(error)
    return PipelineFailed(store, name, f"{type(cause).__name__}: {cause}", fatal=True, traceback=trace)


def _cause(error: BaseException) -> BaseException:
    """What a task group wraps: a loop mostly dies of one thing, and that is what the log should say."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
