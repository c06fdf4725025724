"""A machine's clock that does not agree with a store's: who is told, and how often."""

from __future__ import annotations

import logging
from email.utils import formatdate
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from mailculator.config import load
from mailculator.events import StoreNoticed
from mailculator.log import LogObserver
from mailculator.metrics import MetricsObserver
from mailculator.stores.base import Ping, Store
from mailculator.stores.dynamodb.clock import ServerClock
from mailculator.stores.watched import WatchedStore
from mailculator.wall_clock import WallClock
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import MemoryStore


class Told:
    """A wall clock that is compared, and what came of it."""

    def __init__(self) -> None:
        self._recording = Recording()
        self.clock = WallClock("mysql", observer=self._recording)

    def compare(self, *offs: float | None) -> list[tuple[str, str]]:
        """What is told after each of these."""
        for off in offs:
            self.clock.compared(off)
        return [(event.kind, event.detail) for event in self._recording.of(StoreNoticed)]


@pytest.mark.parametrize("off", [None, 0.0, 0.2, -59.0, 60.0])
def test_up_to_a_minute_nobody_is_told(off: float | None) -> None:
    assert Told().compare(off, off) == []


@pytest.mark.parametrize(
    ("off", "detail"),
    [
        (61.0, "this machine's clock is 61 s ahead of the store's"),
        (-86_400.4, "this machine's clock is 86400 s behind the store's"),
    ],
)
def test_beyond_that_it_is_told_once(off: float, detail: str) -> None:
    assert Told().compare(off, off + 0.5, off - 0.5, off) == [("clock_off", detail)]


def test_a_jump_is_told_and_the_end_of_it_as_well() -> None:
    kinds = [kind for kind, _ in Told().compare(3600.0, 3600.1, -3600.0, None, 0.1, 0.0, 3600.0)]

    assert kinds == ["clock_off", "clock_off", "clock_right", "clock_off"]


def test_at_the_border_it_is_not_told_again_and_again() -> None:
    assert [kind for kind, _ in Told().compare(60.5, 59.5, 60.5, 59.5, 60.5)] == ["clock_off"]


def test_it_is_a_warning_in_the_log() -> None:
    class Logger:
        def __init__(self) -> None:
            self.lines: list[tuple[int, str, dict[str, Any]]] = []

        def log(self, level: int, event: str, **fields: Any) -> None:
            self.lines.append((level, event, fields))

    logger = Logger()
    observer = LogObserver(load({"MAILCULATOR_REPLICA": "replica-1"}, needs=()), logger=logger)
    clock = WallClock("mysql", observer=observer)
    clock.compared(-3600.0)
    clock.compared(0.0)

    assert [(level, event) for level, event, _ in logger.lines] == [
        (logging.WARNING, "store.clock_off"),
        (logging.INFO, "store.clock_right"),
    ]
    assert logger.lines[0][2] == {"store": "mysql", "detail": "this machine's clock is 3600 s behind the store's"}


def test_it_is_a_gauge_where_there_is_something_to_compare_with() -> None:
    registry = CollectorRegistry()
    metrics = MetricsObserver(registry)
    metrics.set_clock("mysql", -3600.0)
    metrics.set_clock("sqlite", None)

    assert registry.get_sample_value("mailculator_clock_offset_seconds", {"store": "mysql"}) == -3600.0
    assert registry.get_sample_value("mailculator_clock_offset_seconds", {"store": "sqlite"}) is None


async def test_every_ping_is_looked_at() -> None:
    class Elsewhere(MemoryStore):
        async def ping(self) -> Ping:
            return Ping("elsewhere", tested=True, writable=True, seconds=0.0, clock_off=7200.0)

    recording, clock = Recording(), FakeClock()
    store = WatchedStore(cast(Store, Elsewhere(clock)), observer=recording, clock=clock)
    await store.ping()
    await store.ping()

    assert [event.kind for event in recording.of(StoreNoticed)] == ["clock_off"]


def test_dynamodb_is_compared_by_the_date_of_its_answers() -> None:
    clock = ServerClock(monotonic=lambda: 50.0, wall=lambda: 1_795_176_000.0 - 1800)
    clock.heard(formatdate(1_795_176_000, usegmt=True), 50.0, 50.0)

    assert clock.off == pytest.approx(-1800, abs=1.0)


def test_without_a_date_there_is_nothing_to_compare_with() -> None:
    clock = ServerClock(monotonic=lambda: 50.0, wall=lambda: 1_795_176_000.0)
    clock.heard(None, 50.0, 50.0)

    assert clock.off == 0.0
