"""The memory of a store: each minute one note of what stood there, what came and what left.

Every replica that works on a store notes for itself, in the store, so that all of them and the command line see the
same. A cutover is judged by these notes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from mailculator import __version__
from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import Lifetime, Observer, StoreNoticed
from mailculator.model import Status, StatusCount
from mailculator.notes import STOPPED
from mailculator.pipelines.ledger import Ledger
from mailculator.stores.base import Minute, Survey
from mailculator.stores.watched import WatchedStore

MINUTE = 60.0
"""Seconds."""

WAITING = 30
"""Minutes that are kept to be written later while the store takes none."""

FAREWELL = 2.0
"""Seconds that the last note may take: nobody waits longer for a store that hangs."""

Learned = Callable[[Sequence[Minute], Survey], None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a minute gets what it says.

    Arguments:
        counts: the last count of the active statuses; empty when there is none, or none that is recent.
        notes: what else to say.
        utc: the time of day.
    """

    counts: Callable[[], Mapping[Status, StatusCount]]
    notes: Callable[[], Mapping[str, str]]
    utc: Callable[[], datetime]


class MinuteKeeper:
    """Notes the minutes of one store, and reads back what all replicas have noted.

    Arguments:
        replica: who notes.
        minute: seconds in a minute; less in tests.
        reach: seconds for which minutes are read back at the first time; later only what is new.
        on_learned: told, after each minute, the minutes that are new since the last time and what the store says of
            itself.
    """

    def __init__(
        self,
        store: WatchedStore,
        *,
        replica: str,
        minute: float,
        reach: float,
        clock: Clock,
        observer: Observer,
        ledger: Ledger,
        sources: Sources,
        on_learned: Learned,
    ) -> None:
        self._store = store
        self._replica = replica
        self._minute = timedelta(seconds=minute)
        self._reach = timedelta(seconds=reach)
        self._clock = clock
        self._observer = observer
        self._ledger = ledger
        self._counted = (0, 0)
        self._sources = sources
        self._on_learned = on_learned
        self._unwritten: deque[Minute] = deque()
        self._last: Minute | None = None
        self._read_until: datetime | None = None
        self._day: date | None = None
        self._told: dict[tuple[str, str], float] = {}
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Note the minute that has begun, and end."""
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`."""
        while True:
            now = self._sources.utc()
            at = now - (now - _EPOCH) % self._minute
            self._day = self._day or now.date()
            stopped = await self._clock.wait(self._stop, (at + self._minute - now).total_seconds())
            self._note(at, stopped=stopped)
            # What fails is reported by the store's watcher, and what could not be written is written later.
            with suppress(StoreError, TimeoutError):
                if stopped:
                    async with asyncio.timeout(FAREWELL):
                        await self._write()
                else:
                    await self._write()
                    await self._read()
            self._tell_units(stopped=stopped)
            if stopped:
                return

    def _note(self, at: datetime, *, stopped: bool) -> None:
        before, self._counted = self._counted, (self._ledger.entered, self._ledger.left)
        entered, left = self._counted[0] - before[0], self._counted[1] - before[1]
        if self._last is not None and self._last.at == at:
            # The time of day may lag a little behind the clock that woke us: the same minute is noted twice then.
            entered, left = entered + self._last.entered, left + self._last.left
        notes = {**self._sources.notes(), **({STOPPED: "yes"} if stopped else {})}
        self._last = Minute(at, self._replica, __version__, self._sources.counts(), entered, left, notes)
        self._unwritten = deque(one for one in self._unwritten if one.at != at)
        self._unwritten.append(self._last)
        if len(self._unwritten) > WAITING:
            # The minute is lost, and shows as a gap. What came and left in it is not.
            lost = self._unwritten.popleft()
            first = self._unwritten[0]
            self._unwritten[0] = replace(first, entered=first.entered + lost.entered, left=first.left + lost.left)

    async def _write(self) -> None:
        while self._unwritten:
            await self._store.remember(self._unwritten[0])
            self._unwritten.popleft()

    async def _read(self) -> None:
        """Others write their minutes when they can, so a little of what was read is read again."""
        now = self._sources.utc()
        since = now - self._reach if self._read_until is None else self._read_until - 3 * self._minute
        minutes = await self._store.minutes(since)
        survey = await self._store.survey()
        self._read_until = now
        if survey.poisoned_count:
            some = ", ".join(survey.poisoned[:5])
            detail = f"{survey.poisoned_count} records that nobody can work on, among them {some}"
            self._observer(StoreNoticed(self._store.name, "unworkable", detail=detail))
        self._on_learned(minutes, survey)

    def _tell_units(self, *, stopped: bool) -> None:
        """Once a day, and at the end, what the store has charged since the last time."""
        today = self._sources.utc().date()
        if today == self._day and not stopped:
            return
        day, self._day = self._day, today
        spent = {(one.op, one.kind): one.units for one in self._store.spent()}
        fields: dict[str, str | float] = {"store": self._store.name, "day": str(day)}
        for (op, kind), units in sorted(spent.items()):
            fields[f"{op}.{kind}"] = round(units - self._told.get((op, kind), 0.0), 1)
        if spent:
            self._observer(Lifetime("request_units", tuple(fields.items())))
        self._told = spent
