"""What a replica says of itself: what it counted, at which pace, what is away, and goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from mailculator.events import BreakerChanged, Moved, RateChanged, SmtpAttempted
from mailculator.facts import Away, Facts, Said
from mailculator.model import Status
from mailculator.pipelines.reporting import Reporter
from mailculator.pipelines.surroundings import Surroundings
from mailculator.stores.base import Store
from mailculator.stores.watched import WatchedStore
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import MemoryStore


def test_what_the_relay_said_last_is_kept_with_its_time_and_nothing_else_counts_as_its_word() -> None:
    around = Surroundings(epoch=lambda: 7.0)
    assert around.relay is None

    around(SmtpAttempted("deferred", 451, 0.1, "451 later"))
    around(
        Moved(
            "memory",
            "sender",
            "id",
            "failed",
            Status.PROCESSING,
            Status.FAILED,
            5,
            1,
            0.1,
            1.0,
            "cancelled: wrong list",
        )
    )

    assert around.relay == Said(7.0, "451 later")


def test_what_is_away_is_known_with_its_reason_until_it_is_back() -> None:
    around = Surroundings(epoch=lambda: 7.0)
    told: list[None] = []
    around.on_change(lambda: told.append(None))

    around(BreakerChanged("relay", open=True, reason="refused"))
    around(RateChanged(12.5, "421"))
    assert (around.away, around.rate, around.rate_reason) == ({"relay": Away(7.0, "refused")}, 12.5, "421")
    around(BreakerChanged("relay", open=False, reason=""))

    assert around.away == {}
    assert len(told) == 2


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.memory = MemoryStore(self.clock)
        self.sent = 0
        store = WatchedStore(cast(Store, self.memory), observer=Recording(), clock=self.clock)
        self.reporter = Reporter(store, replica="r1", every=4.0, clock=self.clock, facts=self._facts)

    def _facts(self) -> Facts:
        return Facts(totals={"sent": self.sent}, in_flight={"sender": 2})

    @property
    def reports(self) -> list[Mapping[str, Any]]:
        assert {replica for replica, _, _ in self.memory.control.reports} <= {"r1"}
        return [facts for _, _, facts in self.memory.control.reports]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reporter.run())
        await self.clock.settle()
        yield
        self.reporter.stop()
        await task


async def test_it_reports_at_once_and_then_at_its_pace() -> None:
    scene = Scene()
    async with scene.running():
        assert len(scene.reports) == 1
        scene.sent = 8
        await scene.clock.advance(1.0)
        assert len(scene.reports) == 1
        await scene.clock.advance(3.0)

        assert [one["rates"] for one in scene.reports] == [{}, {"sent": 2.0}]


async def test_what_is_told_is_reported_soon_and_not_at_every_turn() -> None:
    scene = Scene()
    async with scene.running():
        for _ in range(10):
            scene.reporter.tell()
        await scene.clock.settle()
        assert len(scene.reports) == 1
        await scene.clock.advance(1.0)
        assert len(scene.reports) == 2


async def test_it_says_goodbye() -> None:
    scene = Scene()
    async with scene.running():
        assert scene.reports[0]["stopped"] is False

    assert (scene.reports[-1]["stopped"], scene.reports[-1]["in_flight"]) == (True, {})


async def test_a_store_that_is_away_loses_a_report_and_no_more() -> None:
    scene = Scene()
    scene.memory.away = True
    async with scene.running():
        scene.memory.away = False
        scene.sent = 16
        await scene.clock.advance(1.0)
        await scene.clock.advance(3.0)
        assert scene.reports[-1]["rates"] == {"sent": pytest.approx(4.0)}
