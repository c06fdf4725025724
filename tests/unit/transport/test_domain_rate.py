"""Turns of each domain by itself: waited for in place where they are near, and come back for where they are not."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from typing import Any

import pytest

from mailculator.transport.domain_rate import FEW, DomainRate

START = 50.0


class Time:
    """A clock that stands still until it is moved; who sleeps is woken when it gets there."""

    def __init__(self) -> None:
        self.now = START
        self.sleepers: list[tuple[float, asyncio.Event]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.sleepers.append((self.now + seconds, woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        for due, woken in self.sleepers:
            if due <= self.now:
                woken.set()
        self.sleepers = [(due, woken) for due, woken in self.sleepers if not woken.is_set()]
        await settle()


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def domain_rate(time: Time, per_second: float, **changes: Any) -> DomainRate:
    usual = {"places": 5, "patience": 1.0, "least": 5.0, "most": 1800.0, "rng": random.Random(3)}
    return DomainRate(per_second, clock=time.clock, sleep=time.sleep, **{**usual, **changes})


async def begin(*turns: Any) -> list[asyncio.Task[float]]:
    tasks = [asyncio.create_task(turn) for turn in turns]
    await settle()
    return tasks


def results(tasks: list[asyncio.Task[float]]) -> list[float | None]:
    return [round(task.result(), 6) if task.done() else None for task in tasks]


async def test_no_limit_never_waits_and_keeps_nothing() -> None:
    time = Time()
    rate = domain_rate(time, 0)
    assert [await rate.take("a.example") for _ in range(100)] == [0.0] * 100
    assert time.sleepers == []
    assert rate._domains == {}


async def test_a_turn_that_is_near_is_waited_for_and_one_that_is_not_is_come_back_for() -> None:
    time = Time()
    rate = domain_rate(time, 2)
    tasks = await begin(*(rate.take("a.example") for _ in range(6)))
    assert results(tasks) == [0.0, None, None, 5.0, 5.5, 6.0]
    assert [due - START for due, _ in time.sleepers] == [0.5, 1.0]
    await time.advance(0.5)
    assert results(tasks)[:3] == [0.0, 0.0, None]
    await time.advance(0.5)
    assert results(tasks)[:3] == [0.0, 0.0, 0.0]


async def test_another_domain_has_turns_of_its_own() -> None:
    time = Time()
    rate = domain_rate(time, 1)
    await begin(*(rate.take("a.example") for _ in range(50)))
    assert await rate.take("b.example") == 0.0


async def test_no_more_wait_in_place_than_there_are_places_whatever_their_domains() -> None:
    time = Time()
    rate = domain_rate(time, 1, places=2)
    domains = ("a.example", "b.example", "c.example")
    await begin(*(rate.take(domain) for domain in domains))
    tasks = await begin(*(rate.take(domain) for domain in domains))
    assert results(tasks) == [None, None, 5.0]
    await time.advance(1.0)
    tasks = await begin(*(rate.take(domain) for domain in domains[:2]))
    assert results(tasks) == [None, None]


async def test_who_is_cancelled_gives_its_place_free() -> None:
    time = Time()
    rate = domain_rate(time, 1, places=1)
    (first, waiting) = await begin(rate.take("a.example"), rate.take("a.example"))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await begin(rate.take("b.example"))
    assert first.done()
    assert results(await begin(rate.take("b.example"))) == [None]


async def test_a_pause_saves_up_no_more_than_a_tenth_of_a_second() -> None:
    time = Time()
    rate = domain_rate(time, 128, patience=0.0)
    await rate.take("a.example")
    await time.advance(3600)
    taken = [await rate.take("a.example") for _ in range(20)]
    assert taken.count(0.0) == 12


async def test_a_deep_queue_is_looked_through_once_and_comes_back_at_its_rate() -> None:
    """Each mail comes when it was told to: all are begun as fast as allowed, hardly any is given back twice."""
    time = Time()
    rate = domain_rate(time, 10, places=2)
    queue = [(START + number / 1000, number) for number in range(3000)]
    given_back: Counter[int] = Counter()
    begun: list[float] = []
    while queue:
        due, number = heapq.heappop(queue)
        await time.advance(max(0.0, due - time.now))
        (task,) = await begin(rate.take("a.example"))
        later = task.result() if task.done() else 0.0
        if later:
            given_back[number] += 1
            heapq.heappush(queue, (time.now + later, number))
        else:
            begun.append(time.now)
    await time.advance(1.0)
    assert begun[-1] - START < 3000 / 10 + 10
    assert all(later - earlier > 0.8 for earlier, later in zip(begun, begun[10:], strict=False))
    assert given_back.total() <= 3100
    assert max(given_back.values()) <= 2


async def test_beyond_the_longest_wait_all_come_again_at_random_and_none_soon() -> None:
    time = Time()
    rate = domain_rate(time, 1, most=60.0, places=0)
    waits = [await rate.take("a.example") for _ in range(1000)][1:]
    assert waits[:56] == [5.0 + number for number in range(56)]
    assert all(30.0 <= wait <= 60.0 for wait in waits[56:])
    assert max(waits[56:]) - min(waits[56:]) > 25.0


async def test_domains_whose_turns_are_over_are_forgotten_and_others_are_not() -> None:
    time = Time()
    rate = domain_rate(time, 1, places=0)
    for _ in range(200):
        await rate.take("busy.example")
    for number in range(20 * FEW):
        assert await rate.take(f"{number}.example") == 0.0
        await time.advance(0.1)
        assert len(rate._domains) <= 2 * FEW
    assert await rate.take("busy.example") == 0.0, "it has had no mail meanwhile"
    assert await rate.take("busy.example") == pytest.approx(START + 5 + 199 - time.now, abs=0.001), "its queue stands"
