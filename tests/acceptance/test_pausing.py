"""Pauses across real processes on a real queue: obeyed by every replica, not forgotten by one that starts, and told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mailculator import config
from mailculator.fleet import WHOLE
from mailculator.insight.problems import problems
from mailculator.insight.view import View, look
from mailculator.model import Status
from mailculator.stores import registry
from mailculator.stores.base import Store
from tests.support.outage_bench import Scene, until
from tests.support.scenario import Queue
from tests.support.service import ServiceProcess, environment

pytestmark = pytest.mark.timeout(120)

SOON = 15.0
"""Seconds: three times those within which every replica is to obey, since this machine may be busy."""


@asynccontextmanager
async def operator(queue: Queue) -> AsyncIterator[Store]:
    """A session of its own, as the command line has it."""
    settings = config.load(environment(**queue.variables), needs={"store"})
    store = await registry.backend(queue.store).open_store(settings, service=False)
    try:
        yield store
    finally:
        await store.close()


async def seen(store: Store, holds: Callable[[View], bool], what: str, seconds: float = SOON) -> View:
    """The first view for which it holds."""

    async def matching() -> View | None:
        view = await look(store)
        return view if holds(view) else None

    found = await until(matching, what, seconds)
    assert found is not None
    return found


def paused_at(count: int, pipeline: str) -> Callable[[View], bool]:
    return lambda view: [pipeline in one.facts.paused for one in view.working] == [True] * count


@pytest.mark.parametrize("queue", ["mysql"], indirect=True)
async def test_every_replica_stops_within_seconds_and_goes_on_within_seconds(queue: Queue, scene: Scene) -> None:
    one, two = (ServiceProcess(scene.settings(MAILCULATOR_REPLICA=name)) for name in ("one", "two"))
    async with operator(queue) as store, one, two:
        await seen(store, lambda view: len(view.working) == 2, "both report", 30.0)
        await store.control.pause("sender", seconds=None, who="anna", why="relay is moved")
        await seen(store, paused_at(2, "sender"), "both have paused")
        await scene.put(20)
        await scene.standing_in(Status.READY, 20)
        assert scene.relay.accepted == []
        view = await look(store)
        assert [problem.kind for problem in problems(view)] == ["paused"]

        await store.control.resume("sender", who="anna", why="relay is back")
        await scene.finished()
        assert await one.stop() == await two.stop() == 0
        stopped = await look(store)
    assert [member.facts.stopped for member in stopped.members] == [True, True]
    assert stopped.working == []


async def test_a_process_that_starts_claims_nothing_that_was_paused_before(queue: Queue, scene: Scene) -> None:
    async with operator(queue) as store:
        await store.control.pause(WHOLE, seconds=None, who="anna", why="the move")
        await scene.put(5)
        async with ServiceProcess(scene.settings()) as service:
            await seen(store, paused_at(1, "intake"), "it has paused", 30.0)
            assert (await scene.counts())[Status.ACCEPTED] == 5
            assert await scene.moves_into(Status.INTAKING) == 0
            await store.control.resume(WHOLE, who="anna", why="moved")
            await scene.finished()
            assert await service.stop() == 0


async def test_a_pause_ends_by_itself_at_its_time(queue: Queue, scene: Scene) -> None:
    async with operator(queue) as store, ServiceProcess(scene.settings()) as service:
        await seen(store, lambda view: len(view.working) == 1, "it reports", 30.0)
        await store.control.pause("sender", seconds=4.0, who="anna", why="for a moment")
        (paused,) = await service.expect("pipeline.paused")
        await scene.put(3)
        (resumed,) = await service.expect("pipeline.resumed")
        await scene.finished()
        assert await service.stop() == 0
    assert (paused["pipeline"], paused["by"], paused["why"]) == ("sender", "anna", "for a moment")
    assert resumed["pipeline"] == "sender"


async def test_a_relay_that_is_away_is_told_within_seconds_and_no_more_when_it_is_back(
    queue: Queue, scene: Scene
) -> None:
    async with operator(queue) as store, ServiceProcess(scene.settings(MAILCULATOR_TIME_SCALE=0.2)) as service:
        await seen(store, lambda view: len(view.working) == 1, "it reports", 30.0)
        await scene.relay.stop()
        await scene.put(20)
        await service.expect("breaker.opened")
        view = await seen(store, lambda view: any("relay" in one.facts.away for one in view.working), "the outage")
        (problem,) = [one for one in problems(view) if one.kind == "relay_away"]
        assert problem.text.startswith("The relay takes no mail, since ")
        assert problem.status is Status.READY

        await scene.relay.start()
        await scene.finished()
        await seen(store, lambda view: not any(one.facts.away for one in view.working), "all is well")
        assert await service.stop() == 0


async def test_cancelled_mail_is_not_sent_and_its_producer_hears_of_it(queue: Queue, scene: Scene) -> None:
    async with operator(queue) as store, ServiceProcess(scene.settings()) as service:
        await store.control.pause("sender", seconds=None, who="anna", why="wrong list")
        await seen(store, paused_at(1, "sender"), "it has paused", 30.0)
        wrong, right = await scene.put(3), await scene.put(2)
        await scene.standing_in(Status.READY, 5)
        await store.cancel(wrong, who="anna", why="wrong list")
        await store.control.resume("sender", who="anna", why="sorted out")
        await scene.empty(Status.ACCEPTED, Status.READY, Status.PROCESSING, Status.SENT, Status.FAILED)
        await scene.standing_in(Status.FAILED_ACKNOWLEDGED, 3)
        await scene.standing_in(Status.SENT_ACKNOWLEDGED, 2)
        assert await service.stop() == 0
        row = await store.get(wrong[0])
        assert row is not None
        assert row.reason == "cancelled: wrong list"
    assert len(scene.relay.accepted) == len(right)
