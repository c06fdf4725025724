"""What operators have paused is not claimed: from the first moment, and until they say otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

from mailculator.events import PauseChanged
from mailculator.fleet import WHOLE, Pause
from mailculator.lifecycle import INTAKE, SENDER, Stage
from mailculator.pipelines.pausing import Follower
from mailculator.stores.base import Store
from mailculator.stores.watched import WatchedStore
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import MemoryStore


class FakeRunner:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.memory = MemoryStore(self.clock)
        self.recording = Recording()
        store = WatchedStore(cast(Store, self.memory), observer=self.recording, clock=self.clock)
        self.intake, self.sender = FakeRunner(INTAKE), FakeRunner(SENDER)
        self.changes = 0
        self.follower = Follower(
            store,
            [self.intake, self.sender],
            every=2.0,
            clock=self.clock,
            observer=self.recording,
            on_change=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    def ask(self, *pipelines: str) -> None:
        """What an operator has paused from now on."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        self.memory.control.standing = [Pause(one, "anna", "relay is moved", at) for one in pipelines]

    @property
    def paused(self) -> tuple[bool, bool]:
        return self.intake.paused, self.sender.paused

    @property
    def told(self) -> list[tuple[str, bool, str]]:
        return [(one.pipeline, one.paused, one.who) for one in self.recording.of(PauseChanged)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.follower.run())
        await self.clock.settle()
        yield
        self.follower.stop()
        await task


async def test_nothing_is_claimed_before_the_store_was_asked() -> None:
    scene = Scene()
    assert scene.paused == (True, True)

    async with scene.running():
        assert scene.paused == (False, False)
        assert scene.told == []


async def test_a_process_that_starts_claims_nothing_that_was_paused_before() -> None:
    scene = Scene()
    scene.ask("sender")

    async with scene.running():
        assert scene.paused == (False, True)
        assert scene.told == [("sender", True, "anna")]
        assert scene.follower.paused == ("sender",)


async def test_a_store_that_is_away_at_the_start_leaves_everything_paused() -> None:
    scene = Scene()
    scene.memory.away = True

    async with scene.running():
        assert scene.paused == (True, True)
        assert scene.follower.paused == ()
        scene.memory.away = False
        await scene.clock.advance(2.0)
        assert scene.paused == (False, False)


async def test_a_pause_is_obeyed_at_the_next_look_and_told_once() -> None:
    scene = Scene()
    async with scene.running():
        scene.ask("sender")
        await scene.clock.advance(2.0)
        await scene.clock.advance(2.0)
        assert scene.paused == (False, True)
        scene.ask()
        await scene.clock.advance(2.0)

    assert scene.paused == (False, False)
    assert scene.told == [("sender", True, "anna"), ("sender", False, "")]
    assert scene.changes == 2


async def test_all_pipelines_are_paused_by_one_pause() -> None:
    scene = Scene()
    async with scene.running():
        scene.ask(WHOLE)
        await scene.clock.advance(2.0)
        assert scene.paused == (True, True)
        scene.ask("intake")
        await scene.clock.advance(2.0)

    assert scene.paused == (True, False)
    assert [(name, paused) for name, paused, _ in scene.told] == [
        ("intake", True),
        ("sender", True),
        ("sender", False),
    ]


async def test_what_a_store_said_last_stays_while_it_is_away() -> None:
    scene = Scene()
    scene.ask("sender")
    async with scene.running():
        scene.memory.away = True
        await scene.clock.advance(2.0)
        assert scene.paused == (False, True)
        scene.memory.away = False
        scene.ask()
        await scene.clock.advance(2.0)
        assert scene.paused == (False, False)
