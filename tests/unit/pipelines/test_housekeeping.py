"""Rescue, retention and the looks at a store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from mailculator import lifecycle
from mailculator.errors import StoreUnavailable
from mailculator.events import Rescued, StoreCalled
from mailculator.lifecycle import INTAKE, Outcome
from mailculator.model import Status, StatusCount
from mailculator.pipelines.housekeeping import RESCUE_BATCH, Housekeeper
from mailculator.pipelines.leases import Keeper
from mailculator.pipelines.rescue import Judge, put_back
from mailculator.stores.base import Capabilities, Overdue, Ping, Store
from mailculator.stores.watched import WatchedStore
from mailculator.timing import Timing
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import MemoryStore, email

TIMING = Timing()
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    def __init__(self, judge: Judge = put_back) -> None:
        self.clock = FakeClock()
        self.seen = Recording()
        self.store = MemoryStore(self.clock)
        self.watched = WatchedStore(cast(Store, self.store), observer=self.seen, clock=self.clock)
        self.woken: list[Status] = []
        self.pings: list[Ping | None] = []
        self.counted: list[Mapping[Status, StatusCount]] = []
        self.leases = Keeper(cast(Store, self.store), timing=TIMING, clock=self.clock)
        self.keeper = Housekeeper(
            self.watched,
            timing=TIMING,
            clock=self.clock,
            observer=self.seen,
            keeper=self.leases,
            wake=self.woken.append,
            on_ping=self.pings.append,
            on_counts=self.counted.append,
            judge=judge,
        )


async def test_rescue_goes_on_until_nothing_is_left_and_wakes_who_can_work_on_it() -> None:
    bench = Bench()
    bench.store.add(*(f"e{n:03}" for n in range(RESCUE_BATCH + 5)), status=Status.PROCESSING)
    await bench.clock.advance(TIMING.renew_every)
    await bench.keeper.rescue()
    assert bench.store.statuses() == [Status.READY] * (RESCUE_BATCH + 5)
    assert len(bench.seen.of(Rescued)) == RESCUE_BATCH + 5
    assert bench.woken[0] is Status.READY


async def test_who_is_alone_with_a_store_takes_up_at_once_what_the_one_before_it_left() -> None:
    bench = Bench()
    bench.store.add("a", status=Status.PROCESSING)
    tending = asyncio.create_task(bench.keeper.tend())
    await bench.clock.advance(0.0)
    assert bench.store.statuses() == [Status.READY]
    bench.keeper.stop()
    await bench.clock.advance(TIMING.rescue_every)
    await tending


async def test_one_among_several_first_waits_until_the_living_have_had_time_to_renew() -> None:
    bench = Bench()
    bench.watched.capabilities = Capabilities(many_processes=True)
    bench.store.add("a", status=Status.PROCESSING)
    await bench.clock.advance(TIMING.renew_every - 0.1)
    await bench.keeper.rescue()
    assert bench.store.statuses() == [Status.PROCESSING]


async def test_what_this_process_is_at_work_on_is_renewed_however_overdue_it_looks() -> None:
    bench = Bench()
    bench.store.add("ours", "theirs")
    emails = await bench.store.claim(INTAKE, 2, lease=TIMING.lease, holder="me")
    ours = bench.leases.hold(emails[0], bench.clock.now(), lambda: None)
    await bench.clock.advance(TIMING.renew_every)
    await bench.keeper.rescue()
    assert bench.store.statuses() == [Status.INTAKING, Status.ACCEPTED]
    assert ours.lease is not None
    assert ours.lease.holds(TIMING.lease - 0.1)


async def test_a_claim_before_the_one_that_is_held_now_is_not_ours() -> None:
    bench = Bench()
    bench.store.add("a")
    (claimed,) = await bench.store.claim(INTAKE, 1, lease=TIMING.lease, holder="me")
    bench.leases.hold(claimed, bench.clock.now(), lambda: None)
    bench.store.steal("a")
    assert bench.leases.held([bench.store.entries["a"].email]) == frozenset()


async def test_a_judge_decides_what_becomes_of_each() -> None:
    verdicts: dict[str, Outcome] = {
        "back": lifecycle.Rescued("nothing is known"),
        "crashed": lifecycle.Rescued("it died of it", crashed=True),
        "parked": lifecycle.Park("outcome unknown"),
        "sent": lifecycle.Sent("250 ok"),
    }

    async def judge(found: Sequence[Overdue]) -> list[Outcome]:
        assert {one.holder for one in found} == {"gone"}
        return [verdicts[one.email.id] for one in found]

    bench = Bench(judge)
    bench.store.add(*verdicts, status=Status.PROCESSING)
    await bench.clock.advance(TIMING.renew_every)
    await bench.keeper.rescue()

    entries = bench.store.entries
    assert {name: entry.email.status for name, entry in entries.items()} == {
        "back": Status.READY,
        "crashed": Status.READY,
        "parked": Status.READY,
        "sent": Status.SENT,
    }
    assert [name for name, entry in entries.items() if entry.parked] == ["parked"]
    assert [entry.email.crashes for entry in entries.values()] == [0, 1, 0, 0]
    assert [(one.email_id, one.to) for one in bench.seen.of(Rescued)] == [
        (name, entry.email.status) for name, entry in entries.items()
    ]
    assert set(bench.woken) == {Status.READY, Status.SENT}


async def test_what_its_holder_has_written_meanwhile_is_no_rescue() -> None:
    async def judge(found: Sequence[Overdue]) -> list[Outcome]:
        bench.store.steal("a")
        return await put_back(found)

    bench = Bench(judge)
    bench.store.add("a", "b", status=Status.PROCESSING)
    await bench.clock.advance(TIMING.renew_every)
    await bench.keeper.rescue()
    assert [one.email_id for one in bench.seen.of(Rescued)] == ["b"]
    assert bench.woken == [Status.READY]


async def test_a_full_batch_that_nobody_could_write_waits_for_the_next_round() -> None:
    async def judge(found: Sequence[Overdue]) -> list[Outcome]:
        for one in found:
            bench.store.steal(one.email.id)
        return await put_back(found)

    bench = Bench(judge)
    bench.store.add(*(f"e{n:03}" for n in range(RESCUE_BATCH)), status=Status.PROCESSING)
    await bench.clock.advance(TIMING.renew_every)
    await bench.keeper.rescue()
    assert bench.store.calls["overdue"] == 1
    assert bench.seen.of(Rescued) == []


async def test_where_nothing_is_overdue_nobody_is_asked() -> None:
    async def judge(found: Sequence[Overdue]) -> list[Outcome]:
        raise AssertionError(found)

    bench = Bench(judge)
    bench.store.add("a", status=Status.READY)
    await bench.clock.advance(TIMING.renew_every)
    await bench.keeper.rescue()
    assert "rescue" not in bench.store.calls


async def test_who_knows_nothing_puts_back_and_says_whose_it_was() -> None:
    found = [Overdue(email("a", Status.PROCESSING), holder, SINCE) for holder in ("mailer-1", None)]
    assert await put_back(found) == [
        lifecycle.Rescued("rescued: the lease of mailer-1 expired"),
        lifecycle.Rescued("rescued: no sign of its holder"),
    ]


async def test_after_an_outage_living_holders_have_a_renewal_to_write_their_results_down() -> None:
    bench = Bench()
    bench.store.add("a", status=Status.PROCESSING)
    await bench.clock.advance(1000.0)
    bench.store.away = True
    with pytest.raises(StoreUnavailable):
        await bench.watched.ping()
    await bench.keeper.rescue()
    bench.store.away = False
    await bench.watched.ping()
    await bench.keeper.rescue()
    await bench.clock.advance(TIMING.renew_every - 0.1)
    await bench.keeper.rescue()
    assert bench.store.statuses() == [Status.PROCESSING], "its holder may be about to write SENT"
    await bench.clock.advance(0.1)
    await bench.keeper.rescue()
    assert bench.store.statuses() == [Status.READY]


async def test_a_look_at_an_absent_store_is_an_answer_too() -> None:
    bench = Bench()
    await bench.keeper.check()
    bench.store.away = True
    await bench.keeper.check()
    assert [ping is not None for ping in bench.pings] == [True, False]
    assert [call.error for call in bench.seen.of(StoreCalled)] == [None, "memory ping: away"]


async def test_a_verb_that_fails_for_its_own_reasons_keeps_no_dead_holders_mail() -> None:
    bench = Bench()
    bench.store.add("a", status=Status.PROCESSING)
    for _ in range(10):
        await bench.clock.advance(TIMING.renew_every / 5)
        await bench.watched.ping()
        bench.store.away = True
        with pytest.raises(StoreUnavailable):
            await bench.watched.purge(1)
        bench.store.away = False
    await bench.keeper.rescue()
    assert bench.store.statuses() == [Status.READY]


async def test_counts_that_take_long_are_taken_less_often() -> None:
    bench = Bench()
    counts = bench.store.counts

    async def slow(*, terminal: bool = False) -> Mapping[Status, StatusCount]:
        await bench.clock.advance(2.0)
        return await counts(terminal=terminal)

    bench.store.counts = slow  # type: ignore[method-assign]
    task = asyncio.create_task(bench.keeper.count())
    await bench.clock.until_waited_for(40.0)
    await bench.clock.advance(39.0)
    assert len(bench.counted) == 1
    await bench.clock.advance(1.0)
    bench.keeper.stop()
    await task
    assert len(bench.counted) == 2


async def test_where_counting_is_paid_for_it_is_done_less_often_and_the_last_counts_grow_old() -> None:
    bench = Bench()
    keeper = Housekeeper(
        bench.watched,
        timing=TIMING,
        clock=bench.clock,
        observer=bench.seen,
        keeper=bench.leases,
        wake=bench.woken.append,
        on_ping=bench.pings.append,
        on_counts=bench.counted.append,
        count_every=30.0,
    )
    bench.store.add("a", status=Status.READY)
    assert keeper.counts() == {}
    task = asyncio.create_task(keeper.count())
    await bench.clock.until_waited_for(30.0)
    assert keeper.counts()[Status.READY] == StatusCount(1)
    await bench.clock.advance(29.0)
    assert len(bench.counted) == 1
    bench.store.away = True
    await bench.clock.advance(1.0)
    assert keeper.counts()[Status.READY] == StatusCount(1), "one that fails once is no reason to know nothing"
    await bench.clock.advance(31.0)
    assert keeper.counts() == {}, "nobody knows what stands there by now"
    keeper.stop()
    await task
