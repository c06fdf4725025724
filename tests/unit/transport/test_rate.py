from __future__ import annotations

import asyncio

import pytest

from mailculator.transport.rate import Rate


class Time:
    """A clock that only its own sleepers move."""

    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_no_limit_never_waits() -> None:
    time = Time()
    rate = Rate(0, clock=time.clock, sleep=time.sleep)
    for _ in range(1000):
        await rate.take()
    assert time.slept == []


async def test_turns_are_spread_over_the_second() -> None:
    time = Time()
    rate = Rate(5, clock=time.clock, sleep=time.sleep)
    taken = []
    for _ in range(11):
        await rate.take()
        taken.append(round(time.now - 50.0, 6))
    assert taken == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]


async def test_a_pause_saves_up_no_more_than_a_tenth_of_a_second() -> None:
    time = Time()
    rate = Rate(128, clock=time.clock, sleep=time.sleep)
    await rate.take()
    time.now += 3600
    start = time.now
    at_once = 0
    while time.now == start:
        await rate.take()
        at_once += time.now == start
    assert at_once == 12


async def test_over_any_second_no_more_than_the_rate_and_its_burst() -> None:
    time = Time()
    rate = Rate(100, clock=time.clock, sleep=time.sleep)
    taken = []
    for at in range(1000):
        if at == 500:
            time.now += 7
        await rate.take()
        taken.append(time.now)
    for start in taken:
        assert sum(start <= at < start + 1 for at in taken) <= 111


async def test_waiters_get_their_turns_in_order() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))

    rate = Rate(10, clock=lambda: 0.0, sleep=sleep)
    await asyncio.gather(*[rate.take() for _ in range(4)])
    assert waits == [0.1, 0.2, 0.3]


class TestTheRelayAsksForLess:
    async def test_it_is_halved_and_regained_within_half_a_minute(self) -> None:
        time, told = Time(), []
        rate = Rate(100, clock=time.clock, sleep=time.sleep, on_change=lambda limit, why: told.append((limit, why)))
        rate.slowed("454")
        assert (rate.limit, rate.reason) == (50, "454")
        time.now += 10
        assert rate.limit == pytest.approx(70)
        time.now += 16
        assert (rate.limit, rate.reason) == (100, "")
        assert told == [(50, "454"), (100, "")]

    async def test_what_was_under_way_halves_it_once(self) -> None:
        time = Time()
        rate = Rate(100, clock=time.clock, sleep=time.sleep)
        for _ in range(20):
            rate.slowed("421")
        assert rate.limit == 50
        time.now += 1
        rate.slowed("421")
        assert rate.limit == pytest.approx(26)

    async def test_somebody_goes_on_asking_however_often_it_refuses(self) -> None:
        time = Time()
        rate = Rate(100, clock=time.clock, sleep=time.sleep)
        for _ in range(100):
            rate.slowed("421")
            time.now += 1
        assert 0.2 <= rate.limit <= 5
        await rate.take()
        before = time.now
        await rate.take()
        assert time.now - before <= 5

    async def test_where_none_is_set_it_is_half_of_what_was_sent_and_then_none_again(self) -> None:
        time, told = Time(), []
        rate = Rate(0, clock=time.clock, sleep=time.sleep, on_change=lambda limit, why: told.append((limit, why)))
        for _ in range(40):
            await rate.take()
        time.now += 1
        await rate.take()
        rate.slowed("450")
        assert rate.limit == 20
        started = time.now
        for _ in range(20):
            await rate.take()
        assert time.now - started == pytest.approx(0.9, abs=0.1)
        time.now += 30
        assert rate.limit == 0
        assert told == [(20, "450"), (0, "")]
        slept = len(time.slept)
        await rate.take()
        assert len(time.slept) == slept

    async def test_a_long_silence_before_the_first_refusal(self) -> None:
        time = Time()
        rate = Rate(0, clock=time.clock, sleep=time.sleep)
        await rate.take()
        time.now += 3600
        await rate.take()
        rate.slowed("421")
        assert rate.limit == 0.5
