"""How fast writes may leave, and how that follows what the service takes."""

from __future__ import annotations

import pytest

from mailculator.stores.dynamodb.pacing import BURST, REGAIN, Pacing


class Stopwatch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(pacing: Pacing, clock: Stopwatch, seconds: float, *, writes: int = 1) -> int:
    """How many writes get through in that time, each waiting for its turn."""
    end, count = clock.now + seconds, 0
    while (delay := pacing.reserve(writes, within=end - clock.now)) is not None:
        clock.now += delay
        count += writes
    clock.now = end
    return count


def test_below_the_ceiling_nobody_waits() -> None:
    clock = Stopwatch()
    pacing = Pacing(700.0, clock=clock)
    for _ in range(5000):
        assert pacing.reserve(1, within=0.0) == 0.0
        clock.now += 1 / 650


@pytest.mark.parametrize("writes", [1, 2, 25])
def test_above_it_the_ceiling_holds_behind_a_burst(writes: int) -> None:
    clock = Stopwatch()
    pacing = Pacing(700.0, clock=clock)
    assert taken(pacing, clock, 10.0, writes=writes) == pytest.approx(700 * (10 + BURST), abs=writes + 1)


def test_a_turn_that_comes_too_late_is_not_taken() -> None:
    clock = Stopwatch()
    pacing = Pacing(10.0, clock=clock)
    assert pacing.reserve(50, within=0.0) == 0.0
    for _ in range(100):
        assert pacing.reserve(1, within=3.9) is None
    assert pacing.reserve(1, within=4.1) == pytest.approx(4.0)


def test_a_throttle_halves_the_rate_once_a_second() -> None:
    clock = Stopwatch()
    pacing = Pacing(700.0, clock=clock)
    for _ in range(50):
        pacing.throttled()
        clock.now += 0.01
    assert pacing.rate(clock.now) == pytest.approx(350.0 + 0.5 * 700 * REGAIN)
    clock.now += 0.6
    pacing.throttled()
    assert pacing.rate(clock.now) == pytest.approx((350.0 + 1.1 * 700 * REGAIN) / 2)


def test_a_throttle_ends_the_burst() -> None:
    clock = Stopwatch()
    pacing = Pacing(700.0, clock=clock)
    pacing.throttled()
    assert taken(pacing, clock, 1.0) == pytest.approx(350, abs=10)


def test_it_grows_back_to_the_ceiling_and_no_further() -> None:
    clock = Stopwatch()
    pacing = Pacing(700.0, clock=clock)
    pacing.throttled()
    clock.now += 0.5 / REGAIN / 2
    assert pacing.rate(clock.now) == pytest.approx(525.0)
    clock.now += 3600.0
    assert pacing.rate(clock.now) == 700.0


def test_throttled_all_the_time_it_still_goes_on() -> None:
    clock = Stopwatch()
    pacing = Pacing(700.0, clock=clock)
    for _ in range(60):
        pacing.throttled()
        clock.now += 1.0
    assert taken(pacing, clock, 1.0) >= 700 * REGAIN
