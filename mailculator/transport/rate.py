"""A bound on how many mails leave in a second: the operator's, and beneath it the one that the relay asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

BURST = 0.1
"""Seconds of the rate that may be taken at once after a pause. Short, since a relay counts by the second."""
LEAST = 0.2
"""Turns a second that are left however often the relay refuses: somebody has to find out that it takes mail again."""
REGAIN = 0.02
"""Part of the former rate that is won back every second: from half to all in 25 s."""
HALVED_AT_MOST = 1.0
"""Seconds between two halvings: what was under way at a refusal is refused too, and says nothing new."""


class Rate:
    """A token bucket that hands out turns in the order they were asked for.

    Each caller reserves the next free moment and waits for it, so nobody is overtaken and no task runs in between. A
    caller cancelled while it waits leaves its turn unused: the rate errs towards the slow side.

    A relay that refuses mail for its rate halves ours, and it grows back slowly (additive increase, multiplicative
    decrease: Chiu and Jain 1989). Where no rate is set, the one at which mail left just then is what is halved and
    regained, and after that there is no bound any more.

    Arguments:
        per_second: turns a second; 0 = no limit.
        clock: monotonic seconds.
        sleep: waits that many seconds.
        on_change: told the new limit in turns a second (0 = none), and why, at each halving and when it is regained.
    """

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        on_change: Callable[[float, str], None] = lambda limit, reason: None,
    ) -> None:
        self._set = max(per_second, 0.0)
        self._clock = clock
        self._sleep = sleep
        self._on_change = on_change
        self._next = clock()
        self._reason = ""
        self._former = 0.0
        self._braked = 0.0
        self._braked_at = float("-inf")
        self._second = 0
        self._taken = self._taken_before = 0

    @property
    def limit(self) -> float:
        """Turns a second that are allowed now; 0 = any number."""
        if self._braked:
            grown = self._braked + (self._clock() - self._braked_at) * self._former * REGAIN
            if grown < self._former:
                return grown
            self._braked, self._reason = 0.0, ""
            self._on_change(self._set, "")
        return self._set

    @property
    def reason(self) -> str:
        """Why it is below what is set; "" where it is not."""
        return self._reason if self.limit != self._set else ""

    def slowed(self, reason: str) -> None:
        """The relay has refused a mail for the rate at which they come.

        Arguments:
            reason: short and from a closed set; it labels a metric.
        """
        now, limit = self._clock(), self.limit
        if now - self._braked_at < HALVED_AT_MOST:
            return
        if not self._braked:
            self._former = max(limit or self._seen(), 2 * LEAST)
        self._braked = max((limit if self._braked else self._former) / 2, LEAST)
        self._braked_at = now
        self._reason = reason
        self._on_change(self._braked, reason)

    async def take(self) -> None:
        """Wait for the next turn."""
        now, limit = self._clock(), self.limit
        self._count(now)
        if not limit:
            return
        interval = 1.0 / limit
        turn = max(self._next, now - max(0.0, BURST - interval))
        self._next = turn + interval
        if turn > now:
            await self._sleep(turn - now)

    def _count(self, now: float) -> None:
        second = int(now)
        if second != self._second:
            self._taken_before = self._taken if second == self._second + 1 else 0
            self._second, self._taken = second, 0
        self._taken += 1

    def _seen(self) -> float:
        """Turns a second that were taken of late."""
        return float(max(self._taken, self._taken_before))
