from __future__ import annotations

import asyncio

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
