"""The reports: every few seconds a replica says in each of its stores how it is; whoever looks sees all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from mailculator import __version__
from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.facts import Facts
from mailculator.pipelines.minutes import FAREWELL
from mailculator.stores.watched import WatchedStore

APART = 1.0
"""Seconds between two reports at the least: a breaker that flutters must not write at every turn."""


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
