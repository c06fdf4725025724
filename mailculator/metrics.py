"""The metrics: one of the two listeners to the core's events, kept on a Prometheus registry that is handed in.

Labels come from closed sets (stores, pipelines, statuses, results): never an address, an id or a domain.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from mailculator import __version__
from mailculator.cutover_metrics import CutoverMetrics
from mailculator.events import (
    BreakerChanged,
    CallbackAttempted,
    Claimed,
    ClaimLost,
    Event,
    Moved,
    PauseChanged,
    PipelineFailed,
    Purged,
    RateChanged,
    Rescued,
    SmtpAttempted,
    StoreCalled,
    StoreNoticed,
)
from mailculator.lifecycle import STAGES
from mailculator.metric_parts import ATTEMPT, DELIVERY, QUICK, Bound, Units, tasks
from mailculator.model import Status, StatusCount

TASKS = "mailculator_tasks"

_BACKWARD = frozenset({"retry", "wait", "release", "park", "unknown"})
_STAGES = {stage.name: stage for stage in STAGES}


class MetricsObserver:
    """Counts the core's events.

    Arguments:
        registry: where the metrics live; one observer to a registry.
        wall_clock: seconds since the epoch.
    """

    def __init__(self, registry: CollectorRegistry, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._forward: dict[tuple[str, str], float] = {}
        self._units = Units()
        self._pipelines(registry)
        self._transports(registry)
        self._stores(registry)
        self.cutover = CutoverMetrics(registry)
        self._counters = self._by_event()
        ProcessCollector(registry=registry)
        Gauge(TASKS, "Tasks of the loop that is asked.", registry=registry).set_function(tasks)
        build = Info("mailculator_build", "Version of the program and of Python.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})

    def _pipelines(self, registry: CollectorRegistry) -> None:
        labels = ("store", "pipeline")
        self._transitions = Bound(
            Counter(
                "mailculator_transitions",
                "Moves of emails between statuses.",
                ("store", "from", "to"),
                registry=registry,
            )
        )
        self._claims = Bound(
            Counter("mailculator_claims", "Claims, by whether they found mail.", (*labels, "result"), registry=registry)
        )
        self._claims_lost = Bound(
            Counter(
                "mailculator_claims_lost", "Results that came too late: not ours any more.", labels, registry=registry
            )
        )
        self._leases_expired = Bound(
            Counter(
                "mailculator_leases_expired", "Emails taken back from a dead holder.", ("store",), registry=registry
            )
        )
        self._purged = Bound(
            Counter("mailculator_purged", "Terminal emails deleted past their ttl.", ("store",), registry=registry)
        )
        self._bugs = Bound(
            Counter("mailculator_pipeline_errors", "Errors that no pipeline foresaw.", labels, registry=registry)
        )
        self._polls = Bound(
            Histogram("mailculator_poll_duration_seconds", "One claim.", labels, buckets=QUICK, registry=registry)
        )
        self._successes = Bound(
            Gauge(
                "mailculator_pipeline_last_success_timestamp_seconds",
                "When an email last left this stage forward, since the epoch.",
                labels,
                registry=registry,
            )
        )
        self._inflight = Bound(
            Gauge("mailculator_inflight", "Emails in hand.", labels, registry=registry),
        )
        self._paused = Bound(
            Gauge(
                "mailculator_pipeline_paused",
                "1 while it claims nothing because an operator wants it so.",
                labels,
                registry=registry,
            )
        )
        self._time_to_sent = Histogram(
            "mailculator_time_to_sent_seconds", "From insertion to the relay.", buckets=DELIVERY, registry=registry
        )

    def _transports(self, registry: CollectorRegistry) -> None:
        self._smtp = Bound(
            Counter("mailculator_smtp_attempts", "Tries at the relay.", ("result", "code_class"), registry=registry)
        )
        self._smtp_seconds = Histogram(
            "mailculator_smtp_attempt_duration_seconds", "One try at the relay.", buckets=ATTEMPT, registry=registry
        )
        self._unknown = Counter(
            "mailculator_unknown_outcome", "Mails that left without the relay's reply coming back.", registry=registry
        )
        self._rate = Gauge(
            "mailculator_smtp_rate_limit", "Mails a second that may leave; 0 = any number.", registry=registry
        )
        self._slowed = Bound(
            Gauge(
                "mailculator_smtp_slowed",
                "1 while fewer mails are offered, for the class of the relay's reply that asked for it.",
                ("reason",),
                registry=registry,
            )
        )
        self._callbacks = Bound(
            Counter("mailculator_callback_attempts", "POSTs to producers.", ("kind", "result"), registry=registry)
        )
        self._callback_seconds = Histogram(
            "mailculator_callback_attempt_duration_seconds", "One POST.", buckets=ATTEMPT, registry=registry
        )
        self._breakers = Bound(
            Gauge(
                "mailculator_breaker_open", "1 while claims are stopped by this breaker.", ("name",), registry=registry
            )
        )

    def _stores(self, registry: CollectorRegistry) -> None:
        labels = ("store", "op")
        self._store_errors = Bound(
            Counter("mailculator_store_errors", "Verbs of a store that failed.", labels, registry=registry)
        )
        self._store_seconds = Bound(
            Histogram("mailculator_store_op_seconds", "One verb of a store.", labels, buckets=QUICK, registry=registry)
        )
        self._notices = Bound(
            Counter("mailculator_store_notices", "What a store saw.", ("store", "kind"), registry=registry)
        )
        registry.register(self._units)
        status = ("store", "status")
        self._messages = Bound(Gauge("mailculator_queue_messages", "Emails in a status.", status, registry=registry))
        self._ages = Bound(
            Gauge(
                "mailculator_queue_oldest_age_seconds",
                "How long the oldest due email of a status has been due.",
                status,
                registry=registry,
            )
        )
        self._parked = Bound(
            Gauge("mailculator_queue_parked_messages", "Emails set aside for an operator.", status, registry=registry)
        )
        self._clocks = Bound(
            Gauge(
                "mailculator_clock_offset_seconds",
                "By how much this machine's clock is ahead of the store's.",
                ("store",),
                registry=registry,
            )
        )

    def __call__(self, event: Event) -> None:
        """Count one event."""
        count = self._counters.get(type(event))
        if count is not None:
            count(event)

    def _by_event(self) -> Mapping[type[Event], Callable[[Any], None]]:
        return {
            Claimed: self._claimed,
            Moved: self._moved,
            StoreCalled: self._called,
            StoreNoticed: self._noticed,
            SmtpAttempted: self._offered,
            CallbackAttempted: self._posted,
            BreakerChanged: self._broken,
            RateChanged: self._paced,
            PauseChanged: lambda event: self._paused[event.store, event.pipeline].set(event.paused),
            Rescued: self._rescued,
            ClaimLost: self._lost,
            Purged: self._deleted,
            PipelineFailed: self._failed,
        }

    def _called(self, event: StoreCalled) -> None:
        key = (event.store, event.op)
        self._store_seconds[key].observe(event.seconds)
        if event.error is not None:
            self._store_errors[key].inc()

    def _noticed(self, event: StoreNoticed) -> None:
        self._notices[event.store, event.kind].inc()

    def _offered(self, event: SmtpAttempted) -> None:
        self._smtp[event.result, code_class(event.code)].inc()
        self._smtp_seconds.observe(event.seconds)
        if event.result == "lost":
            self._unknown.inc()

    def _posted(self, event: CallbackAttempted) -> None:
        self._callbacks[event.kind, event.result].inc()
        self._callback_seconds.observe(event.seconds)

    def _broken(self, event: BreakerChanged) -> None:
        self._breakers[(event.name,)].set(int(event.open))

    def _rescued(self, event: Rescued) -> None:
        self._leases_expired[(event.store,)].inc()
        self._transitions[event.store, str(event.origin), str(event.to)].inc()
        if event.outcome == "unknown":
            self._unknown.inc()

    def _lost(self, event: ClaimLost) -> None:
        self._claims_lost[event.store, event.pipeline].inc()

    def _deleted(self, event: Purged) -> None:
        self._purged[(event.store,)].inc(event.count)

    def _failed(self, event: PipelineFailed) -> None:
        self._bugs[event.store, event.pipeline].inc()

    def _paced(self, event: RateChanged) -> None:
        for child in self._slowed.values():
            child.set(0)
        if event.reason:
            self._slowed[(event.reason,)].set(1)

    def _claimed(self, event: Claimed) -> None:
        key = (event.store, event.pipeline)
        self._claims[(*key, "claimed" if event.count else "empty")].inc()
        self._polls[key].observe(event.seconds)
        stage = _STAGES.get(event.pipeline)
        if stage is not None and event.count:
            self._transitions[event.store, stage.waiting.value, stage.working.value].inc(event.count)

    def _moved(self, event: Moved) -> None:
        self._transitions[event.store, str(event.origin), str(event.to)].inc()
        if event.outcome not in _BACKWARD:
            self._stepped((event.store, event.pipeline))
        if event.to is Status.SENT and event.outcome == "sent":
            self._time_to_sent.observe(max(event.age, 0.0))

    def _stepped(self, key: tuple[str, str]) -> None:
        """Keep when, to be shown at each scrape: to set a gauge costs several times as much, and this is done often."""
        if key not in self._forward:
            self._successes[key].set_function(partial(self._forward.__getitem__, key))
        self._forward[key] = self._wall_clock()

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


def code_class(code: int) -> str:
    """A reply code as a label: 2xx, 4xx, 5xx, `none` without a reply, `other` for what is no SMTP code."""
    if code == 0:
        return "none"
    return f"{code // 100}xx" if 200 <= code <= 599 else "other"
