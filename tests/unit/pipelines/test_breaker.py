"""The breaker, on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mailculator.events import BreakerChanged
from mailculator.lifecycle import Outcome, Sent, Wait
from mailculator.pipelines.breaker import Breaker
from tests.support.clock import FakeClock
from tests.support.events import Recording


def build() -> tuple[Breaker, FakeClock, Recording]:
    clock, seen = FakeClock(), Recording()
    return Breaker("relay", observer=seen, clock=clock, probe_every=5, probe_hold=60), clock, seen


def opened() -> tuple[Breaker, FakeClock, Recording]:
    breaker, clock, seen = build()
    for _ in range(5):
        breaker.failed("refused")
    return breaker, clock, seen


def test_five_failures_in_a_row_open_it_and_one_success_closes_it() -> None:
    breaker, _, seen = build()
    for _ in range(4):
        breaker.failed("refused")
    breaker.succeeded()
    for _ in range(4):
        breaker.failed("refused")
    assert not breaker.is_open
    breaker.failed("the last straw")
    assert breaker.is_open
    breaker.succeeded()
    assert seen.events == [
        BreakerChanged("relay", open=True, reason="the last straw"),
        BreakerChanged("relay", open=False, reason=""),
    ]


def test_it_admits_all_while_closed_and_one_while_open() -> None:
    breaker, _, _ = build()
    assert breaker.admits(40) == 40
    breaker, _, _ = opened()
    assert (breaker.admits(40), breaker.admits(0)) == (1, 0)


async def test_a_waiting_outcome_becomes_the_probe_and_the_first_success_ends_it() -> None:
    breaker, clock, _ = opened()
    answers: Iterator[Outcome] = iter([Wait("refused", 1.0), Wait("refused", 1.0), Sent("250 ok")])

    async def attempt() -> Outcome:
        answer = next(answers)
        if isinstance(answer, Sent):
            breaker.succeeded()
        return answer

    probe = asyncio.create_task(breaker.guard(attempt))
    await clock.until_waited_for(5.0)
    assert breaker.admits(10) == 0, "somebody probes already"

    async def other() -> Outcome:
        return Wait("refused", 2.0)

    assert await breaker.guard(other) == Wait("refused", 2.0), "the second does not probe too"
    await clock.advance(5.0)
    assert not probe.done()
    await clock.advance(5.0)
    assert await probe == Sent("250 ok")
    assert breaker.admits(10) == 10


async def test_a_probe_is_given_back_after_its_hold_so_that_another_takes_its_turn() -> None:
    breaker, clock, _ = opened()
    told: list[int] = []
    breaker.on_change(lambda: told.append(breaker.admits(10)))

    async def attempt() -> Outcome:
        return Wait("refused", 1.0)

    probe = asyncio.create_task(breaker.guard(attempt))
    for _ in range(12):
        await clock.advance(5.0)
    assert await probe == Wait("refused", 1.0)
    assert told == [1], "runners are told that a new probe may be claimed"


async def test_a_stop_ends_the_probe_at_once() -> None:
    breaker, clock, _ = opened()

    async def attempt() -> Outcome:
        return Wait("refused", 1.0)

    probe = asyncio.create_task(breaker.guard(attempt))
    await clock.until_waited_for(5.0)
    breaker.halt()
    assert await probe == Wait("refused", 1.0)


async def test_a_waiting_outcome_under_a_closed_breaker_is_just_that() -> None:
    breaker, _, _ = build()

    async def attempt() -> Outcome:
        breaker.failed("refused")
        return Wait("refused", 1.0)

    assert await breaker.guard(attempt) == Wait("refused", 1.0)
