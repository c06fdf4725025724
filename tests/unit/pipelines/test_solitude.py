from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mailculator.pipelines.solitude import Solitude
from tests.support.clock import FakeClock


class House:
    """Tasks that go in, say so, and come out when they are told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.solitude = Solitude(self.clock, patience=30.0)
        self.inside: set[str] = set()
        self.leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def enter(self, name: str, *, alone: bool = False) -> None:
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, alone))
        await self.settle()

    async def _stay(self, name: str, alone: bool) -> None:
        if alone:
            async with self.solitude.alone():
                assert not self.inside
                await self._be_inside(name)
            return
        await self.solitude.join()
        try:
            await self._be_inside(name)
        finally:
            self.solitude.leave()

    async def _be_inside(self, name: str) -> None:
        self.inside.add(name)
        await self.leave[name].wait()
        self.inside.remove(name)

    async def go(self, *names: str) -> None:
        for name in names:
            self.leave[name].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    for task in house.tasks.values():
        task.cancel()
    await asyncio.gather(*house.tasks.values(), return_exceptions=True)


async def test_many_are_there_together(house: House) -> None:
    for name in "abc":
        await house.enter(name)
    assert house.inside == {"a", "b", "c"}


async def test_who_wants_to_be_alone_waits_until_the_house_is_empty_and_newcomers_pass(house: House) -> None:
    await house.enter("a")
    await house.enter("suspect", alone=True)
    await house.enter("b")
    await house.go("a")
    assert house.inside == {"b"}
    await house.go("b")
    assert house.inside == {"suspect"}


async def test_whoever_comes_while_one_is_alone_waits(house: House) -> None:
    await house.enter("suspect", alone=True)
    await house.enter("a")
    await house.enter("another", alone=True)
    assert house.inside == {"suspect"}
    await house.go("suspect")
    assert house.inside == {"a"}
    await house.go("a")
    assert house.inside == {"another"}


async def test_after_its_patience_newcomers_wait_for_it(house: House) -> None:
    await house.enter("a")
    await house.enter("suspect", alone=True)
    await house.clock.advance(30.0)
    await house.enter("b")
    assert house.inside == {"a"}
    await house.go("a")
    assert house.inside == {"suspect"}
    await house.go("suspect")
    assert house.inside == {"b"}


@pytest.mark.parametrize("waited", [0.0, 30.0])
async def test_one_that_gives_up_waiting_holds_up_nobody(house: House, waited: float) -> None:
    await house.enter("a")
    await house.enter("suspect", alone=True)
    if waited:
        await house.clock.advance(waited)
        await house.enter("b")
    house.tasks["suspect"].cancel()
    await house.settle()
    assert house.inside == ({"a", "b"} if waited else {"a"})
    await house.enter("c")
    assert "c" in house.inside


async def test_one_that_fails_inside_leaves_the_house(house: House) -> None:
    await house.enter("a")
    house.tasks["a"].cancel()
    await house.settle()
    house.inside.clear()
    await house.enter("suspect", alone=True)
    assert house.inside == {"suspect"}
    house.tasks["suspect"].cancel()
    await house.settle()
    house.inside.clear()
    await house.enter("b")
    assert house.inside == {"b"}
