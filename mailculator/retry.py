"""Delays between tries. They are data: the store keeps the due time, so they survive a restart."""

from __future__ import annotations

import random
from dataclasses import dataclass


def spread(longest: float, rng: random.Random, floor: float = 0.5) -> float:
    """A random share of `longest` seconds, `floor` (0 … 1) of it at least: keeps those who wait together apart."""
    return longest * (floor + (1.0 - floor) * rng.random())


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog. A floor keeps a lucky draw from spinning.

    Arguments:
        base: seconds; the longest delay after the first try.
        cap: seconds; no delay is longer.
        floor: the part of the longest delay, 0 … 1, below which none falls.
    """

    base: float
    cap: float
    floor: float = 0.1

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after try number `attempt` (1 is the first)."""
        longest = min(self.cap, self.base * 2.0 ** min(max(attempt, 1) - 1, 60))
        return spread(longest, rng, self.floor)
