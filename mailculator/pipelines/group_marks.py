"""Marks of the beginning and the end of many emails' handling, made together by all who ask in one turn of the loop."""

from __future__ import annotations

import asyncio
import contextlib

from mailculator.journal.base import Marks
from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Key


class GroupMarks:
    """One runner's BEGIN and END marks.

    Under load dozens of emails begin and end in a turn of the loop: what was claimed together, what the same write of
    the journal, or the same look at the sockets, let go on. Nothing but sending depends on these marks: without them a
    crash is not counted, and that is all, so a journal that is broken stops nobody here.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._beginning: list[Key] = []
        self._made = asyncio.Event()
        self._ending: list[Key] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, key: Key) -> None:
        """Its handling starts; on return that survives the process."""
        if not self._beginning:
            self._made = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._begin_together(), name="begin-marks")
            self._tasks.add(task)  # the loop itself keeps only a weak reference
            task.add_done_callback(self._tasks.discard)
        self._beginning.append(key)
        await self._made.wait()

    def end(self, key: Key) -> None:
        """Its handling has ended. Nobody waits for this mark."""
        if not self._ending:
            asyncio.get_running_loop().call_soon(self._end_together)
        self._ending.append(key)

    async def _begin_together(self) -> None:
        keys, made = self._beginning, self._made
        self._beginning = []
        try:
            with contextlib.suppress(JournalBroken):
                await self._marks.begin(keys)
        finally:
            made.set()

    def _end_together(self) -> None:
        keys, self._ending = self._ending, []
        self._marks.end(keys)
