"""The gauges of a cutover, as this replica saw it at the last full minute.

They are its own view: a store that it does not work on counts as unknown. `mailculator cutover status` looks at both.
"""

from __future__ import annotations

import math
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge

from mailculator.cutover import evidence
from mailculator.cutover.assessment import Assessment
from mailculator.cutover.evidence import Look, Situation
from mailculator.stores.base import Survey

_PHASES = (
    "0 DynamoDB alone, 1 both, 2 DynamoDB drains, 3 it was empty for long enough, 4 MariaDB alone; -1 none of them."
)


class CutoverMetrics:
    """Shows an assessment.

    Arguments:
        registry: where the metrics live.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"mailculator_{name}", words, labels, registry=registry)

        self._phase = gauge("cutover_phase", _PHASES)
        self._phase.set(-1)
        self._prerequisites = gauge(
            "cutover_prerequisite",
            "1 where a prerequisite of the next step is met, 0 where it is not or nobody knows.",
            "prerequisite",
        )
        self._empty = gauge("cutover_empty_seconds", "For how long a store has been empty, without a gap.", "store")
        self._rate = gauge("cutover_emails_per_minute", "Over the last minutes, all replicas.", "store", "direction")
        self._empty_in = gauge("cutover_empty_in_seconds", "Until it is empty at this rate; +Inf for never.", "store")
        self._poisoned = gauge("store_poisoned", "Records that cannot be worked on.", "store")
        self._stopped = gauge("store_claims_stopped", "1 while no claims are made until an operator resumes.", "store")
        self._swept = gauge("store_last_sweep_timestamp_seconds", "When the last full sweep ended, or 0.", "store")
        self._foreign = gauge(
            "store_last_foreign_write_timestamp_seconds", "When another program last wrote there, or 0.", "store"
        )

    def show(self, assessment: Assessment, situation: Situation) -> None:
        """Show these, and no prerequisite of another step."""
        self._phase.set(assessment.phase.number)
        self._prerequisites.clear()
        for one in assessment.prerequisites:
            self._prerequisites.labels(one.name).set(int(one.met))
        for look in situation.stores.values():
            if look.survey is not None:
                self._show(situation, look, look.survey)

    def _show(self, situation: Situation, look: Look, survey: Survey) -> None:
        since = evidence.empty_since(look.minutes, situation.minute)
        self._empty.labels(look.name).set(0.0 if since is None else situation.ago(since).total_seconds())
        rates = evidence.rates(situation, look)
        for direction, rate in (("in", rates.entered_per_minute), ("out", rates.left_per_minute)):
            self._rate.labels(look.name, direction).set(math.nan if rate is None else rate)
        seconds = rates.empty_in(look.active)
        self._empty_in.labels(look.name).set(math.inf if seconds is None else seconds)
        self._poisoned.labels(look.name).set(survey.poisoned_count)
        self._stopped.labels(look.name).set(int(survey.stopped is not None))
        self._swept.labels(look.name).set(_epoch(survey.swept_until))
        self._foreign.labels(look.name).set(_epoch(survey.foreign_write))


def _epoch(when: datetime | None) -> float:
    return 0.0 if when is None else when.timestamp()
