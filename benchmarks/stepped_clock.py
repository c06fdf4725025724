"""A clock that jumps from one moment at which something is due to the next, and only when nothing is under way.

So an hour of an idle service takes seconds, and what it asks for in that hour does not depend on how fast the machine
or the store is. Requests take their real time, in which this clock stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

SETTLE = 20
"""Turns of the event loop in which whatever can go on goes on."""


@dataclass(frozen=True, eq=False)
class _Sleeper:
    due: float
    event: asyncio.Event
    alarm: asyncio.Future[None]

    @property
    def asleep(self) -> bool:
        return not self.event.is_set() and not self.alarm.done()


class SteppedClock:
    """Implements mailculator.clock.Clock.

    Arguments:
        loops: time moves only while so many wait for it at once.
        busy: whether something is under way that does not wait for time; `news` must be called when that changes.
    """

    def __init__(self, loops: int, busy: Callable[[], bool]) -> None:
        self._loops = loops
        self._busy = busy
        self._now = 1000.0
        self._sleepers: list[_Sleeper] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def news(self) -> None:
        """Look again whether all is quiet."""
        self._changed.set()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """See Clock."""
        if event.is_set() or seconds <= 0:
            return event.is_set()
        sleeper = _Sleeper(self._now + seconds, event, asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        self.news()
        came = asyncio.ensure_future(event.wait())
        try:
            both: set[asyncio.Future[object]] = {came, sleeper.alarm}  # type: ignore[arg-type]  # only waited for
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            came.cancel()
            self._sleepers.remove(sleeper)
        return event.is_set()

    async def pass_by(self, seconds: float) -> None:
        """Let so much time pass, and all that falls due in it be done."""
        end = self._now + seconds
        while True:
            await self.quiet()
            due = min(sleeper.due for sleeper in self._sleepers)
            if due > end:
                self._now = end
                return
            self._now = due
            for sleeper in self._sleepers:
                if sleeper.due <= due and not sleeper.alarm.done():
                    sleeper.alarm.set_result(None)

    async def quiet(self) -> None:
        """Until nothing is left to do but to wait."""
        calm = 0
        while calm < SETTLE:
            if self._is_quiet():
                calm += 1
                await asyncio.sleep(0)
                continue
            calm = 0
            self._changed.clear()
            if not self._is_quiet():
                await self._changed.wait()

    def _is_quiet(self) -> bool:
        asleep = [sleeper for sleeper in self._sleepers if sleeper.asleep]
        return len(asleep) == len(self._sleepers) >= self._loops and not self._busy()
