"""One timer for many waits that may all last equally long.

A timer of its own for each (asyncio.timeout, call_later) is set and cancelled thousands of times for once that it
rings. Where all may last equally long, who began first is due first: a timer for the oldest is enough, and where that
one has ended by the time it rings, it is set anew for the oldest of then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Patience(Generic[T]):
    """Says what lasts too long.

    Arguments:
        seconds: how long each may last.
        on_late: told each that has lasted for that long, once, on the loop.
    """

    def __init__(self, seconds: float, on_late: Callable[[T], None]) -> None:
        self._seconds = seconds
        self._on_late = on_late
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, one: T) -> float:
        """It begins now. Returns when it is due, by the event loop's clock."""
        loop = asyncio.get_running_loop()
        due = self._due[one] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._ring, loop)
        return due

    def end(self, one: T) -> None:
        """It has ended, or need not be watched any more. Safe to call for what was late."""
        self._due.pop(one, None)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._due:
            one, due = next(iter(self._due.items()))
            if due > loop.time():
                self._timer = loop.call_at(due, self._ring, loop)
                return
            del self._due[one]
            self._on_late(one)


class TimeLimit:
    """As asyncio.timeout, for many tasks at once: `with limit():` raises TimeoutError where its block lasts too long.

    Arguments:
        seconds: for each block.
    """

    def __init__(self, seconds: float) -> None:
        self._patience: Patience[Span] = Patience(seconds, Span.interrupt)

    def __call__(self) -> Span:
        """For one `with`, in a task."""
        return Span(self._patience)


class Span:
    """A block under a time limit; `due` says when it is over, by the event loop's clock."""

    __slots__ = ("_cancelling", "_late", "_patience", "_task", "due")

    def __init__(self, patience: Patience[Span]) -> None:
        self._patience = patience
        self._late = False

    def __enter__(self) -> Span:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit holds for a task, and there is none")
        self._task = task
        self._cancelling = task.cancelling()
        self.due = self._patience.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patience.end(self)
        # Whoever else has cancelled the task meanwhile wins, as with asyncio.timeout: nothing is swallowed.
        if self._late and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def interrupt(self) -> None:
        """It has lasted too long."""
        self._late = True
        self._task.cancel()
