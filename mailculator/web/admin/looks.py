"""Looks at the stores: one at a time for all who ask, and none while nobody does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from mailculator import words
from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.insight.view import View, look
from mailculator.lifecycle import TERMINAL
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Store
from mailculator.web.admin.desk import Counted, Desk

LOOK_EVERY = 1.0
"""Seconds for which a look is good."""
PAID_LOOK_EVERY = 5.0
"""The same where looks are paid for: replicas report no oftener there."""
COUNT_SHARE = 100
"""A count is followed by a pause of so many times its duration: what is open beside the pipelines may cost them two
hundredths of their rate, and a count takes a core of the store's for as long as it lasts."""
OWN_EVERY = 5.0
"""Seconds between two counts of the service's own, at the least."""
PATIENCE = 5.0
"""Seconds that a store has to answer before it is shown as one that does not."""
TERMINAL_EVERY = 60.0
"""Seconds between two counts of the terminal statuses, at the least; there may be millions of them."""
TERMINAL_SHARE = 200
"""Such a count is followed by a pause of so many times its duration."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The terminal statuses as they were counted last, and when: UTC, None before the first count."""

    counts: Mapping[Status, int] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a store: a look, and an older count of what has ended there.

    Arguments:
        counted: when the counts of the look were taken, UTC; they may be older than the look.
        paid: looks cost money there, and lists of what has ended more of it.
    """

    view: View
    ended: Ended
    counted: datetime | None = None
    paid: bool = False


class Looks:
    """Looks at every store of a desk."""

    def __init__(self, desk: Desk, *, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._watchers: dict[str, _Watcher] = {}

    async def all(self) -> list[Sight]:
        """Every store, in the desk's order; a store that does not answer is shown as one."""
        return list(await asyncio.gather(*(self.one(name) for name in self._desk.names)))

    async def one(self, name: str) -> Sight:
        """One store. Errors: Refusal where no such store is enabled."""
        store = self._desk.find(name)
        if store is None:
            self._forget(name)
            return Sight(View(name, datetime.now(UTC), error=self._desk.trouble(name)), Ended())
        watcher = self._watchers.get(name)
        if watcher is None or watcher.store is not store:
            self._forget(name)
            own = partial(self._desk.counts, name)
            watcher = self._watchers[name] = _Watcher(store, clock=self._clock, own=own)
        return await watcher.sight()

    def stale(self, name: str) -> None:
        """Somebody has just changed something: whoever asks next sees it."""
        if name in self._watchers:
            self._watchers[name].stale()

    def close(self) -> None:
        """Give up every look that is under way."""
        for name in list(self._watchers):
            self._forget(name)

    def _forget(self, name: str) -> None:
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            watcher.close()


class _Watcher:
    """Looks at one store, as often as it is good for."""

    def __init__(self, store: Store, *, clock: Clock, own: Callable[[], Counted | None]) -> None:
        self.store = store
        self._paid = store.capabilities.looks_are_paid
        self._every = PAID_LOOK_EVERY if self._paid else LOOK_EVERY
        self._clock = clock
        self._seldom = _Seldom(store, clock=clock, own=own)
        self._view: View | None = None
        self._good_until = -math.inf
        self._looking: asyncio.Task[None] | None = None
        self._stale = False
        self._since = 0.0
        self._ended = Ended()
        self._counting: asyncio.Task[None] | None = None
        self._count_at = -math.inf

    async def sight(self) -> Sight:
        now = self._clock.now()
        if self._looking is None and now >= self._good_until:
            self._since = now
            self._stale = False
            self._looking = asyncio.create_task(self._look(), name=f"look:{self.store.name}")
        if not self._paid and self._counting is None and now >= self._count_at:
            self._counting = asyncio.create_task(self._count_ended(), name=f"count:{self.store.name}")
        if self._looking is not None:
            # Whoever asks next joins this look; it is nobody's to cancel.
            await asyncio.wait([self._looking], timeout=self._since + PATIENCE - now)
        return Sight(self._seen(), self._ended, self._seldom.at, self._paid)

    def stale(self) -> None:
        self._good_until = -math.inf
        self._stale = True

    def close(self) -> None:
        for task in (self._looking, self._counting):
            if task is not None:
                task.cancel()

    def _seen(self) -> View:
        waited = self._clock.now() - self._since
        if self._view is None or (self._looking is not None and waited >= PATIENCE):
            return View(self.store.name, datetime.now(UTC), error=f"has not answered for {words.span(waited)}")
        return self._view

    async def _look(self) -> None:
        try:
            view = await look(cast(Store, self._seldom))
            self._view = view
            if self._paid and view.error is None:
                survey = await self.store.survey()
                if survey.swept_until is not None:
                    self._ended = Ended({one: survey.swept.get(one, 0) for one in TERMINAL}, survey.swept_until)
        except StoreError as error:
            self._view = View(self.store.name, datetime.now(UTC), error=str(error))
        finally:
            # What was changed meanwhile, this look may have missed.
            self._good_until = -math.inf if self._stale else self._clock.now() + self._every
            self._looking = None

    async def _count_ended(self) -> None:
        if self._looking is not None:
            # One count at a time: whoever has just come waits for the look.
            await asyncio.wait([self._looking])
        started = self._clock.now()
        try:
            counts = await self.store.counts(terminal=True)
            self._ended = Ended({one: counts[one].count for one in TERMINAL if one in counts}, datetime.now(UTC))
        except StoreError:
            pass  # the look says so; what was counted last stays, with its time
        finally:
            now = self._clock.now()
            self._count_at = now + max(TERMINAL_EVERY, TERMINAL_SHARE * (now - started))
            self._counting = None


class _Seldom:
    """A store for `look`, whose counts are used again until counting anew costs its share of the time and no more.

    Where a count is so dear that the service's own come as often, there is none beside those; and whoever looks first
    sees the service's own, as old as they are, before any other is taken.
    """

    def __init__(self, store: Store, *, clock: Clock, own: Callable[[], Counted | None]) -> None:
        self._store = store
        self._clock = clock
        self._own = own
        self._least = store.capabilities.count_every if store.capabilities.looks_are_paid else 0.0
        self._pause = 0.0
        self._counts: Mapping[Status, StatusCount] = {}
        self._good_until = -math.inf
        self.at: datetime | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        own = self._own() if self.at is None or self._pause > OWN_EVERY else None
        if own is not None:
            self.at = own.at
            return own.counts
        started = self._clock.now()
        if started >= self._good_until:
            at = datetime.now(UTC)
            self._counts = await self._store.counts()
            self.at = at
            now = self._clock.now()
            self._pause = max(self._least, COUNT_SHARE * (now - started))
            self._good_until = now + self._pause
        return self._counts
