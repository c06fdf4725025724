"""The bound on bytes in memory."""

from __future__ import annotations

import asyncio

import pytest

from mailculator.pipelines.budget import ByteBudget


class Holder:
    """Holds bytes until it is told to let go."""

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self.has, self.let_go = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget, size))

    async def _hold(self, budget: ByteBudget, size: int) -> None:
        async with budget.hold(size):
            self.has.set()
            await self.let_go.wait()

    async def end(self) -> None:
        self.let_go.set()
        await self.task


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_the_limit_is_held_and_the_order_is_kept() -> None:
    budget = ByteBudget(10)
    first, large, small = Holder(budget, 6), Holder(budget, 8), Holder(budget, 1)
    await first.has.wait()
    await turns()
    assert not large.has.is_set()
    assert not small.has.is_set(), "a small one does not overtake: else a large one would wait for ever"
    await first.end()
    await large.has.wait()
    await small.has.wait()
    await large.end()
    await small.end()


async def test_what_is_larger_than_all_of_it_goes_alone() -> None:
    budget = ByteBudget(10)
    giant, other = Holder(budget, 1_000), Holder(budget, 1)
    await giant.has.wait()
    await turns()
    assert not other.has.is_set()
    await giant.end()
    await other.has.wait()
    await other.end()


async def test_who_is_cancelled_while_waiting_holds_up_nobody_and_keeps_nothing() -> None:
    budget = ByteBudget(10)
    first, waiting, last = Holder(budget, 10), Holder(budget, 10), Holder(budget, 10)
    await first.has.wait()
    await turns()
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    await first.end()
    await last.has.wait()
    await last.end()


async def test_who_is_cancelled_just_as_its_turn_comes_gives_it_on() -> None:
    budget = ByteBudget(10)
    first, granted, last = Holder(budget, 10), Holder(budget, 10), Holder(budget, 10)
    await first.has.wait()
    await turns()
    first.let_go.set()
    await asyncio.sleep(0)  # the first one's block ends now, and with it the second one's wait
    granted.task.cancel()
    await asyncio.wait({granted.task})
    await last.has.wait()
    await last.end()
    async with asyncio.timeout(1), budget.hold(10):
        pass
