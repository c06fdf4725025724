"""A bound on how many mails a second are begun for one recipient domain: the operator's."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mailculator.retry import spread
from mailculator.transport.rate import BURST

FEW = 64
"""Domains below which none is looked for that may be forgotten."""


@dataclass(slots=True)
class _Turns:
    """Of one domain, as moments of the clock.

    Arguments:
        next: the first that nobody has taken.
        later: the same of those who were told to come again: where the next of them is to queue up.
    """

    next: float
    later: float


class DomainRate:
    """Hands out turns for each domain by itself; a domain's mail is held up by nobody else's, and holds up nobody.

    A turn that is near is waited for in place, by a few at once: a place where mail is sent is a place for other
    domains too. Whoever cannot wait there is told when to come again: behind all who were told so before, each a turn
    after the other. So a queue of thousands for one domain is looked through once and comes back at its rate, and what
    comes back finds its turn, unless mail that is new was faster.

    Arguments:
        per_second: turns a second for each domain; 0 = no limit.
        places: where turns are waited for, at the most.
        patience: seconds that a turn may be away to be waited for.
        least: seconds after which to come again, at the least: giving mail back is two writes to the store.
        most: at the most; whoever would have to queue up beyond that comes again at random in its second half.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        per_second: float,
        *,
        places: int,
        patience: float,
        least: float,
        most: float,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / per_second if per_second > 0 else 0.0
        self._free = places
        self._patience = patience
        self._least = least
        self._most = most
        self._rng = rng
        self._clock = clock
        self._sleep = sleep
        self._domains: dict[str, _Turns] = {}
        self._sweep_at = FEW

    async def take(self, domain: str) -> float:
        """0.0 when the domain's turn has come, or else the seconds after which to come again."""
        if not self._interval:
            return 0.0
        now = self._clock()
        turns = self._of(domain, now)
        turn = max(turns.next, now - max(0.0, BURST - self._interval))
        away = turn - now
        if away > 0 and (away > self._patience or not self._free):
            return self._later(turns, now)
        turns.next = turn + self._interval
        if away > 0:
            self._free -= 1
            try:
                await self._sleep(away)
            finally:
                self._free += 1
        return 0.0

    def _later(self, turns: _Turns, now: float) -> float:
        at = max(turns.later, now + self._least)
        if at - now > self._most:
            return spread(self._most, self._rng)
        turns.later = at + self._interval
        return at - now

    def _of(self, domain: str, now: float) -> _Turns:
        if (known := self._domains.get(domain)) is not None:
            return known
        if len(self._domains) >= self._sweep_at:
            # A domain whose turns all lie behind is as good as one that was never heard of.
            self._domains = {name: one for name, one in self._domains.items() if max(one.next, one.later) > now}
            self._sweep_at = max(FEW, 2 * len(self._domains))
        turns = self._domains[domain] = _Turns(now, now)
        return turns
