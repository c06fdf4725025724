"""What the metrics are put together from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

M = TypeVar("M", bound=MetricWrapperBase)

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ATTEMPT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
DELIVERY = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Buckets, in seconds: of a verb or a request, of a try, of the whole way."""


class Bound(dict[tuple[str, ...], M], Generic[M]):
    """A metric's children by their label values, each looked up in the metric once: that look-up is the dear part."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, key: tuple[str, ...]) -> M:
        child = self[key] = self._metric.labels(*key)
        return child


class Units(Collector):
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


def tasks() -> float:
    """How many there are; those that come and never go are a leak that descriptors and memory show late."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked outside of any loop
        return 0
