"""The reports: every few seconds a replica says in each of its stores how it is; whoever looks sees all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from mailculator import __version__, facts
from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import Event, Moved, Rescued
from mailculator.facts import Facts, Said
from mailculator.lifecycle import FAILED_CALLBACK, SENT_CALLBACK, STAGE_BY_WORKING
from mailculator.model import Status
from mailculator.pipelines.minutes import FAREWELL, FIRST_RESULT
from mailculator.stores.watched import WatchedStore

APART = 1.0
"""Seconds between two reports at the least: a breaker that flutters must not write at every turn."""

_COUNTED: Mapping[Status, str] = {
    Status.SENT: facts.SENT,
    Status.FAILED: facts.FAILED,
    Status.INVALID: facts.INVALID,
    Status.SENT_ACKNOWLEDGED: facts.ACKNOWLEDGED,
    Status.FAILED_ACKNOWLEDGED: facts.ACKNOWLEDGED,
}
"""What it counts as when mail moves forward into a status. A step back into it is a retry."""

UNKNOWN = "unknown"
"""How the events call an outcome that nobody knows."""

_CALLBACKS = frozenset({SENT_CALLBACK.name, FAILED_CALLBACK.name})


class Ledger:
    """Counts from the core's events what became of one store's mail here, and keeps what its callbacks met last.

    Arguments:
        epoch: the time of day, in seconds.
    """

    heeds: Collection[type[Event]] = (Moved, Rescued)

    def __init__(self, store: str, *, epoch: Callable[[], float]) -> None:
        self._store = store
        self._epoch = epoch
        self._ends: Counter[tuple[Status, Status]] = Counter()
        self._entered = 0
        self._callback: tuple[float, Moved] | None = None
        self.unknown: Said | None = None
        self.unknown_count = 0

    def __call__(self, event: Event) -> None:
        """Count one event; of each email in as few steps as can be."""
        if type(event) is Moved and event.store == self._store:
            self._moved(event)
        elif type(event) is Rescued and event.store == self._store and event.outcome == UNKNOWN:
            self._lost_reply(event.email_id)

    def _moved(self, event: Moved) -> None:
        self._ends[event.origin, event.to] += 1
        self._entered += event.version == FIRST_RESULT
        if event.pipeline in _CALLBACKS:
            self._callback = (self._epoch(), event)
        elif event.outcome == UNKNOWN:
            self._lost_reply(event.email_id)

    def _lost_reply(self, email_id: str) -> None:
        self.unknown = Said(self._epoch(), email_id)
        self.unknown_count += 1

    def totals(self) -> dict[str, int]:
        """What was counted so far, by the words of `facts`."""
        found: Counter[str] = Counter({facts.ENTERED: self._entered})
        for (origin, to), count in self._ends.items():
            back = to is STAGE_BY_WORKING[origin].waiting
            found[facts.RETRIED if back else _COUNTED.get(to, "")] += count
        return {name: count for name, count in found.items() if name}

    @property
    def callback(self) -> Said | None:
        """How the last callback ended."""
        return None if self._callback is None else Said(self._callback[0], self._callback[1].note or "")


class Reporter:
    """Writes a replica's reports on one store.

    Arguments:
        every: seconds between two reports, where nothing happens that has to be told sooner.
        facts: what is to be said now, but for rates.
    """

    def __init__(
        self, store: WatchedStore, *, replica: str, every: float, clock: Clock, facts: Callable[[], Facts]
    ) -> None:
        self._store = store
        self._replica = replica
        self._every = every
        self._clock = clock
        self._facts = facts
        self._before: tuple[float, Mapping[str, int]] = (clock.now(), {})
        self._news = asyncio.Event()
        self._stop = asyncio.Event()

    def tell(self) -> None:
        """Something has changed that nobody should wait for."""
        self._news.set()

    def stop(self) -> None:
        """Say goodbye, and end `run`."""
        self._stop.set()
        self._news.set()

    async def run(self) -> None:
        """Until `stop`."""
        apart = min(APART, self._every)
        while not self._stop.is_set():
            self._news.clear()
            with suppress(StoreError):  # reported by the store's watcher; the next report tells all of it again
                await self._report(self._now())
            if not await self._clock.wait(self._stop, apart):
                await self._clock.wait(self._news, self._every - apart)
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._report(replace(self._now(), stopped=True, in_flight={}, rates={}))

    async def _report(self, found: Facts) -> None:
        await self._store.control.report(self._replica, service=__version__, facts=found.document())

    def _now(self) -> Facts:
        found = self._facts()
        (since, before), now = self._before, self._clock.now()
        self._before = (now, found.totals)
        span = now - since
        rates = {name: (count - before.get(name, 0)) / span for name, count in found.totals.items()} if span > 0 else {}
        return replace(found, rates={name: round(rate, 3) for name, rate in rates.items()})
