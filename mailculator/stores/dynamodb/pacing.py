"""How fast this process may write.

A partition takes 1,000 write units a second, and every email's record lies in one partition of StatusIndex until
DynamoDB has split it. Above that it throttles; who then only tries again keeps it throttled. So the rate is halved at
a throttle and grows back slowly (additive increase, multiplicative decrease: Chiu and Jain 1989).
"""

from __future__ import annotations

import time
from collections.abc import Callable

BURST = 1.0
"""Seconds of the rate that may be spent at once after a pause."""

REGAIN = 0.02
"""Part of the ceiling by which the rate grows back every second: from half to all in 25 s. It is where a rate that is
halved every second comes to rest, too."""

HALVED_AT_MOST = 1.0
"""Seconds between two halvings: what was under way at a throttle is throttled too, and says nothing new."""


class Pacing:
    """A token bucket whose rate follows what the service takes.

    Arguments:
        ceiling: writes a second while nothing is throttled.
        clock: monotonic seconds.
    """

    def __init__(self, ceiling: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ceiling = ceiling
        self._clock = clock
        self._rate = ceiling
        self._changed = self._next = float("-inf")

    def rate(self, now: float) -> float:
        """Writes a second that are allowed now."""
        if self._rate < self._ceiling:
            grown = self._rate + (now - self._changed) * self._ceiling * REGAIN
            if grown < self._ceiling:
                return grown
            self._rate = self._ceiling
        return self._rate

    def reserve(self, writes: int, *, within: float) -> float | None:
        """Take a turn for that many writes.

        Returns how many seconds to wait for it (0 as a rule); None when that would be longer than `within`, and
        nothing is taken.
        """
        now = self._clock()
        turn = max(self._next, now - BURST)
        delay = turn - now
        if delay > within:
            return None
        self._next = turn + writes / self.rate(now)
        return max(0.0, delay)

    def throttled(self) -> None:
        """The service has refused a write for its rate: halve ours, once a second at the most."""
        now = self._clock()
        if now - self._changed >= HALVED_AT_MOST:
            self._rate = self.rate(now) / 2
            self._changed = now
            self._next = max(self._next, now)
