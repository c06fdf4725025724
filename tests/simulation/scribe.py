"""The journal's writer without its thread: it takes a moment, and whoever dies in it has written nothing, or a part."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from mailculator.journal.scribe import Scribe, Waiter
from mailculator.journal.segments import Segments


class VirtualScribe(Scribe):
    """All that a Scribe does with what it is given is its own; when it does so is not.

    Arguments:
        pause: seconds that the disk takes for the next group.
    """

    def __init__(  # it has no thread to start, so not all that its kind begins with
        self,
        segments: Segments,
        *,
        on_written: Callable[[Sequence[Waiter], Exception | None], None],
        on_started: Callable[[Exception | None], None],
        on_died: Callable[[Sequence[Waiter], BaseException], None],  # a bug ends the simulation by itself
        pause: Callable[[], float],
    ) -> None:
        self._segments = segments
        self._on_written = on_written
        self._on_started = on_started
        self._loop = asyncio.get_running_loop()
        self._news = threading.Condition()
        self._gathered: list[Waiter] = []
        self._start_asked = False
        self._ending = False
        self._ended = asyncio.Event()
        self._pause = pause
        self._under_way = False

    def put(self, waiter: Waiter) -> None:
        """See Scribe, as with all that follows."""
        self._gathered.append(waiter)
        self._begin()

    def start_segment(self) -> None:
        self._start_asked = True
        self._begin()

    async def end(self) -> None:
        self._ending = True
        self._begin()
        await self._ended.wait()

    @property
    def unwritten(self) -> bytes:
        """What the thread would have in its hands."""
        return b"".join(waiter.record for waiter in self._gathered)

    def _begin(self) -> None:
        if not self._under_way and not self._ended.is_set():
            self._under_way = True
            self._loop.call_later(self._pause(), self._step)

    def _step(self) -> None:
        self._under_way = False
        if self._gathered or self._start_asked:
            self._turn()
        if self._gathered or self._start_asked:
            self._begin()
        elif self._ending and not self._ended.is_set():
            self._segments.close()
            self._tell(self._ended.set)

    def _tell(self, listener: Callable[..., None], *facts: object) -> None:
        self._loop.call_soon(listener, *facts)
