"""What is told when something that should run for as long as the process does has ended though nobody had ended it."""

from __future__ import annotations

import traceback

from mailculator.events import PipelineFailed


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
