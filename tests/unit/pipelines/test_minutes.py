"""The memory of a store: a note a minute, true also over outages, restarts and a stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

from mailculator import __version__
from mailculator.events import Lifetime, Moved, StoreNoticed
from mailculator.model import Status, StatusCount
from mailculator.pipelines.ledger import Ledger
from mailculator.pipelines.minutes import WAITING, MinuteKeeper, Sources
from mailculator.stores.base import Minute, Spent, Store, Survey
from mailculator.stores.watched import WatchedStore
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import MemoryStore

BEGIN = datetime(2026, 11, 20, 23, 57, 40, tzinfo=UTC)
FIRST = datetime(2026, 11, 20, 23, 57, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock(0.0)
        self.seen = Recording()
        self.store = MemoryStore(self.clock)
        self.ledger = Ledger("memory", epoch=lambda: 0.0)
        self.counts: Mapping[Status, StatusCount] = {Status.READY: StatusCount(1)}
        self.learned: list[tuple[Sequence[Minute], Survey]] = []
        self.lag = timedelta()
        self.keeper = MinuteKeeper(
            WatchedStore(cast(Store, self.store), observer=self.seen, clock=self.clock),
            replica="a",
            minute=60.0,
            reach=3600.0,
            clock=self.clock,
            observer=self.seen,
            ledger=self.ledger,
            sources=Sources(lambda: self.counts, lambda: {"guard": "on"}, self.utc),
            on_learned=lambda minutes, survey: self.learned.append((minutes, survey)),
        )

    def utc(self) -> datetime:
        return BEGIN + timedelta(seconds=self.clock.now()) - self.lag

    def noted(self) -> list[Minute]:
        return sorted(self.store.remembered.values(), key=lambda one: one.at)

    def moved(self, to: Status, version: int, store: str = "memory") -> None:
        self.ledger(Moved(store, "p", "id", "o", Status.INTAKING, to, version, 1, 0.1, 0.2, None))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run())
        await self.clock.until_waited_for(60.0)
        yield
        self.keeper.stop()
        await task


async def test_a_minute_is_noted_when_it_ends() -> None:
    bench = Bench()
    async with bench.running():
        await bench.clock.advance(19.0)
        assert bench.noted() == []
        await bench.clock.advance(1.0)
        assert bench.noted() == [Minute(FIRST, "a", __version__, bench.counts, 0, 0, {"guard": "on"})]
        await bench.clock.advance(60.0)
        assert [one.at for one in bench.noted()] == [FIRST, FIRST + MINUTE]


async def test_bad_input_47_what_nobody_can_work_on_is_told_once_a_look() -> None:
    bench = Bench()
    bench.store.surveyed = Survey(exact=True, poisoned=("a", "b"), poisoned_count=7)
    async with bench.running():
        await bench.clock.advance(20.0)
        first = len(bench.seen.of(StoreNoticed))
        await bench.clock.advance(60.0)
        assert len(bench.seen.of(StoreNoticed)) == first + 1
        bench.store.surveyed = Survey(exact=True)
        await bench.clock.advance(60.0)
        assert len(bench.seen.of(StoreNoticed)) == first + 1
    told = bench.seen.of(StoreNoticed)[0]
    assert (told.store, told.kind) == ("memory", "unworkable")
    assert told.detail == "7 records that nobody can work on, among them a, b"


async def test_an_email_comes_once_and_leaves_once() -> None:
    bench = Bench()
    async with bench.running():
        bench.moved(Status.READY, 3)  # the end of the first claim
        bench.moved(Status.SENT, 5)
        bench.moved(Status.SENT_ACKNOWLEDGED, 7)
        bench.moved(Status.ACCEPTED, 3)  # another one, whose payload is not there yet
        bench.moved(Status.INVALID, 5)
        bench.moved(Status.READY, 3, store="mysql")
        await bench.clock.advance(20.0)
        await bench.clock.advance(60.0)
    first, second, _ = bench.noted()
    assert (first.entered, first.left) == (2, 2)
    assert (second.entered, second.left) == (0, 0)


async def test_what_a_store_that_is_away_does_not_take_is_written_later() -> None:
    bench = Bench()
    async with bench.running():
        bench.store.away = True
        bench.moved(Status.READY, 3)
        bench.counts = {}
        await bench.clock.advance(20.0)
        await bench.clock.advance(60.0)
        assert bench.noted() == []
        bench.store.away = False
        bench.counts = {Status.READY: StatusCount(0)}
        await bench.clock.advance(60.0)
    assert [(one.at, one.entered, dict(one.counts)) for one in bench.noted()[:3]] == [
        (FIRST, 1, {}),
        (FIRST + MINUTE, 0, {}),
        (FIRST + 2 * MINUTE, 0, bench.counts),
    ]


async def test_a_long_outage_loses_minutes_and_no_email() -> None:
    bench = Bench()
    async with bench.running():
        bench.store.away = True
        bench.moved(Status.READY, 3)
        for seconds in (20.0, *[60.0] * (WAITING + 4)):
            await bench.clock.advance(seconds)
        bench.store.away = False
        await bench.clock.advance(60.0)
    noted = bench.noted()
    assert noted[0].at == FIRST + 6 * MINUTE
    assert sum(one.entered for one in noted) == 1


async def test_a_time_of_day_that_lags_counts_nothing_away() -> None:
    """The wait ends by one clock and the minute by another: the same minute is then noted twice."""
    bench = Bench()
    async with bench.running():
        bench.moved(Status.READY, 3)
        bench.lag = timedelta(milliseconds=5)
        await bench.clock.advance(20.0)
        bench.moved(Status.READY, 3)
        await bench.clock.advance(0.005)
        await bench.clock.advance(60.0)
    assert [(one.at, one.entered) for one in bench.noted()[:2]] == [(FIRST, 2), (FIRST + MINUTE, 0)]


async def test_the_stop_is_noted_so_that_nobody_misses_the_replica() -> None:
    bench = Bench()
    async with bench.running():
        await bench.clock.advance(20.0)
        bench.moved(Status.READY, 3)
        await bench.clock.advance(10.0)
    last = bench.noted()[-1]
    assert (last.at, last.entered, last.notes["stopped"]) == (FIRST + MINUTE, 1, "yes")
    assert "stopped" not in bench.noted()[0].notes


async def test_what_others_noted_is_read_back_only_where_it_is_new() -> None:
    bench = Bench()
    bench.store.surveyed = Survey(exact=False, poisoned_count=2)
    for ago in (30, 70):
        await bench.store.remember(Minute(FIRST - ago * MINUTE, "b", "1", {}, 0, 0, {}))
    async with bench.running():
        await bench.clock.advance(20.0)
        await bench.clock.advance(60.0)
    (first, survey), (second, _) = bench.learned
    assert [(one.replica, one.at) for one in first] == [("b", FIRST - 30 * MINUTE), ("a", FIRST)]
    assert survey.poisoned_count == 2
    assert [(one.replica, one.at) for one in second] == [("a", FIRST), ("a", FIRST + MINUTE)]


async def test_request_units_are_told_once_a_day_and_at_the_end() -> None:
    bench = Bench()
    async with bench.running():
        bench.store.charged = [Spent("claim", "write", 30.0), Spent("poll", "read", 1.5)]
        await bench.clock.advance(20.0)
        await bench.clock.advance(60.0)
        assert bench.seen.of(Lifetime) == []
        await bench.clock.advance(60.0)  # midnight
        bench.store.charged = [Spent("claim", "write", 33.0), Spent("poll", "read", 1.5)]
        await bench.clock.advance(60.0)
    assert [(one.name, dict(one.fields)) for one in bench.seen.of(Lifetime)] == [
        ("request_units", {"store": "memory", "day": "2026-11-20", "claim.write": 30.0, "poll.read": 1.5}),
        ("request_units", {"store": "memory", "day": "2026-11-21", "claim.write": 3.0, "poll.read": 0.0}),
    ]


async def test_a_store_that_charges_nothing_has_nothing_told() -> None:
    bench = Bench()
    async with bench.running():
        for seconds in (20.0, 60.0, 60.0, 60.0):
            await bench.clock.advance(seconds)
    assert bench.seen.of(Lifetime) == []
