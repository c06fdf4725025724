"""The metrics: names that users of Prometheus expect, counts that add up, labels from closed sets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mailculator import __version__
from mailculator.events import (
    BreakerChanged,
    CallbackAttempted,
    Claimed,
    ClaimLost,
    Event,
    Lifetime,
    Moved,
    PipelineFailed,
    Purged,
    RateChanged,
    Rescued,
    SmtpAttempted,
    StoreCalled,
    StoreNoticed,
)
from mailculator.metrics import TASKS, MetricsObserver, code_class
from mailculator.model import Status, StatusCount

EMAIL_ID = "550e8400-e29b-41d4-a716-446655440000"
REPLY = "550 5.1.1 <jane@example.com>: unknown"

EVERY_EVENT: tuple[Event, ...] = (
    Claimed("mysql", "sender", 3, 0.01),
    Claimed("mysql", "sender", 0, 0.01),
    Moved("mysql", "sender", EMAIL_ID, "sent", Status.PROCESSING, Status.SENT, 5, 1, 0.1, 2.0, REPLY),
    Moved("mysql", "sender", EMAIL_ID, "retry", Status.PROCESSING, Status.READY, 5, 1, 0.1, 2.0, REPLY),
    ClaimLost("mysql", "sender", EMAIL_ID, "sent"),
    Rescued("mysql", EMAIL_ID, Status.PROCESSING, Status.READY, "holder@example.com"),
    Purged("mysql", 7),
    StoreCalled("mysql", "claim", 0.01),
    StoreCalled("mysql", "claim", 0.01, error="Access denied for jane@example.com"),
    StoreNoticed("dynamodb", "poisoned", EMAIL_ID, "TTL of jane@example.com"),
    SmtpAttempted("sent", 250, 0.2),
    SmtpAttempted("unavailable", 0, 30.0),
    CallbackAttempted("sent", "acknowledged", 0.1),
    BreakerChanged("relay", open=True, reason=REPLY),
    RateChanged(12.5, "454"),
    PipelineFailed("mysql", "sender", "ValueError: jane@example.com", EMAIL_ID),
    Lifetime("started"),
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> MetricsObserver:
    return MetricsObserver(registry, wall_clock=lambda: 1_800_000_000.0)


def value(registry: CollectorRegistry, metric: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(metric, labels)


def test_every_event_ends_up_where_it_belongs(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    for event in EVERY_EVENT:
        metrics(event)
    mysql = {"store": "mysql"}
    sender: dict[str, str] = {**mysql, "pipeline": "sender"}

    def moves(origin: str, to: str) -> float | None:
        return registry.get_sample_value("mailculator_transitions_total", {**mysql, "from": origin, "to": to})

    assert moves("READY", "PROCESSING") == 3.0
    assert moves("PROCESSING", "SENT") == 1.0
    assert moves("PROCESSING", "READY") == 2.0  # a retry and a rescue
    assert value(registry, "mailculator_claims_total", **sender, result="claimed") == 1.0
    assert value(registry, "mailculator_claims_total", **sender, result="empty") == 1.0
    assert value(registry, "mailculator_poll_duration_seconds_count", **sender) == 2.0
    assert value(registry, "mailculator_claims_lost_total", **sender) == 1.0
    assert value(registry, "mailculator_leases_expired_total", **mysql) == 1.0
    assert value(registry, "mailculator_purged_total", **mysql) == 7.0
    assert value(registry, "mailculator_pipeline_errors_total", **sender) == 1.0
    assert value(registry, "mailculator_pipeline_last_success_timestamp_seconds", **sender) == 1_800_000_000.0
    assert value(registry, "mailculator_time_to_sent_seconds_sum") == 2.0
    assert value(registry, "mailculator_store_op_seconds_count", **mysql, op="claim") == 2.0
    assert value(registry, "mailculator_store_errors_total", **mysql, op="claim") == 1.0
    assert value(registry, "mailculator_store_notices_total", store="dynamodb", kind="poisoned") == 1.0
    assert value(registry, "mailculator_smtp_attempts_total", result="sent", code_class="2xx") == 1.0
    assert value(registry, "mailculator_smtp_attempts_total", result="unavailable", code_class="none") == 1.0
    assert value(registry, "mailculator_smtp_attempt_duration_seconds_count") == 2.0
    assert value(registry, "mailculator_callback_attempts_total", kind="sent", result="acknowledged") == 1.0
    assert value(registry, "mailculator_callback_attempt_duration_seconds_count") == 1.0
    assert value(registry, "mailculator_breaker_open", name="relay") == 1.0


def test_only_a_step_forward_is_a_success(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    for outcome in ("retry", "wait", "release", "park"):
        metrics(Moved("mysql", "sender", EMAIL_ID, outcome, Status.PROCESSING, Status.READY, 5, 1, 0.1, 2.0, None))
    name = "mailculator_pipeline_last_success_timestamp_seconds"
    assert value(registry, name, store="mysql", pipeline="sender") is None


def test_a_breaker_that_closes_goes_back_to_zero(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    metrics(BreakerChanged("relay", open=True, reason="x"))
    metrics(BreakerChanged("relay", open=False, reason=""))
    assert value(registry, "mailculator_breaker_open", name="relay") == 0.0


def test_counts_are_shown_and_a_status_that_empties_goes_to_zero(
    registry: CollectorRegistry, metrics: MetricsObserver
) -> None:
    metrics.set_counts("sqlite", {Status.READY: StatusCount(5, parked=2, oldest_age=12.5)})
    ready = {"store": "sqlite", "status": "READY"}
    assert value(registry, "mailculator_queue_messages", **ready) == 5.0
    assert value(registry, "mailculator_queue_parked_messages", **ready) == 2.0
    assert value(registry, "mailculator_queue_oldest_age_seconds", **ready) == 12.5
    assert value(registry, "mailculator_queue_messages", store="sqlite", status="SENT") is None
    metrics.set_counts("sqlite", {})
    assert value(registry, "mailculator_queue_messages", **ready) == 0.0
    assert value(registry, "mailculator_queue_oldest_age_seconds", **ready) == 0.0


def test_a_watched_pipeline_shows_its_load_and_its_zeros(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    in_hand = [4.0]
    metrics.watch("mysql", "sender", lambda: in_hand[0])
    sender = {"store": "mysql", "pipeline": "sender"}
    assert value(registry, "mailculator_inflight", **sender) == 4.0
    in_hand[0] = 9.0
    assert value(registry, "mailculator_inflight", **sender) == 9.0
    assert value(registry, "mailculator_claims_total", **sender, result="empty") == 0.0
    assert value(registry, "mailculator_leases_expired_total", store="mysql") == 0.0


def test_request_units_are_read_from_the_stores_when_somebody_looks(
    registry: CollectorRegistry, metrics: MetricsObserver
) -> None:
    name = "mailculator_dynamodb_request_units_total"
    spent = [("claim", "write", 3.0), ("poll", "read", 0.5)]
    metrics.charge(lambda: ())
    metrics.charge(lambda: spent)
    assert value(registry, name, op="claim", kind="write") == 3.0
    spent[0] = ("claim", "write", 6.0)
    assert value(registry, name, op="claim", kind="write") == 6.0
    assert value(registry, name, op="poll", kind="read") == 0.5


def test_a_scrape_parses_and_holds_no_id_no_address_and_no_reason(
    registry: CollectorRegistry, metrics: MetricsObserver
) -> None:
    metrics.watch("mysql", "sender", lambda: 0.0)
    metrics.set_counts("mysql", {Status.READY: StatusCount(1)})
    for event in EVERY_EVENT:
        metrics(event)
    text = generate_latest(registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    build = families["mailculator_build_info"].samples[0]
    assert build.labels["version"] == __version__
    assert "process_resident_memory_bytes" in families
    for family in families.values():
        assert family.name.startswith(("mailculator_", "process_")), family.name
        assert family.documentation, family.name
    for secret in (EMAIL_ID, "example.com", "jane", "denied"):
        assert secret not in text


def test_labels_are_bounded(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    def series() -> set[tuple[str, tuple[tuple[str, Any], ...]]]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in registry.collect()
            for sample in family.samples
        }

    for event in EVERY_EVENT:
        metrics(event)
    before = series()
    for number in range(50):
        metrics(
            Moved(
                "mysql",
                "sender",
                f"id-{number}",
                "sent",
                Status.PROCESSING,
                Status.SENT,
                number,
                number,
                0.1,
                2.0,
                f"r{number}",
            )
        )
        metrics(Rescued("mysql", f"id-{number}", Status.PROCESSING, Status.READY, f"holder-{number}"))
        metrics(SmtpAttempted("sent", 200 + number, 0.2))
        metrics(BreakerChanged("relay", open=True, reason=f"reason {number}"))
    assert series() == before


async def test_tasks_are_counted_when_somebody_looks(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    before, stop = value(registry, TASKS) or 0, asyncio.Event()
    tasks = [asyncio.create_task(stop.wait()) for _ in range(3)]
    assert value(registry, TASKS) == before + 3
    stop.set()
    await asyncio.gather(*tasks)
    assert value(registry, TASKS) == before
    # Whoever asks from a thread, as a test or a script does, hears of none.
    assert await asyncio.to_thread(value, registry, TASKS) == 0


@pytest.mark.parametrize(
    ("code", "label"), [(0, "none"), (250, "2xx"), (421, "4xx"), (554, "5xx"), (999, "other"), (1, "other")]
)
def test_a_code_is_told_by_its_class(code: int, label: str) -> None:
    assert code_class(code) == label


def test_who_asked_for_less_and_how_much_may_leave(registry: CollectorRegistry, metrics: MetricsObserver) -> None:
    limit = 12.5
    metrics.watch_rate(lambda: limit)
    metrics(RateChanged(25.0, "421"))
    metrics(RateChanged(12.5, "454"))
    assert value(registry, "mailculator_smtp_slowed", reason="421") == 0.0
    assert value(registry, "mailculator_smtp_slowed", reason="454") == 1.0
    assert value(registry, "mailculator_smtp_rate_limit") == 12.5
    metrics(RateChanged(0.0, ""))
    assert value(registry, "mailculator_smtp_slowed", reason="454") == 0.0
