"""How often a store is looked at and counted, on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from mailculator.fleet import Replica
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Capabilities, Store
from mailculator.web.admin import looks
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.looks import Looks
from tests.support.clock import FakeClock
from tests.support.memory_store import MemoryControl, MemoryStore


class Control(MemoryControl):
    async def replicas(self) -> list[Replica]:
        return []


class Dear(MemoryStore):
    """A store in which a count takes a while."""

    def __init__(self, clock: FakeClock, *, takes: float = 0.0, paid: bool = False) -> None:
        super().__init__(clock)
        self.clock = clock
        self.takes = takes
        self.asked = 0
        self.ended = 0
        self.may_count = asyncio.Event()
        self.may_count.set()
        self.control = Control(self)
        self.capabilities = Capabilities(many_processes=True, count_every=30.0 if paid else 5.0, looks_are_paid=paid)

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        if terminal:
            self.ended += 1
            return {status: StatusCount(1) for status in Status}
        self.asked += 1
        await self.may_count.wait()
        self.clock._now += self.takes
        return await super().counts()


def looking(store: Dear) -> Looks:
    desk = Desk((store.name,), version="0.0.0", replica="test")
    desk.joined(cast(Store, store))
    return Looks(desk, clock=store.clock)


async def look_for(found: Looks, clock: FakeClock, seconds: int) -> Any:
    for _ in range(seconds):
        sight = await found.one("memory")
        await clock.advance(1.0)
    return sight


@pytest.mark.parametrize(("takes", "most"), [(0.0, 60), (0.03, 20), (0.1, 6), (1.0, 1)])
async def test_a_count_is_used_again_until_it_has_cost_its_share(takes: float, most: int) -> None:
    clock = FakeClock()
    store = Dear(clock, takes=takes)
    found = looking(store)
    await look_for(found, clock, 60)
    assert most / 2 <= store.calls["counts"] <= most
    assert store.calls["ping"] >= 50
    found.close()


async def test_what_has_ended_is_counted_seldom() -> None:
    clock = FakeClock()
    store = Dear(clock)
    found = looking(store)
    sight = await look_for(found, clock, 59)
    assert store.ended == 1
    assert sight.ended.counts[Status.INVALID] == 1
    await look_for(found, clock, 5)
    assert store.ended == 2
    found.close()


async def test_what_has_ended_is_counted_after_the_first_look_and_not_beside_it() -> None:
    clock = FakeClock()
    store = Dear(clock, takes=1.0)
    found = looking(store)
    store.may_count.clear()
    look = asyncio.create_task(found.one("memory"))
    await clock.settle()
    assert (store.asked, store.ended) == (1, 0)
    store.may_count.set()
    await look
    await clock.settle()
    assert (store.asked, store.ended) == (1, 1)
    found.close()


async def test_a_store_that_is_paid_for_is_looked_at_less_often_and_never_counted_in_full() -> None:
    clock = FakeClock()
    store = Dear(clock, paid=True)
    found = looking(store)
    await look_for(found, clock, 60)
    assert (store.calls["ping"], store.calls["counts"], store.ended) == (12, 2, 0)
    found.close()


async def test_what_somebody_has_changed_is_seen_at_the_next_look() -> None:
    clock = FakeClock()
    store = Dear(clock)
    found = looking(store)
    await found.one("memory")
    await found.one("memory")
    assert store.calls["ping"] == 1
    found.stale("memory")
    await found.one("memory")
    assert store.calls["ping"] == 2
    assert looks.LOOK_EVERY <= 1.0
    found.close()


async def test_a_dear_count_is_not_taken_beside_the_services_own() -> None:
    clock = FakeClock()
    store = Dear(clock, takes=1.0)
    desk = Desk((store.name,), version="0.0.0", replica="test")
    desk.joined(cast(Store, store))
    found = Looks(desk, clock=clock)
    desk.counted("memory", {Status.READY: StatusCount(7)})

    first = await look_for(found, clock, 1)
    assert first.view.counts == {Status.READY: StatusCount(7)}
    assert store.asked == 0
    desk.counted("memory", {Status.READY: StatusCount(8)})
    sight = await look_for(found, clock, 120)

    assert store.asked == 1
    assert sight.view.counts == {Status.READY: StatusCount(8)}
    own = desk.counts("memory")
    assert own is not None
    assert sight.counted == own.at
