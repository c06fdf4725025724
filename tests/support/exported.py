"""What /metrics shows once everything has happened: read from the registry that the service fills, not from a list."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry

from mailculator.clock import SystemClock
from mailculator.config import load
from mailculator.cutover.assessment import Step, assess
from mailculator.equipment import Equipment
from mailculator.events import (
    CallbackAttempted,
    Claimed,
    ClaimLost,
    Event,
    Moved,
    Observer,
    PauseChanged,
    PipelineFailed,
    Purged,
    RateChanged,
    Rescued,
    SmtpAttempted,
    StoreCalled,
    StoreNoticed,
)
from mailculator.lifecycle import MOVES, STAGE_BY_WORKING, STAGES, WORKING
from mailculator.metrics import MetricsObserver
from mailculator.model import Status, StatusCount
from mailculator.pipelines.breaker import THRESHOLD
from mailculator.stores.registry import NAMES
from mailculator.stores.watched import WatchedStore
from tests.support.cutover_story import NOTHING, new, old, situation

VERBS = ("open", *(name for name, one in vars(WatchedStore).items() if inspect.iscoroutinefunction(one)))
SCRAPED: Mapping[str, str] = {"job": "mailculator", "instance": "one:8080"}
"""What Prometheus adds to each series."""
SETTINGS = {
    "SQLITE_PIPELINES_ENABLED": "true",
    "SMTP_HOST": "relay.example",
    "SMTP_FROM": "bounces@example.com",
    "PIPELINE_CALLBACK_URL": "http://producer.example/callback",
}
ONE = "550e8400-e29b-41d4-a716-446655440000"


def exported() -> list[Mapping[str, str]]:
    """The labels of every series, its name as `__name__`, as one replica that works on all stores is scraped."""
    registry = CollectorRegistry()
    metrics = MetricsObserver(registry)
    _everything_happens(metrics)
    shown = _series(registry)
    # What a step of the cutover needs is shown only while it is the next one.
    for step in Step:
        metrics.cutover.show(assess(_DRAINING, step), _DRAINING)
        shown |= _series(registry)
    return [{**dict(labels), **SCRAPED} for labels in sorted(shown | {(("__name__", "up"),)})]


def _series(registry: CollectorRegistry) -> set[tuple[tuple[str, str], ...]]:
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {(("__name__", one.name), *sorted(one.labels.items())) for one in samples}


_DRAINING = situation(old(counts={**NOTHING, Status.READY: StatusCount(120, 0, 5.0)}), new())


def _everything_happens(metrics: MetricsObserver) -> None:
    metrics.watch_rate(lambda: 12.5)
    metrics.charge(lambda: [("claim", "write", 3.0), ("poll", "read", 0.5)])
    for store in NAMES:
        metrics.set_clock(store, 0.1)
        metrics.set_counts(store, dict.fromkeys(Status, StatusCount(5, 1, 2.0)))
        for stage in STAGES:
            metrics.watch(store, stage.name, lambda: 1.0)
        for event in _of_store(store):
            metrics(event)
    for event in _of_peers():
        metrics(event)
    _open_breakers(metrics)


def _of_store(store: str) -> Iterator[Event]:
    for verb in VERBS:
        yield StoreCalled(store, verb, 0.01)
        yield StoreCalled(store, verb, 0.01, error="away")
    yield StoreNoticed(store, "throttled")
    yield Purged(store, 7)
    for stage in STAGES:
        yield Claimed(store, stage.name, 3, 0.01)
        yield Claimed(store, stage.name, 0, 0.01)
        yield ClaimLost(store, stage.name, ONE, "sent")
        yield PauseChanged(store, stage.name, paused=True, who="anna", why="the relay is being moved")
        yield PipelineFailed(store, stage.name, "ValueError", ONE)
    for origin in WORKING:
        yield Rescued(store, ONE, origin, STAGE_BY_WORKING[origin].waiting, "holder")
        for to in MOVES[origin]:
            outcome = "retry" if to is STAGE_BY_WORKING[origin].waiting else to.value.lower()
            yield Moved(store, STAGE_BY_WORKING[origin].name, ONE, outcome, origin, to, 5, 1, 0.1, 2.0, None)


def _of_peers() -> Iterator[Event]:
    """Results as events.SmtpAttempted and CallbackAttempted name them."""
    for result, code in (("sent", 250), ("deferred", 451), ("throttled", 421), ("refused", 550), ("unavailable", 0)):
        yield SmtpAttempted(result, code, 0.2)
    yield SmtpAttempted("lost", 0, 0.2)
    for kind in ("sent", "failed"):
        for result in ("acknowledged", "not_ready", "refused", "unavailable"):
            yield CallbackAttempted(kind, result, 0.1)
    for reason in ("421", "454", "45x"):
        yield RateChanged(12.5, reason)


def _open_breakers(observer: Observer) -> None:
    """Those that there are: a breaker is no series until it has opened for the first time."""
    equipment = Equipment(load(SETTINGS), observer=observer, clock=SystemClock(), rng=random.Random(1))
    for breaker in equipment._breakers.values():
        for _ in range(THRESHOLD):
            breaker.failed("away")
