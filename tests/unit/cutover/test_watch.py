"""The cutover as a replica shows it to Prometheus: judged each minute from what is new."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from prometheus_client import CollectorRegistry

from mailculator.cutover.assessment import Assessment, Phase
from mailculator.cutover.evidence import NEW, OLD, Situation
from mailculator.cutover.watch import Watch
from mailculator.cutover_metrics import CutoverMetrics
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Minute
from tests.support.cutover_story import DAY, LAST, MINUTE, NOTHING, NOW, SWEPT, VERSION, minute, new, old, situation


class Bench:
    def __init__(self, *enabled: str) -> None:
        self.now = NOW
        self.told: list[tuple[Assessment, Situation]] = []
        self.watch = Watch(
            enabled,
            service=VERSION,
            guard=True,
            quiet=timedelta(days=1),
            minute=MINUTE,
            utc=lambda: self.now,
            tell=lambda assessment, situation: self.told.append((assessment, situation)),
        )

    def learn_both(self) -> Assessment:
        for name, look in ((OLD, old()), (NEW, new())):
            self.watch.counted(name, look.counts)
            assert look.survey is not None
            self.watch.learned(name, look.minutes, look.survey)
        return self.told[-1][0]


def test_what_was_learned_of_both_is_judged_together() -> None:
    bench = Bench(OLD, NEW)
    assert (bench.learn_both().phase, bench.told[-1][0].safe) == (Phase.EMPTY, True)
    assert bench.told[0][0].phase is Phase.BOTH, "of MariaDB nothing was known yet"


def test_what_is_new_is_added_to_what_is_known() -> None:
    bench = Bench(OLD, NEW)
    bench.learn_both()
    bench.now += 2 * MINUTE
    bench.watch.learned(OLD, [minute(-1), minute(-1, "b"), minute(-2, entered=1), minute(-2, "b")], SWEPT)
    assessment, told = bench.told[-1]
    assert (assessment.phase, assessment.safe) == (Phase.BOTH, True)
    assert told.old.minutes[-1].at == LAST + 2 * MINUTE


def test_a_minute_with_mail_is_not_forgotten_when_the_replicas_become_one() -> None:
    """Whichever of them saw it."""
    for replica in ("a", "b"):
        bench = Bench(OLD, NEW)
        busy = old(lambda ago, name, who=replica: {"left": 1} if (ago, name) == (DAY // 2, who) else {})  # type: ignore[misc]
        bench.watch.counted(OLD, NOTHING)
        bench.watch.learned(NEW, new().minutes, replace(SWEPT, exact=True))
        bench.watch.learned(OLD, busy.minutes, SWEPT)
        assessment, told = bench.told[-1]
        assert assessment.phase is Phase.DRAINING
        assert [one.name for one in assessment.prerequisites if not one.met] == ["empty"]
        assert len(told.old.minutes) < 1.1 * DAY, "one for both but for the last half hour"


def test_what_is_older_than_anybody_asks_for_is_let_go() -> None:
    bench = Bench(OLD, NEW)
    bench.learn_both()
    bench.now += timedelta(hours=12)
    bench.watch.learned(OLD, [], SWEPT)
    assert min(one.at for one in bench.told[-1][1].old.minutes) >= bench.now - bench.watch.reach


def gauges(registry: CollectorRegistry) -> Mapping[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("mailculator_"), *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_an_assessment_is_shown() -> None:
    registry = CollectorRegistry()
    metrics = CutoverMetrics(registry)
    assert gauges(registry)["cutover_phase",] == -1
    bench = Bench(OLD, NEW)
    bench.learn_both()
    metrics.show(*bench.told[-1])
    shown = gauges(registry)
    assert shown["cutover_phase",] == 3
    assert shown["cutover_prerequisite", "swept"] == 1
    assert shown["cutover_empty_seconds", OLD] > 86_400
    assert shown["cutover_empty_seconds", NEW] == 0
    assert (shown["cutover_emails_per_minute", NEW, "in"], shown["cutover_emails_per_minute", NEW, "out"]) == (14, 14)
    assert shown["cutover_empty_in_seconds", OLD] == 0
    assert shown["cutover_empty_in_seconds", NEW] == math.inf
    assert shown["store_poisoned", OLD] == 0
    assert shown["store_last_foreign_write_timestamp_seconds", OLD] == (NOW - timedelta(hours=30)).timestamp()


def test_prerequisites_of_a_step_that_is_over_are_not_shown_any_more() -> None:
    registry = CollectorRegistry()
    metrics = CutoverMetrics(registry)
    bench = Bench(OLD, NEW)
    bench.learn_both()
    metrics.show(*bench.told[-1])
    bench.watch.learned(OLD, [minute(0, entered=1)], replace(SWEPT, poisoned=("x",), poisoned_count=1, stopped="why"))
    metrics.show(*bench.told[-1])
    shown = gauges(registry)
    assert ("cutover_prerequisite", "swept") not in shown
    assert shown["cutover_prerequisite", "mail_through_mysql"] == 1
    assert (shown["store_poisoned", OLD], shown["store_claims_stopped", OLD]) == (1, 1)


def test_a_rate_says_when_it_is_empty() -> None:
    registry = CollectorRegistry()
    counts = {**NOTHING, Status.READY: StatusCount(120, 0, 5.0)}
    draining = old(lambda ago, name: {"left": 6, "counts": counts}, counts=counts)
    CutoverMetrics(registry).show(Bench(OLD, NEW).learn_both(), situation(draining, new()))
    assert gauges(registry)["cutover_empty_in_seconds", OLD] == 600


def test_a_day_of_minutes_is_kept_in_little_room() -> None:
    """In hundreds of octets a minute, and not in thousands: what stood nowhere is the same object for all of them."""
    bench = Bench(NEW)
    tracemalloc.start()
    try:
        bench.watch.learned(NEW, [_noted(ago, who) for ago in range(DAY) for who in ("a", "b")], SWEPT)
        bench.told.clear()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 600 * DAY


def _noted(ago: int, replica: str) -> Minute:
    """As read from a store: no two share anything."""
    counts = {status: StatusCount(0, 0, 0.0) for status in Status}
    return minute(ago, replica, counts=counts, notes={"held": str(ago)})
