"""A bound on how many mails leave in a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

BURST = 0.1
"""Seconds of the rate that may be taken at once after a pause. Short, since a relay counts by the second."""


class Rate:
    """A token bucket that hands out turns in the order they were asked for.

    Each caller reserves the next free moment and waits for it, so nobody is overtaken and no task runs in between. A
    caller cancelled while it waits leaves its turn unused: the rate errs towards the slow side.

    Arguments:
        per_second: turns a second; 0 = no limit.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / per_second if per_second > 0 else 0.0
        self._slack = max(0.0, BURST - self._interval)
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    async def take(self) -> None:
        """Wait for the next turn."""
        if not self._interval:
            return
        now = self._clock()
        turn = max(self._next, now - self._slack)
        self._next = turn + self._interval
        if turn > now:
            await self._sleep(turn - now)
