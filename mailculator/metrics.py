"""The metrics: one of the two listeners to the core's events, kept on a Prometheus registry that is handed in.

Labels come from closed sets (stores, pipelines, statuses, results): never an address, an id or a domain.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from mailculator import __version__
from mailculator.cutover_metrics import CutoverMetrics
from mailculator.events import (
    BreakerChanged,
    CallbackAttempted,
    Claimed,
    ClaimLost,
    Event,
    Moved,
    PipelineFailed,
    Purged,
    RateChanged,
    Rescued,
    SmtpAttempted,
    StoreCalled,
    StoreNoticed,
)
from mailculator.lifecycle import STAGES
from mailculator.model import Status, StatusCount

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ATTEMPT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
_DELIVERY = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)

TASKS = "mailculator_tasks"

_BACKWARD = frozenset({"retry", "wait", "release", "park", "unknown"})
_STAGES = {stage.name: stage for stage in STAGES}

M = TypeVar("M", bound=MetricWrapperBase)


class _Bound(dict[tuple[str, ...], M], Generic[M]):
    """A metric's children by their label values, each looked up in the metric once: that look-up is the dear part."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, key: tuple[str, ...]) -> M:
        child = self[key] = self._metric.labels(*key)
        return child


class MetricsObserver:
    """Counts the core's events.

    Arguments:
        registry: where the metrics live; one observer to a registry.
        wall_clock: seconds since the epoch.
    """

    def __init__(self, registry: CollectorRegistry, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._units = _Units()
        self._pipelines(registry)
        self._transports(registry)
        self._stores(registry)
        self.cutover = CutoverMetrics(registry)
        ProcessCollector(registry=registry)
        Gauge(TASKS, "Tasks of the loop that is asked.", registry=registry).set_function(_tasks)
        build = Info("mailculator_build", "Version of the program and of Python.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})

    def _pipelines(self, registry: CollectorRegistry) -> None:
        labels = ("store", "pipeline")
        self._transitions = _Bound(
            Counter(
                "mailculator_transitions",
                "Moves of emails between statuses.",
                ("store", "from", "to"),
                registry=registry,
            )
        )
        self._claims = _Bound(
            Counter("mailculator_claims", "Claims, by whether they found mail.", (*labels, "result"), registry=registry)
        )
        self._claims_lost = _Bound(
            Counter(
                "mailculator_claims_lost", "Results that came too late: not ours any more.", labels, registry=registry
            )
        )
        self._leases_expired = _Bound(
            Counter(
                "mailculator_leases_expired", "Emails taken back from a dead holder.", ("store",), registry=registry
            )
        )
        self._purged = _Bound(
            Counter("mailculator_purged", "Terminal emails deleted past their ttl.", ("store",), registry=registry)
        )
        self._bugs = _Bound(
            Counter("mailculator_pipeline_errors", "Errors that no pipeline foresaw.", labels, registry=registry)
        )
        self._polls = _Bound(
            Histogram("mailculator_poll_duration_seconds", "One claim.", labels, buckets=_QUICK, registry=registry)
        )
        self._successes = _Bound(
            Gauge(
                "mailculator_pipeline_last_success_timestamp_seconds",
                "When an email last left this stage forward, since the epoch.",
                labels,
                registry=registry,
            )
        )
        self._inflight = _Bound(
            Gauge("mailculator_inflight", "Emails in hand.", labels, registry=registry),
        )
        self._time_to_sent = Histogram(
            "mailculator_time_to_sent_seconds", "From insertion to the relay.", buckets=_DELIVERY, registry=registry
        )

    def _transports(self, registry: CollectorRegistry) -> None:
        self._smtp = _Bound(
            Counter("mailculator_smtp_attempts", "Tries at the relay.", ("result", "code_class"), registry=registry)
        )
        self._smtp_seconds = Histogram(
            "mailculator_smtp_attempt_duration_seconds", "One try at the relay.", buckets=_ATTEMPT, registry=registry
        )
        self._unknown = Counter(
            "mailculator_unknown_outcome", "Mails that left without the relay's reply coming back.", registry=registry
        )
        self._rate = Gauge(
            "mailculator_smtp_rate_limit", "Mails a second that may leave; 0 = any number.", registry=registry
        )
        self._slowed = _Bound(
            Gauge(
                "mailculator_smtp_slowed",
                "1 while fewer mails are offered, for the class of the relay's reply that asked for it.",
                ("reason",),
                registry=registry,
            )
        )
        self._callbacks = _Bound(
            Counter("mailculator_callback_attempts", "POSTs to producers.", ("kind", "result"), registry=registry)
        )
        self._callback_seconds = Histogram(
            "mailculator_callback_attempt_duration_seconds", "One POST.", buckets=_ATTEMPT, registry=registry
        )
        self._breakers = _Bound(
            Gauge(
                "mailculator_breaker_open", "1 while claims are stopped by this breaker.", ("name",), registry=registry
            )
        )

    def _stores(self, registry: CollectorRegistry) -> None:
        labels = ("store", "op")
        self._store_errors = _Bound(
            Counter("mailculator_store_errors", "Verbs of a store that failed.", labels, registry=registry)
        )
        self._store_seconds = _Bound(
            Histogram("mailculator_store_op_seconds", "One verb of a store.", labels, buckets=_QUICK, registry=registry)
        )
        self._notices = _Bound(
            Counter("mailculator_store_notices", "What a store saw.", ("store", "kind"), registry=registry)
        )
        registry.register(self._units)
        status = ("store", "status")
        self._messages = _Bound(Gauge("mailculator_queue_messages", "Emails in a status.", status, registry=registry))
        self._ages = _Bound(
            Gauge(
                "mailculator_queue_oldest_age_seconds",
                "How long the oldest due email of a status has been due.",
                status,
                registry=registry,
            )
        )
        self._parked = _Bound(
            Gauge("mailculator_queue_parked_messages", "Emails set aside for an operator.", status, registry=registry)
        )
        self._clocks = _Bound(
            Gauge(
                "mailculator_clock_offset_seconds",
                "By how much this machine's clock is ahead of the store's.",
                ("store",),
                registry=registry,
            )
        )

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912  # one case per event is the clear form
        """Count one event."""
        match event:
            case Claimed():
                self._claimed(event)
            case Moved():
                self._moved(event)
            case StoreCalled(store=store, op=op, seconds=seconds, error=error):
                self._store_seconds[store, op].observe(seconds)
                if error is not None:
                    self._store_errors[store, op].inc()
            case StoreNoticed(store=store, kind=kind):
                self._notices[store, kind].inc()
            case SmtpAttempted(result=result, code=code, seconds=seconds):
                self._smtp[result, code_class(code)].inc()
                self._unknown.inc(result == "lost")
                self._smtp_seconds.observe(seconds)
            case CallbackAttempted(kind=kind, result=result, seconds=seconds):
                self._callbacks[kind, result].inc()
                self._callback_seconds.observe(seconds)
            case BreakerChanged(name=name, open=is_open):
                self._breakers[(name,)].set(int(is_open))
            case RateChanged(reason=reason):
                self._paced(reason)
            case Rescued(store=store, origin=origin, to=to, outcome=outcome):
                self._leases_expired[(store,)].inc()
                self._unknown.inc(outcome == "unknown")
                self._transitions[store, origin.value, to.value].inc()
            case ClaimLost(store=store, pipeline=pipeline):
                self._claims_lost[store, pipeline].inc()
            case Purged(store=store, count=count):
                self._purged[(store,)].inc(count)
            case PipelineFailed(store=store, pipeline=pipeline):
                self._bugs[store, pipeline].inc()

    def _paced(self, reason: str) -> None:
        for child in self._slowed.values():
            child.set(0)
        if reason:
            self._slowed[(reason,)].set(1)

    def _claimed(self, event: Claimed) -> None:
        key = (event.store, event.pipeline)
        self._claims[(*key, "claimed" if event.count else "empty")].inc()
        self._polls[key].observe(event.seconds)
        stage = _STAGES.get(event.pipeline)
        if stage is not None and event.count:
            self._transitions[event.store, stage.waiting.value, stage.working.value].inc(event.count)

    def _moved(self, event: Moved) -> None:
        self._transitions[event.store, event.origin.value, event.to.value].inc()
        if event.outcome not in _BACKWARD:
            self._successes[event.store, event.pipeline].set(self._wall_clock())
        if event.to is Status.SENT and event.outcome == "sent":
            self._time_to_sent.observe(max(event.age, 0.0))

    def watch(self, store: str, pipeline: str, inflight: Callable[[], float]) -> None:
        """Show a pipeline from the start on: its series at zero, and how many emails it has in hand at each scrape."""
        self._inflight[store, pipeline].set_function(inflight)
        for bound in (self._claims_lost, self._bugs):
            bound[store, pipeline].inc(0)
        for result in ("claimed", "empty"):
            self._claims[store, pipeline, result].inc(0)
        self._leases_expired[(store,)].inc(0)

    def watch_rate(self, limit: Callable[[], float]) -> None:
        """Show at each scrape how many mails may leave in a second."""
        self._rate.set_function(limit)

    def charge(self, spent: Callable[[], Iterable[tuple[str, str, float]]]) -> None:
        """Show at each scrape what a store has charged: op, kind and units of each."""
        self._units.sources.append(spent)

    def set_clock(self, store: str, off: float | None) -> None:
        """Show by how many seconds this machine's clock is ahead of a store's; None shows nothing."""
        if off is not None:
            self._clocks[(store,)].set(off)

    def set_counts(self, store: str, counts: Mapping[Status, StatusCount]) -> None:
        """Show how many emails stand where; a status that is not in `counts` stands at zero, if it was shown before."""
        for status in Status:
            key = (store, status.value)
            found = counts.get(status)
            if found is None and key not in self._messages:
                continue
            found = found or StatusCount(0)
            self._messages[key].set(found.count)
            self._ages[key].set(found.oldest_age)
            self._parked[key].set(found.parked)


class _Units(Collector):
    """Reads request units when somebody looks, from stores that reckon them themselves."""

    def __init__(self) -> None:
        self.sources: list[Callable[[], Iterable[tuple[str, str, float]]]] = []

    def collect(self) -> Iterator[Metric]:
        """One family; nothing where no store charges."""
        family = CounterMetricFamily(
            "mailculator_dynamodb_request_units",
            "Request units that DynamoDB has charged, as reckoned here from its rules.",
            labels=("op", "kind"),
        )
        totals: dict[tuple[str, str], float] = {}
        for source in self.sources:
            for op, kind, units in source():
                totals[op, kind] = totals.get((op, kind), 0.0) + units
        for key, units in sorted(totals.items()):
            family.add_metric(key, units)
        yield family


def _tasks() -> float:
    """How many there are; those that come and never go are a leak that descriptors and memory show late."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked outside of any loop
        return 0


def code_class(code: int) -> str:
    """A reply code as a label: 2xx, 4xx, 5xx, `none` without a reply, `other` for what is no SMTP code."""
    if code == 0:
        return "none"
    return f"{code // 100}xx" if 200 <= code <= 599 else "other"
