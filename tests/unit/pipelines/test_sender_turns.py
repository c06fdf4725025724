"""More mail is made ready than may be at the relay at once; what waits for its turn looks again before it takes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from mailculator.errors import RelayUnavailable
from mailculator.lifecycle import Failed, Outcome, Release, Sent, Wait
from tests.unit.pipelines.test_sender import Bench

AT_THE_RELAY = 4


class Turns(asyncio.Semaphore):
    """Says who waits."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.waiting = asyncio.Semaphore(0)

    async def acquire(self) -> Literal[True]:
        if self.locked():
            self.waiting.release()
        return await super().acquire()


class Queueing(Bench):
    """A sender whose mail stays at the relay until it is let go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._turns = self.sender._turns = Turns(self.sender._turns._value)
        self._arrived, self._go = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.sending: list[asyncio.Task[Outcome]] = []

    async def turn(self) -> None:
        self._arrived.release()
        await self._go.acquire()

    async def fill(self, waiting: int, **changes: object) -> list[asyncio.Task[Outcome]]:
        """Have as many at the relay as may be there, and these tries wait behind them, all of them ready."""
        self.sending = [asyncio.create_task(self.handle()) for _ in range(AT_THE_RELAY)]
        for _ in self.sending:
            await self._arrived.acquire()
        tries = [asyncio.create_task(self.handle(**changes)) for _ in range(waiting)]
        for _ in tries:
            await self._turns.waiting.acquire()
        return tries

    def let_go(self) -> None:
        """All, whenever they come."""
        for _ in range(100):
            self._go.release()


@pytest.fixture
def bench(tmp_path: Path) -> Queueing:
    return Queueing(tmp_path)


async def test_twice_as_many_are_under_way_as_may_be_at_the_relay(bench: Queueing) -> None:
    assert bench.sender.concurrency == 2 * AT_THE_RELAY
    waiting = await bench.fill(AT_THE_RELAY)
    assert bench.relay.taken == []
    bench.let_go()
    outcomes = await asyncio.gather(*bench.sending, *waiting)
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert len(bench.relay.taken) == 2 * AT_THE_RELAY


async def test_what_expires_while_it_waits_for_its_turn_is_not_sent(bench: Queueing) -> None:
    waiting = await bench.fill(1, expires_at=bench.clock.now() + 10.0)
    await bench.clock.advance(10.0)
    bench.let_go()
    assert await waiting[0] == Failed("expired")
    await asyncio.gather(*bench.sending)
    assert len(bench.relay.taken) == AT_THE_RELAY


async def test_while_another_finds_out_whether_the_relay_is_back_what_waited_for_its_turn_does_not_try(
    bench: Queueing,
) -> None:
    waiting = await bench.fill(2)
    bench.breaker.failed("refused")
    bench.relay.error = RelayUnavailable("connect", "refused")
    bench.let_go()
    assert await asyncio.gather(*waiting) == [Release("the relay is away")] * 2
    bench.breaker.halt()
    assert {type(outcome) for outcome in await asyncio.gather(*bench.sending)} == {Wait}


async def test_a_process_that_stops_sends_nothing_that_still_waits_for_its_turn(bench: Queueing) -> None:
    waiting = await bench.fill(2)
    bench.breaker.halt()
    bench.let_go()
    assert await asyncio.gather(*waiting) == [Release("stopping")] * 2
    outcomes = await asyncio.gather(*bench.sending)
    assert {type(outcome) for outcome in outcomes} == {Sent}, "what is at the relay is finished"
    assert isinstance(await bench.handle(), Sent), "and so is what need not wait"
