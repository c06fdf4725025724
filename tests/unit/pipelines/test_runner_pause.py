"""A runner that an operator has paused: it claims nothing, gives back what has not begun, and finishes what has."""

from __future__ import annotations

import asyncio

from mailculator.events import Claimed, Moved
from mailculator.lifecycle import Outcome
from mailculator.model import Email, Status
from tests.unit.pipelines.test_runner import PREPARED, Bench


async def test_a_paused_runner_claims_nothing_and_a_resumed_one_at_once() -> None:
    bench = Bench()
    bench.runner.pause()
    bench.store.add("a", "b", "c")
    async with bench.running():
        await bench.clock.advance(10.0)
        assert bench.store.calls.get("claim") is None
        bench.runner.resume()
        await bench.seen.expect(Moved, 3)
    assert bench.store.statuses() == [Status.READY] * 3


async def test_a_pause_gives_back_what_has_not_begun_and_finishes_what_has() -> None:
    release = asyncio.Event()

    async def handle(email: Email) -> Outcome:
        await release.wait()
        return PREPARED

    bench = Bench(handle, concurrency=1)
    bench.store.add("a", "b")
    async with bench.running():
        await bench.seen.expect(Claimed, 1)
        await bench.clock.settle()
        bench.runner.pause()
        (given_back,) = await bench.seen.expect(Moved, 1)
        assert (given_back.email_id, given_back.outcome, given_back.note) == ("b", "release", "paused")
        release.set()
        moved = await bench.seen.expect(Moved, 2)
        assert (moved[-1].email_id, moved[-1].to) == ("a", Status.READY)
        await bench.clock.advance(10.0)
        assert bench.runner.in_flight == 0
    assert sorted(bench.store.statuses()) == [Status.ACCEPTED, Status.READY]
    assert bench.store.entries["b"].email.attempts == 0, "nothing was tried"


async def test_a_claim_that_comes_back_after_the_pause_begins_nothing() -> None:
    bench = Bench()
    bench.store.add("a")
    claim = bench.store.claim
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow_claim(*args: object, **how: object) -> list[Email]:
        asked.set()
        await answer.wait()
        return await claim(*args, **how)  # type: ignore[arg-type]  # as it was called

    bench.store.claim = slow_claim  # type: ignore[method-assign]
    async with bench.running():
        await asked.wait()
        bench.runner.pause()
        answer.set()
        (moved,) = await bench.seen.expect(Moved, 1)
        assert (moved.outcome, moved.note) == ("release", "paused")
    assert bench.pipeline.begun == []
    assert bench.store.statuses() == [Status.ACCEPTED]
