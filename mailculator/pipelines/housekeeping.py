"""What a store needs beside the pipelines: rescue, retention, and someone who asks how it is."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

from mailculator import lifecycle
from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import Observer, Purged, Rescued
from mailculator.model import Status, StatusCount
from mailculator.pipelines.leases import Keeper
from mailculator.pipelines.rescue import Judge, put_back
from mailculator.stores.base import Overdue, Ping, Recorded
from mailculator.stores.watched import WatchedStore
from mailculator.timing import Timing

RESCUE_BATCH = 100
PURGE_BATCH = 500
COUNT_SHARE = 20
"""A count is followed by a pause of so many times its duration."""


class Housekeeper:
    """Looks after one store, in rounds.

    Arguments:
        wake: told the status that mail was rescued into.
        on_ping: told every answer to a ping, or None when there was none.
        on_counts: told the counts of every round.
        count_every: seconds between two counts at the least, where they are dearer than `check_every` allows for.
        replica: this process's name, for what only one of all replicas does.
        judge: asked what became of emails whose holder is gone.
        keeper: of the leases of this process, which is never taken for dead by itself.
    """

    def __init__(
        self,
        store: WatchedStore,
        *,
        timing: Timing,
        clock: Clock,
        observer: Observer,
        keeper: Keeper,
        wake: Callable[[Status], None],
        on_ping: Callable[[Ping | None], None],
        on_counts: Callable[[Mapping[Status, StatusCount]], None],
        count_every: float = 0.0,
        replica: str = "",
        judge: Judge = put_back,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._replica = replica
        self._timing = timing
        self._clock = clock
        self._observer = observer
        self._wake = wake
        self._judge = judge
        self._on_ping = on_ping
        self._on_counts = on_counts
        self._count_every = max(timing.check_every, count_every)
        self._counted: Mapping[Status, StatusCount] = {}
        self._counted_until = -math.inf
        self._began = clock.now()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End the loops at their next turn."""
        self._stop.set()

    async def watch(self) -> None:
        """Ping every `check_every` seconds."""
        while True:
            await self.check()
            if await self._clock.wait(self._stop, self._timing.check_every):
                return

    async def count(self) -> None:
        """Count every `check_every` seconds, or less often where counting is dear: it may take a twentieth of the time.

        A count reads the index over all that waits: a second for a million emails.
        """
        while True:
            started = self._clock.now()
            counts = None
            with contextlib.suppress(StoreError):  # reported by the store's watcher; what was seen last stays
                counts = await self._store.counts()
            now = self._clock.now()
            pause = max(self._count_every, COUNT_SHARE * (now - started))
            if counts is not None:
                # Good until the next count should be there, and that may take as long as this one did.
                self._counted, self._counted_until = counts, now + pause + max(self._count_every, now - started)
                self._on_counts(counts)
            if await self._clock.wait(self._stop, pause):
                return

    def counts(self) -> Mapping[Status, StatusCount]:
        """The last counts; none when the count after them has not come in time."""
        return self._counted if self._clock.now() <= self._counted_until else {}

    async def tend(self) -> None:
        """Rescue and purge every `rescue_every` seconds; at once where whoever held anything is certainly gone."""
        pause = 0.0 if self._is_alone() else self._timing.rescue_every
        while not await self._clock.wait(self._stop, pause):
            pause = self._timing.rescue_every
            with contextlib.suppress(StoreError):  # reported by the store's watcher; the next round tries again
                await self.rescue()
                await self.purge()

    async def upkeep(self) -> None:
        """What the backend itself must see to, at once and then every `rescue_every` seconds."""
        while True:
            with contextlib.suppress(StoreError):  # reported by the store's watcher; the next round tries again
                await self._store.upkeep(self._replica)
            if await self._clock.wait(self._stop, self._timing.rescue_every):
                return

    async def check(self) -> None:
        """One look at the store; an absent store is an answer too."""
        try:
            self._on_ping(await self._store.ping())
        except StoreError:
            self._on_ping(None)

    async def rescue(self) -> None:
        """Write down what became of what dead holders left. Errors: StoreError.

        A store that was away has let the leases of living holders run out too. They write their results down as soon
        as it answers again, so wait for as long as a renewal takes before calling anyone dead.
        """
        since = self._store.answering_since
        if since is None or not (self._is_alone() or self._clock.now() - since >= self._timing.renew_every):
            return
        while not self._stop.is_set():
            found = await self._store.overdue(RESCUE_BATCH, foreign_hold=self._timing.foreign_hold)
            others = await self._of_others(found)
            rescued = await self._settle(others) if others else 0
            # Of a full batch that nobody could write, the next round may know more.
            if len(found) < RESCUE_BATCH or not rescued:
                return

    def _is_alone(self) -> bool:
        """Whether nobody else holds anything here, and this process holds nothing for so long that it ran out."""
        return not self._store.capabilities.many_processes and self._clock.now() - self._began < self._timing.lease

    async def _of_others(self, found: Sequence[Overdue]) -> Sequence[Overdue]:
        """All but what this very process is at work on: a clock that was set forward makes that look overdue too.

        It is renewed instead. Errors: StoreError.
        """
        ours = self._keeper.held([one.email for one in found])
        if ours:
            await self._keeper.renew()
        return [one for one in found if one.email.id not in ours]

    async def _settle(self, found: Sequence[Overdue]) -> int:
        """Have them judged, and write that down. Returns how many of them were still there to be rescued."""
        outcomes = await self._judge(found)
        moves = [lifecycle.move(one.email, outcome) for one, outcome in zip(found, outcomes, strict=True)]
        answers = await self._store.rescue(moves, foreign_hold=self._timing.foreign_hold)
        for one, outcome, move, answer in zip(found, outcomes, moves, answers, strict=True):
            if answer is Recorded.DONE:
                name = type(outcome).__name__.lower()
                self._observer(Rescued(self._store.name, one.email.id, one.email.status, move.to, one.holder, name))
                self._wake(move.to)
        return answers.count(Recorded.DONE)

    async def purge(self) -> None:
        """Carry out the ttl of terminal rows, in small batches. Errors: StoreError."""
        while not self._stop.is_set():
            count = await self._store.purge(PURGE_BATCH)
            if count:
                self._observer(Purged(self._store.name, count))
            if count < PURGE_BATCH:
                return
