"""The loop, over a queue in memory and a clock that stands still."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from mailculator import lifecycle
from mailculator.events import Claimed, ClaimLost, Moved, PipelineFailed
from mailculator.lifecycle import Outcome
from mailculator.model import Email, Status
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.leases import Keeper
from mailculator.pipelines.runner import OFTENER, Pace, Runner
from mailculator.pipelines.solitude import Solitude
from mailculator.stores.base import Capabilities, Store
from mailculator.timing import Timing
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.marks import MemoryMarks
from tests.support.memory_store import MemoryStore

PREPARED = lifecycle.Prepared("example.com")
TIMING = Timing()


class Scripted:
    """A pipeline that does what a test says."""

    def __init__(
        self, handle: Callable[[Email], Awaitable[Outcome]], concurrency: int, breaker: Breaker | None
    ) -> None:
        self.stage = lifecycle.INTAKE
        self.concurrency = concurrency
        self.breakers: tuple[Breaker, ...] = () if breaker is None else (breaker,)
        self._handle = handle
        self.begun: list[str] = []

    async def handle(self, email: Email) -> Outcome:
        self.begun.append(email.id)
        return await self._handle(email)


async def prepare(email: Email) -> Outcome:
    return PREPARED


class Bench:
    """A runner with everything around it."""

    def __init__(
        self,
        handle: Callable[[Email], Awaitable[Outcome]] = prepare,
        *,
        concurrency: int = 2,
        batch: int = 100,
        with_breaker: bool = False,
        probes: bool = True,
        renews_together: bool = True,
        looks_are_paid: bool = False,
    ) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.store.capabilities = Capabilities(
            many_processes=True, renews_together=renews_together, looks_are_paid=looks_are_paid
        )
        self.seen = Recording()
        self.woken: list[Status] = []
        self.deaths: list[Exception] = []
        self.breaker = (
            Breaker(
                "relay",
                observer=self.seen,
                clock=self.clock,
                probe_every=5,
                probe_hold=60,
                threshold=5 if probes else 1,
                probes=probes,
            )
            if with_breaker
            else None
        )
        self.pipeline = Scripted(handle, concurrency, self.breaker)
        store = cast(Store, self.store)
        self.keeper = Keeper(store, timing=TIMING, clock=self.clock)
        self.marks = MemoryMarks()
        self.runner = Runner(
            store,
            self.pipeline,
            pace=Pace("replica-1", interval=1.0, batch=batch),
            timing=TIMING,
            keeper=self.keeper,
            marks=self.marks,
            solitude=Solitude(self.clock, TIMING.solitude),
            clock=self.clock,
            rng=random.Random(1),
            observer=self.seen,
            wake=self.woken.append,
            on_death=self.deaths.append,
        )

    async def looks_within(self, seconds: float) -> int:
        """How often it looks for mail in these seconds."""
        before = len(self.seen.of(Claimed))
        await self.clock.advance(seconds)
        return len(self.seen.of(Claimed)) - before

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.runner.run())
        try:
            yield task
        finally:
            if not task.done():
                self.runner.abort()
            await task


async def test_mail_is_claimed_handled_and_recorded_and_the_next_pipeline_is_woken() -> None:
    bench = Bench()
    bench.store.add("a", "b", "c")
    async with bench.running():
        moved = await bench.seen.expect(Moved, 3)
    assert {event.email_id for event in moved} == {"a", "b", "c"}
    assert bench.store.statuses() == [Status.READY] * 3
    assert bench.woken == [Status.READY] * 3
    assert moved[0].version == 3
    assert moved[0].outcome == "prepared"


async def test_full_batches_are_followed_by_a_claim_at_once() -> None:
    bench = Bench(concurrency=4, batch=4)
    bench.store.add(*(f"e{n:02}" for n in range(40)))
    async with bench.running():
        await bench.seen.expect(Moved, 40)
    assert bench.clock.now() == 1000.0, "no interval passed, and all 40 went through"


async def test_nothing_waits_for_the_slowest_of_a_batch() -> None:
    release = asyncio.Event()

    async def handle(email: Email) -> Outcome:
        if email.id == "slow":
            await release.wait()
        return PREPARED

    bench = Bench(handle, concurrency=2)
    bench.store.add("slow", *(f"e{n:02}" for n in range(20)))
    async with bench.running():
        await bench.seen.expect(Moved, 20)
        assert bench.store.entries["slow"].email.status is Status.INTAKING
        release.set()
        await bench.seen.expect(Moved, 21)


async def test_never_more_under_way_than_the_pipeline_allows() -> None:
    begun, gate, under_way, most = asyncio.Semaphore(0), asyncio.Semaphore(0), 0, 0

    async def handle(email: Email) -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        begun.release()
        await gate.acquire()
        under_way -= 1
        return PREPARED

    bench = Bench(handle, concurrency=3)
    bench.store.add(*(f"e{n:02}" for n in range(12)))
    async with bench.running():
        for _ in range(12):
            await begun.acquire()
            if under_way == 3:
                gate.release()
        for _ in range(3):
            gate.release()
        await bench.seen.expect(Moved, 12)
    assert most == 3


async def test_where_each_is_renewed_by_itself_no_more_is_claimed_ahead_than_ended_lately() -> None:
    begun, gate = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def handle(email: Email) -> Outcome:
        begun.release()
        await gate.acquire()
        return PREPARED

    async def end(count: int) -> int:
        """One after the other, each followed by the next. Returns how many are claimed ahead then."""
        for _ in range(count):
            gate.release()
            await begun.acquire()
            await bench.clock.settle()
        return bench.runner.in_flight - bench.pipeline.concurrency

    bench = Bench(handle, concurrency=4, renews_together=False)
    bench.store.add(*(f"e{n:02}" for n in range(60)))
    async with bench.running():
        for _ in range(4):
            await begun.acquire()
        await bench.clock.settle()
        assert bench.store.claims == [(4, 4)], "nobody knows yet how long one takes: what can begin at once, no more"

        assert [await end(1) for _ in range(4)] == [1, 2, 3, 4], "as many as have ended within a third of a lease"
        assert max([await end(1) for _ in range(8)]) == 4, "and never more than are handled at once"

        await bench.clock.advance(TIMING.renew_every)
        assert 1 <= await end(3) <= 3, "they take longer now"
        await bench.clock.advance(TIMING.renew_every)
        claims = len(bench.store.claims)
        await end(1)
        assert len(bench.store.claims) == claims, "what waits is used up before more is claimed"
        for _ in range(60):
            gate.release()
        await bench.seen.expect(Moved, 60)


async def test_where_all_are_renewed_at_once_twice_the_limit_is_claimed_from_the_start() -> None:
    bench = Bench(concurrency=4)
    bench.store.add(*(f"e{n:02}" for n in range(8)))
    async with bench.running():
        await bench.seen.expect(Moved, 8)
    assert bench.store.claims[0] == (8, 8)


async def test_an_idle_queue_is_polled_at_the_interval_and_a_wake_comes_before_it() -> None:
    bench = Bench()
    async with bench.running():
        await bench.seen.expect(Claimed, 1)
        await bench.clock.until_waited_for(1.0)
        bench.store.add("late")
        bench.runner.wake()
        await bench.seen.expect(Moved, 1)
        assert bench.clock.now() == 1000.0
        polls = len(bench.seen.of(Claimed))
        await bench.clock.until_waited_for(1.0)
        await bench.clock.advance(1.0)
        await bench.seen.expect(Claimed, polls + 1)


async def test_while_mail_comes_that_nobody_announces_looks_are_oftener() -> None:
    bench = Bench()
    async with bench.running():
        await bench.clock.settle()
        for name, wait in (("first", 1.0), ("second", 1.0 / OFTENER), ("third", 1.0 / OFTENER)):
            bench.store.add(name)
            assert await bench.looks_within(wait / 2) == 0
            assert await bench.looks_within(wait / 2) == 1
        assert bench.store.statuses() == [Status.READY] * 3

        assert await bench.looks_within(1.0 / OFTENER) == 1
        assert await bench.looks_within(0.9) == 0, "nothing had come"
        assert await bench.looks_within(0.1) == 1


async def test_mail_that_was_announced_makes_no_more_looks() -> None:
    bench = Bench()
    async with bench.running():
        await bench.clock.settle()
        bench.store.add("announced")
        bench.runner.wake()
        await bench.seen.expect(Moved, 1)
        assert await bench.looks_within(0.9) == 0
        assert await bench.looks_within(0.1) == 1


async def test_where_looks_are_paid_for_they_keep_to_the_interval() -> None:
    bench = Bench(looks_are_paid=True)
    async with bench.running():
        await bench.clock.settle()
        bench.store.add("unannounced")
        assert await bench.looks_within(1.0) == 1
        assert await bench.looks_within(0.9) == 0
        assert await bench.looks_within(0.1) == 1


async def test_a_finished_mail_does_not_poll_an_empty_queue_again() -> None:
    bench = Bench(concurrency=1)
    bench.store.add("only")
    async with bench.running():
        await bench.seen.expect(Moved, 1)
        await bench.clock.until_waited_for(1.0)
        # It asked for two and got one: the queue is known to be empty until the interval or a wake says otherwise.
        assert bench.store.claims == [(2, 1)]


async def test_results_gather_while_a_write_is_under_way() -> None:
    bench = Bench(concurrency=10)
    writing, go_on = asyncio.Event(), asyncio.Event()
    record = bench.store.record

    async def slow_record(moves: object) -> object:
        writing.set()
        await go_on.wait()
        return await record(moves)  # type: ignore[arg-type]

    bench.store.record = slow_record  # type: ignore[method-assign,assignment]
    bench.store.add("first")
    async with bench.running():
        await writing.wait()
        bench.store.add(*(f"e{n}" for n in range(9)))
        bench.runner.wake()
        await bench.seen.expect(Claimed, 2)
        go_on.set()
        await bench.seen.expect(Moved, 10)
    assert bench.store.groups[0] == 1
    assert len(bench.store.groups) <= 3, "nine results made one group, or two, not nine"


async def test_results_gather_for_a_while_after_a_write_by_how_dear_it_was_and_the_first_one_never_waits() -> None:
    bench = Bench(concurrency=10)
    record = bench.store.record

    async def dear_record(moves: object) -> object:
        await bench.clock.advance(1 / 128)
        return await record(moves)  # type: ignore[arg-type]

    bench.store.record = dear_record  # type: ignore[method-assign,assignment]
    bench.store.add("first")
    async with bench.running():
        await bench.seen.expect(Moved, 1)
        for name in ("second", "third"):
            bench.store.add(name)
            bench.runner.wake()
            await bench.clock.settle()
        assert bench.store.groups == [1], "a write took 8 ms, so the next comes 31 ms after it"
        await bench.clock.advance(4 / 128)
        await bench.seen.expect(Moved, 3)
    assert bench.store.groups == [1, 2]


async def test_while_more_waits_than_is_worked_on_groups_of_results_grow_and_the_last_ones_do_not_wait_for_it() -> None:
    ends: asyncio.Queue[None] = asyncio.Queue()

    async def handle(email: Email) -> Outcome:
        await ends.get()
        return PREPARED

    bench = Bench(handle, concurrency=4)
    record = bench.store.record

    async def dear_record(moves: object) -> object:
        await bench.clock.advance(1 / 128)
        return await record(moves)  # type: ignore[arg-type]

    bench.store.record = dear_record  # type: ignore[method-assign,assignment]
    bench.store.add(*(f"e{n:02}" for n in range(40)))
    async with bench.running():
        for _ in range(40):  # one in each 128th of a second
            ends.put_nowait(None)
            await bench.clock.advance(1 / 128)
        for _ in range(8):
            await bench.clock.advance(1 / 128)
        assert sum(bench.store.groups) == 40
    assert bench.store.groups[0] == 1
    assert max(bench.store.groups) > 12, "nine come while a fifth of the time is spent on writing"


@pytest.mark.parametrize(("together", "most"), [(True, TIMING.gather), (False, TIMING.gather_each)])
async def test_however_dear_a_write_is_results_gather_no_longer_than_their_store_makes_worth_while(
    together: bool, most: float
) -> None:
    bench = Bench(concurrency=10, renews_together=together)
    record = bench.store.record

    async def dear_record(moves: object) -> object:
        await bench.clock.advance(8.0)
        return await record(moves)  # type: ignore[arg-type]

    bench.store.record = dear_record  # type: ignore[method-assign,assignment]
    bench.store.add("first")
    async with bench.running():
        await bench.seen.expect(Moved, 1)
        bench.store.add("second")
        bench.runner.wake()
        await bench.clock.advance(most - 1 / 128)
        assert bench.store.groups == [1]
        await bench.clock.advance(1 / 64)
        await bench.seen.expect(Moved, 2)


async def test_a_whole_group_of_results_waits_for_nothing() -> None:
    bench = Bench(concurrency=10, batch=3)
    record = bench.store.record

    async def dear_record(moves: object) -> object:
        await bench.clock.advance(10.0)
        return await record(moves)  # type: ignore[arg-type]

    bench.store.record = dear_record  # type: ignore[method-assign,assignment]
    bench.store.add(*(f"e{n}" for n in range(9)))
    async with bench.running():
        await bench.seen.expect(Moved, 9)
    assert bench.store.groups == [3, 3, 3]
    assert bench.clock.now() == 1030.0


async def test_stop_gives_back_what_has_not_begun_and_finishes_what_has() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def handle(email: Email) -> Outcome:
        begun.set()
        await finish.wait()
        return PREPARED

    bench = Bench(handle, concurrency=1)
    bench.store.add("a", "b")
    async with bench.running() as task:
        await begun.wait()
        bench.runner.stop()
        [back] = await bench.seen.expect(Moved, 1)
        assert (back.email_id, back.to, back.outcome) == ("b", Status.ACCEPTED, "release")
        assert bench.store.entries["b"].email.attempts == 0, "a try that was not begun does not count"
        finish.set()
        await task
    assert bench.store.entries["a"].email.status is Status.READY
    assert bench.store.calls["claim"] == 1


async def test_a_claim_that_comes_back_after_the_stop_begins_nothing() -> None:
    bench = Bench(concurrency=2)
    asked, answer = asyncio.Event(), asyncio.Event()
    claim = bench.store.claim

    async def slow(*arguments: Any, **named: Any) -> list[Email]:
        found = await claim(*arguments, **named)
        asked.set()
        await answer.wait()
        return found

    bench.store.claim = slow  # type: ignore[method-assign]
    bench.store.add("a")
    async with bench.running() as task:
        await asked.wait()
        bench.runner.stop()
        answer.set()
        await task
    assert bench.pipeline.begun == []
    assert bench.store.statuses() == [Status.ACCEPTED]


async def test_abort_interrupts_and_a_handler_may_say_how_far_it_came() -> None:
    begun = asyncio.Semaphore(0)

    async def handle(email: Email) -> Outcome:
        begun.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if email.id == "far":
                return lifecycle.Retry("outcome unknown", 30.0)
            raise
        return PREPARED

    bench = Bench(handle, concurrency=2)
    bench.store.add("far", "near")
    async with bench.running() as task:
        await begun.acquire()
        await begun.acquire()
        bench.runner.abort()
        await task
    outcomes = {event.email_id: event.outcome for event in bench.seen.of(Moved)}
    assert outcomes == {"far": "retry", "near": "release"}


async def test_a_bug_costs_one_email_one_try() -> None:
    async def handle(email: Email) -> Outcome:
        if email.id == "bad":
            raise KeyError("surprise")
        if email.id == "odd":
            return lifecycle.Sent("no such outcome at intake")
        return PREPARED

    bench = Bench(handle, concurrency=3)
    bench.store.add("bad", "odd", "good")
    async with bench.running():
        await bench.seen.expect(Moved, 3)
    outcomes = {event.email_id: event.outcome for event in bench.seen.of(Moved)}
    assert outcomes == {"bad": "retry", "odd": "retry", "good": "prepared"}
    assert {event.email_id for event in bench.seen.of(PipelineFailed)} == {"bad", "odd"}
    assert "surprise" in (bench.seen.of(PipelineFailed)[0].traceback or "") + (
        bench.seen.of(PipelineFailed)[1].traceback or ""
    )


async def test_a_store_that_is_away_is_asked_again_and_results_wait_for_it() -> None:
    finish = asyncio.Event()

    async def handle(email: Email) -> Outcome:
        await finish.wait()
        return PREPARED

    bench = Bench(handle, concurrency=1)
    bench.store.add("a", "b", "c", "d")
    async with bench.running():
        await bench.seen.expect(Claimed, 1)
        bench.store.away = True
        finish.set()
        await bench.clock.until_waited_for(0.25)
        assert bench.store.calls["record"] >= 1
        claims = bench.store.calls["claim"]
        bench.store.away = False
        while len(bench.seen.of(Moved)) < 4:
            await bench.clock.advance(5.0)
    assert bench.store.statuses() == [Status.READY] * 4
    assert claims <= 2, "nothing new is claimed while results cannot be written"


async def test_a_lost_reply_is_not_a_lost_claim() -> None:
    bench = Bench()
    bench.store.lose_next_reply = True
    bench.store.add("a")
    async with bench.running():
        await bench.clock.until_waited_for(0.25)
        await bench.clock.advance(5.0)
        await bench.seen.expect(Moved, 1)
    assert bench.seen.of(ClaimLost) == []
    assert bench.store.entries["a"].email.version == 3


async def test_a_lost_claim_is_told_and_wakes_nobody() -> None:
    bench = Bench()

    async def handle(email: Email) -> Outcome:
        bench.store.steal(email.id)
        return PREPARED

    bench.pipeline._handle = handle
    bench.store.add("a")
    async with bench.running():
        [lost] = await bench.seen.expect(ClaimLost, 1)
    assert (lost.email_id, lost.outcome) == ("a", "prepared")
    assert bench.woken == []
    assert bench.runner.in_flight == 0


async def test_a_renewal_that_finds_the_claim_gone_interrupts_its_handler() -> None:
    begun, interrupted = asyncio.Event(), asyncio.Event()

    async def handle(email: Email) -> Outcome:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            interrupted.set()
            raise
        return PREPARED

    bench = Bench(handle)
    bench.store.add("a")
    async with bench.running():
        await begun.wait()
        bench.store.steal("a")
        await bench.keeper.renew()
        await interrupted.wait()
        await bench.seen.expect(ClaimLost, 1)


async def test_renewal_moves_the_lease_and_counts_from_before_the_asking() -> None:
    held: list[Email] = []
    finish = asyncio.Event()

    async def handle(email: Email) -> Outcome:
        held.append(email)
        await finish.wait()
        return PREPARED

    bench = Bench(handle)
    bench.store.add("a")
    async with bench.running():
        await bench.seen.expect(Claimed, 1)
        while not held:
            await asyncio.sleep(0)
        lease = held[0].lease
        assert lease is not None
        assert lease.expires_at == 1000.0 + TIMING.lease
        await bench.clock.advance(40.0)
        assert lease.holds(TIMING.lease - 41.0)
        assert not lease.holds(TIMING.lease - 39.0)
        await bench.keeper.renew()
        assert lease.expires_at == 1040.0 + TIMING.lease
        finish.set()
        await bench.seen.expect(Moved, 1)
        calls = bench.store.calls["renew"]
        await bench.keeper.renew()
        assert bench.store.calls["renew"] == calls, "nothing is held any more"


async def test_an_open_breaker_gives_back_what_was_claimed_ahead_and_lets_one_probe() -> None:
    async def handle(email: Email) -> Outcome:
        assert bench.breaker is not None

        async def attempt() -> Outcome:
            assert bench.breaker is not None
            if bench.store.calls.get("cured"):
                bench.breaker.succeeded()
                return PREPARED
            bench.breaker.failed("refused")
            return lifecycle.Wait("refused", 1.0)

        return await bench.breaker.guard(attempt)

    bench = Bench(handle, concurrency=5, with_breaker=True)
    bench.store.add(*(f"e{n:02}" for n in range(20)))
    async with bench.running():
        await bench.seen.expect(Moved, 9, where=lambda event: event.outcome in {"release", "wait"})
        await bench.clock.until_waited_for(5.0)
        assert bench.runner.in_flight == 1, "one email probes"
        assert len(bench.pipeline.begun) < 10, "five failed before it opened; few of those ahead had begun by then"
        assert [entry.email.attempts for entry in bench.store.entries.values()].count(0) == 19
        bench.store.calls["cured"] = 1
        await bench.clock.advance(5.0)
        await bench.seen.expect(Moved, 20, where=lambda event: event.outcome == "prepared")
    assert bench.store.statuses() == [Status.READY] * 20


async def test_a_renewal_that_cannot_tell_interrupts_nobody() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def handle(email: Email) -> Outcome:
        begun.set()
        await finish.wait()
        return PREPARED

    bench = Bench(handle)
    bench.store.add("a")
    async with bench.running():
        await begun.wait()
        bench.store.locked.add("a")
        await bench.keeper.renew()
        bench.store.locked.clear()
        finish.set()
        [moved] = await bench.seen.expect(Moved, 1)
    assert moved.outcome == "prepared"


async def test_a_handler_cancelled_before_its_first_step_leaks_no_place() -> None:
    bench = Bench(concurrency=1)
    bench.store.add("a")
    async with bench.running() as task:
        while not bench.runner._tasks:
            await asyncio.sleep(0)
        assert bench.pipeline.begun == [], "it was made in this very turn"
        bench.runner.abort()
        async with asyncio.timeout(5):
            await task
    assert bench.runner.in_flight == 0
    assert bench.store.statuses() == [Status.ACCEPTED]


async def test_handlers_that_end_do_not_put_the_next_look_off() -> None:
    ends: asyncio.Queue[None] = asyncio.Queue()

    async def handle(email: Email) -> Outcome:
        if email.id.startswith("slow"):
            await ends.get()
        return PREPARED

    bench = Bench(handle, concurrency=10)
    bench.store.add(*(f"slow{n}" for n in range(8)))
    async with bench.running():
        await bench.seen.expect(Claimed, 1)
        bench.store.add("late")
        for _ in range(3):
            await bench.clock.advance(0.6)
            ends.put_nowait(None)
        await bench.seen.expect(Moved, 1, where=lambda event: event.email_id == "late")
        assert bench.clock.now() <= 1002.0
        for _ in range(8):
            ends.put_nowait(None)


async def test_a_loop_that_dies_says_so_at_once_and_its_mail_is_finished() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def handle(email: Email) -> Outcome:
        begun.set()
        await finish.wait()
        return PREPARED

    bench = Bench(handle, concurrency=1)
    bench.store.add("a")
    task = asyncio.create_task(bench.runner.run())
    await begun.wait()

    async def broken(*_: object, **__: object) -> object:
        raise RuntimeError("bug in the loop")

    bench.store.claim = broken  # type: ignore[method-assign,assignment]
    bench.store.add("b")
    await bench.clock.advance(1.0)
    assert [str(error) for error in bench.deaths] == ["bug in the loop"], "told while mail is still under way"
    finish.set()
    await task
    statuses = {one: entry.email.status for one, entry in bench.store.entries.items()}
    assert statuses == {"a": Status.READY, "b": Status.ACCEPTED}
    assert bench.runner.in_flight == 0


async def test_a_dead_recorder_ends_the_runner_loudly() -> None:
    bench = Bench()

    async def broken(moves: object) -> object:
        raise RuntimeError("bug in the recorder")

    bench.store.record = broken  # type: ignore[method-assign,assignment]
    bench.store.add("a")
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await bench.runner.run()


async def test_a_claim_is_marked_before_all_it_took_and_each_email_when_it_begins_and_ends() -> None:
    bench = Bench()
    bench.store.add("a", "b")
    async with bench.running():
        await bench.seen.expect(Moved, 2)
    (claimed,) = {key for kind, key in bench.marks.made if key.version == 0}
    assert bench.marks.made[0] == ("BEGIN", claimed)
    assert claimed.email_id == "t1"
    for email_id in ("a", "b"):
        assert bench.marks.kinds(email_id) == ["BEGIN", "END"]
        assert {key.version for _, key in bench.marks.made if key.email_id == email_id} == {2}


async def test_without_a_journal_everything_but_sending_goes_on() -> None:
    bench = Bench()
    bench.marks.broken = "full"
    bench.store.add("a", "b")
    async with bench.running():
        await bench.seen.expect(Moved, 2)
    assert bench.store.statuses() == [Status.READY] * 2


async def test_mail_that_a_process_died_of_is_handled_with_nothing_else_under_way() -> None:
    together: list[set[str]] = []
    inside: set[str] = set()
    go = asyncio.Event()

    async def handle(email: Email) -> Outcome:
        inside.add(email.id)
        together.append(set(inside))
        if email.id != "suspect":
            await go.wait()
        inside.remove(email.id)
        return lifecycle.Prepared("example.com")

    bench = Bench(handle, concurrency=3)
    bench.store.add("a", "suspect", "b")
    suspect = bench.store.entries["suspect"]
    suspect.email = replace(suspect.email, crashes=1)
    async with bench.running():
        await bench.clock.settle()
        assert inside == {"a", "b"}
        go.set()
        await bench.seen.expect(Moved, 3)
    assert {"suspect"} in together
    assert all(len(there) == 1 for there in together if "suspect" in there)


async def test_a_bug_in_a_handler_ends_its_mark_as_well() -> None:
    async def handle(email: Email) -> Outcome:
        raise RuntimeError("bug")

    bench = Bench(handle)
    bench.store.add("a")
    async with bench.running():
        await bench.seen.expect(Moved, 1)
    assert bench.marks.kinds("a") == ["BEGIN", "END"]


async def test_while_what_it_depends_on_takes_no_probe_what_was_claimed_ahead_is_given_back() -> None:
    bench = Bench(with_breaker=True, probes=False)
    breaker, claim = bench.breaker, bench.store.claim
    assert breaker is not None

    async def claim_and_fail(stage: lifecycle.Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        claimed = await claim(stage, limit, lease=lease, holder=holder)
        breaker.failed("full")
        return claimed

    bench.store.claim = claim_and_fail  # type: ignore[method-assign]
    bench.store.add("a")
    async with bench.running():
        moved = await bench.seen.expect(Moved, 1)
    assert moved[0].outcome == "release"
    assert bench.marks.kinds("a") == []


async def test_an_email_leaves_no_ring_of_objects_behind() -> None:
    bench = Bench(concurrency=10)
    async with bench.running():
        bench.store.add("first")
        bench.runner.wake()
        await bench.seen.expect(Moved, 1)
        await bench.clock.settle()
        gc.collect()
        gc.disable()
        try:
            bench.store.add(*(f"e{n:02}" for n in range(60)))
            bench.runner.wake()
            await bench.seen.expect(Moved, 61)
            await bench.clock.settle()
            found = gc.collect()
        finally:
            gc.enable()
    assert found < 60, "the process looks for rings seldom, since no email leaves one"
