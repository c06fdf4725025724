"""The thread that writes marks, in groups: while one is made durable, and for a while after it, the next gathers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from mailculator.journal.segments import Segments
from mailculator.values import value

GATHER_LIMIT = 0.005
"""Seconds for which marks gather after a write, at the most; else for as long as that write took. A write costs this
process as much as dozens of the marks in it."""
GATHER_SHARE = 4
"""So many times as long where several had waited for that write: under load a fifth of the time is spent on writing,
however fast the disk. One mail by itself, whose marks come one after the other, is not kept waiting for company."""

# Waited for in place of time.sleep, which fails where somebody fakes the machine's time: the thread would die of it.
_NEVER = threading.Event()


@value
class Waiter:
    """What one call puts on its way to the disk, and who waits for it.

    Arguments:
        record: whole records, one after the other.
        durable: the waiter goes on only once all of it is on the disk.
        future: None where nobody waits.
    """

    record: bytes
    durable: bool
    future: asyncio.Future[None] | None


class Scribe:
    """Takes records from the loop and writes them, one group at a time; a quiet journal adds no delay.

    Arguments:
        on_written: told each group once all of it was written, or what it failed with; on the loop.
        on_started: told of each segment that was asked for, or why there is none; on the loop.
        on_died: told what the thread died of though nobody had foreseen it, with all that it will never write; on the
            loop. Nothing is to be put or asked for after that.
        now, pause: monotonic seconds, and to let some of them pass; for tests.

    To be made in the loop that it is to serve.
    """

    def __init__(
        self,
        segments: Segments,
        *,
        on_written: Callable[[Sequence[Waiter], Exception | None], None],
        on_started: Callable[[Exception | None], None],
        on_died: Callable[[Sequence[Waiter], BaseException], None],
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = _NEVER.wait,
    ) -> None:
        self._segments = segments
        self._on_written = on_written
        self._on_started = on_started
        self._on_died = on_died
        self._now = now
        self._let_pass = pause
        self._loop = asyncio.get_running_loop()
        self._news = threading.Condition()
        self._gathered: list[Waiter] = []
        self._in_hand: list[Waiter] = []
        self._start_asked = False
        self._ending = False
        self._ended = asyncio.Event()
        # A daemon: a share that hangs must not keep a process alive that was told to stop.
        self._thread = threading.Thread(target=self._work, name="journal-scribe", daemon=True)
        self._thread.start()

    def put(self, waiter: Waiter) -> None:
        """Write this in the next group; returns at once."""
        with self._news:
            self._gathered.append(waiter)
            self._news.notify()

    def start_segment(self) -> None:
        """Open a new segment before the next group is written; returns at once."""
        with self._news:
            self._start_asked = True
            self._news.notify()

    async def end(self) -> None:
        """Write what was put before, then close the segment. Safe to call twice, and after the thread has died."""
        with self._news:
            self._ending = True
            self._news.notify()
        await self._ended.wait()

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # whatever it is, else all would wait for a thread that is gone
            self._tell(self._lay_down, error)
        self._tell(self._ended.set)

    def _serve(self) -> None:
        while self._await_work():
            began = self._now()
            share = GATHER_SHARE if self._turn() > 1 else 1
            self._let_pass(max(0.0, min(share * (self._now() - began), GATHER_LIMIT)))
        self._segments.close()

    def _lay_down(self, error: BaseException) -> None:
        """On the loop: whatever was put until now is among what is handed back."""
        left, self._in_hand, self._gathered = [*self._in_hand, *self._gathered], [], []
        self._on_died(left, error)

    def _await_work(self) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._gathered or self._start_asked or self._ending)
            return bool(self._gathered or self._start_asked)

    def _turn(self) -> int:
        """Do what was asked for. Returns how many had waited for it."""
        with self._news:
            group = self._in_hand = self._gathered
            self._gathered = []
            start, self._start_asked = self._start_asked, False
        if start:
            self._start()
        if group:
            self._write(group)
        return sum(waiter.future is not None for waiter in group)

    def _start(self) -> None:
        failure: Exception | None = None
        try:
            self._segments.start()
        except Exception as error:  # a bug as well: whoever waits has to be told
            failure = error
        self._tell(self._on_started, failure)

    def _write(self, group: list[Waiter]) -> None:
        failure: Exception | None = None
        try:
            durable = any(waiter.durable for waiter in group)
            self._segments.write(b"".join(waiter.record for waiter in group), durable=durable)
        except Exception as error:  # a bug as well: whoever waits has to be told
            failure = error
        self._tell(self._on_written, group, failure)
        self._in_hand = []

    def _tell(self, listener: Callable[..., None], *facts: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(listener, *facts)
