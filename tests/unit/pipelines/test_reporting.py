"""What a replica says of itself: what it counted, at which pace, what is away, and goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from mailculator.events import BreakerChanged, Moved, RateChanged, Rescued, SmtpAttempted
from mailculator.facts import Away, Facts, Said
from mailculator.lifecycle import STAGE_BY_WORKING
from mailculator.model import Status
from mailculator.pipelines.reporting import Ledger, Reporter
from mailculator.pipelines.surroundings import Surroundings
from mailculator.stores.base import Store
from mailculator.stores.watched import WatchedStore
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import MemoryStore


def moved(origin: Status, to: Status, *, store: str = "memory", version: int = 5, note: str | None = None) -> Moved:
    pipeline = STAGE_BY_WORKING[origin].name
    return Moved(store, pipeline, "id", "outcome", origin, to, version, 1, 0.1, 1.0, note)


def test_each_end_counts_as_what_it_is() -> None:
    ledger = Ledger("memory", epoch=lambda: 0.0)
    for origin, to in (
        (Status.INTAKING, Status.READY),
        (Status.INTAKING, Status.INVALID),
        (Status.INTAKING, Status.ACCEPTED),
        (Status.PROCESSING, Status.SENT),
        (Status.PROCESSING, Status.SENT),
        (Status.PROCESSING, Status.FAILED),
        (Status.PROCESSING, Status.READY),
        (Status.CALLING_SENT_CALLBACK, Status.SENT),
        (Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED),
        (Status.CALLING_FAILED_CALLBACK, Status.FAILED_ACKNOWLEDGED),
    ):
        ledger(moved(origin, to))
    ledger(moved(Status.INTAKING, Status.READY, version=3))
    ledger(moved(Status.PROCESSING, Status.SENT, store="other"))

    assert ledger.totals() == {
        "entered": 1,
        "sent": 2,
        "failed": 1,
        "invalid": 1,
        "acknowledged": 2,
        "retried": 3,
    }


def test_lost_replies_are_counted_whoever_met_them() -> None:
    ledger = Ledger("memory", epoch=lambda: 7.0)
    unknown = Moved("memory", "sender", "a", "unknown", Status.PROCESSING, Status.READY, 5, 1, 0.1, 1.0, None)
    ledger(unknown)
    ledger(Rescued("memory", "b", Status.PROCESSING, Status.READY, "gone", "unknown"))
    ledger(Rescued("memory", "c", Status.PROCESSING, Status.READY, "gone"))
    ledger(Rescued("other", "d", Status.PROCESSING, Status.READY, "gone", "unknown"))

    assert (ledger.unknown, ledger.unknown_count) == (Said(7.0, "b"), 2)


def test_what_the_callback_said_last_is_kept_with_its_time() -> None:
    times = iter((7.0, 8.0))
    ledger = Ledger("memory", epoch=lambda: next(times))
    assert ledger.callback is None

    ledger(moved(Status.CALLING_SENT_CALLBACK, Status.SENT, note="503"))
    ledger(moved(Status.PROCESSING, Status.SENT, note="250 ok"))
    ledger(moved(Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED, note="200"))

    assert ledger.callback == Said(8.0, "200")


def test_what_the_relay_said_last_is_kept_with_its_time_and_nothing_else_counts_as_its_word() -> None:
    around = Surroundings(epoch=lambda: 7.0)
    assert around.relay is None

    around(SmtpAttempted("deferred", 451, 0.1, "451 later"))
    around(moved(Status.PROCESSING, Status.FAILED, note="cancelled: wrong list"))

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
