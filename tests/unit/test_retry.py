"""Delays between tries."""

from __future__ import annotations

import random

from mailculator.retry import Backoff
from mailculator.timing import Timing


def test_delays_grow_to_the_cap_and_are_spread() -> None:
    backoff, rng = Backoff(base=30.0, cap=1800.0), random.Random(7)
    for attempt, longest in ((1, 30.0), (2, 60.0), (6, 960.0), (7, 1800.0), (500, 1800.0)):
        delays = [backoff.delay(attempt, rng) for _ in range(300)]
        assert min(delays) >= longest * 0.1
        assert max(delays) <= longest
        assert max(delays) - min(delays) > longest * 0.7, "jitter keeps those who failed together apart"


def test_an_attempt_below_one_is_the_first() -> None:
    assert Backoff(base=10.0, cap=20.0, floor=1.0).delay(0, random.Random(1)) == 10.0


def test_scaling_reaches_every_duration() -> None:
    plain, scaled = Timing(), Timing().scaled(0.5)
    for name in Timing.__dataclass_fields__:
        before, after = getattr(plain, name), getattr(scaled, name)
        if isinstance(before, Backoff):
            assert (after.base, after.cap, after.floor) == (before.base * 0.5, before.cap * 0.5, before.floor)
        else:
            assert after == before * 0.5
