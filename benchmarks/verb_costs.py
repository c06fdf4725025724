"""What a verb of the MariaDB store makes the server read, and how long it takes, when nobody else is at work.

Rows are those of the server's own counters, Handler_read_*: rows and entries of indexes that statements have asked for.
A claim is measured with everything that it consists of, up to the reservations; what is claimed is given back. What is
purged came to its end last, so that its pages are in memory still.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import deep_queue
from benchmarks.deep_queue import DeepQueue
from mailculator import config, lifecycle
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import FAILED_CALLBACK, SENDER, Release
from mailculator.model import Email, Status
from mailculator.pipelines.housekeeping import PURGE_BATCH, RESCUE_BATCH
from mailculator.stores import registry
from mailculator.stores.base import Store
from mailculator.timing import Timing

BATCH = 500
"""Emails in a claim, and in a record."""
REPEATS = 5
"""Of each verb; all claims are held together."""
TIMING = Timing()
CLAIM = f"claim of {BATCH}"


@dataclass(frozen=True)
class Cost:
    """Of one verb: medians.

    Arguments:
        rows: that the server read for it.
    """

    rows: float
    seconds: float


class Meter:
    """Measures the verbs of a store that nobody else uses meanwhile."""

    def __init__(self, server: PrivateMariadb) -> None:
        self._server = server
        before = self._rows()
        self._asking = self._rows() - before

    def _rows(self) -> int:
        return deep_queue.status(self._server, "Handler_read%")

    async def of(self, call: Callable[[], Awaitable[object]]) -> Cost:
        """What a verb costs."""
        rows, seconds = [], []
        for _ in range(REPEATS):
            before, began = self._rows(), time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - began)
            rows.append(self._rows() - before - self._asking)
        return Cost(statistics.median(rows), statistics.median(seconds))


async def costs(deep: DeepQueue) -> dict[str, Cost]:
    """Of the verbs that the service and its page call again and again."""
    settings = config.load(dict(deep.queue.variables), needs={"store"})
    store = await registry.backend("mysql").open_store(settings, service=False)
    deep.expire(PURGE_BATCH * REPEATS)
    try:
        meter = Meter(deep.server)
        return {name: await meter.of(call) for name, call in verbs(store).items()}
    finally:
        await store.close()


def verbs(store: Store) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is measured, in this order: claims are held until they are given back."""
    held: list[list[Email]] = []

    async def claim() -> None:
        held.append(await store.claim(SENDER, BATCH, lease=TIMING.lease, holder="benchmark"))

    async def give_back() -> None:
        await store.record([lifecycle.move(email, Release("measured")) for email in held.pop()])

    return {
        CLAIM: claim,
        f"rescue, {BATCH * REPEATS:,} held by living holders": partial(
            store.overdue, RESCUE_BATCH, foreign_hold=TIMING.foreign_hold
        ),
        f"record of {BATCH}": give_back,
        "claim, nothing due": partial(store.claim, FAILED_CALLBACK, BATCH, lease=TIMING.lease, holder="benchmark"),
        "rescue, nothing held": partial(store.overdue, RESCUE_BATCH, foreign_hold=TIMING.foreign_hold),
        f"purge of {PURGE_BATCH}": partial(store.purge, PURGE_BATCH),
        "purge, nothing past its ttl": partial(store.purge, PURGE_BATCH),
        "survey": store.survey,
        "counts": store.counts,
        "page, the first": store.page,
        "page of READY, from the middle": partial(store.page, Status.READY, after="8"),
        "page of what is parked": partial(store.page, parked=True),
    }
