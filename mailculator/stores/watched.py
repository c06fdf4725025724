"""A Store that tells an observer how each verb went, and remembers since when the store has been answering."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import Observer, StoreCalled
from mailculator.fleet import Deed, Pause, Replica
from mailculator.lifecycle import Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores.base import (
    Enqueued,
    Minute,
    Overdue,
    Ping,
    Recorded,
    Renewal,
    Spent,
    Steered,
    Store,
    Survey,
)
from mailculator.stores.control import Control
from mailculator.wall_clock import WallClock

T = TypeVar("T")


class _Watch(Protocol):
    """Awaits a verb and tells how it went."""

    async def __call__(self, op: str, call: Awaitable[T]) -> T: ...


class WatchedStore:
    """Passes every verb on.

    Arguments:
        store: the store that does the work; closed with this one.
    """

    def __init__(self, store: Store, *, observer: Observer, clock: Clock) -> None:
        self._store = store
        self._observer = observer
        self._clock = clock
        self._wall_clock = WallClock(store.name, observer=observer)
        self.name = store.name
        self.capabilities = store.capabilities
        self.control: Control = _WatchedControl(store.control, self._watch)
        self.answering_since: float | None = clock.now()

    async def _watch(self, op: str, call: Awaitable[T], *, pipeline: str | None = None) -> T:
        started = self._clock.now()
        try:
            result = await call
        except StoreError as error:
            self._observer(StoreCalled(self.name, op, self._clock.now() - started, str(error), pipeline))
            raise
        self._observer(StoreCalled(self.name, op, self._clock.now() - started, pipeline=pipeline))
        return result

    async def enqueue(self, emails: Sequence[NewEmail]) -> list[Enqueued]:
        """See Store."""
        return await self._watch("enqueue", self._store.enqueue(emails))

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """See Store."""
        claim = self._store.claim(stage, limit, lease=lease, holder=holder)
        return await self._watch("claim", claim, pipeline=stage.name)

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """See Store."""
        return await self._watch("record", self._store.record(moves))

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        """See Store."""
        return await self._watch("renew", self._store.renew(emails, lease=lease))

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        """See Store."""
        return await self._watch("overdue", self._store.overdue(limit, foreign_hold=foreign_hold))

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        """See Store."""
        return await self._watch("rescue", self._store.rescue(moves, foreign_hold=foreign_hold))

    async def get(self, email_id: str) -> Row | None:
        """See Store."""
        return await self._watch("get", self._store.get(email_id))

    async def history(self, email_id: str) -> list[HistoryEntry]:
        """See Store."""
        return await self._watch("history", self._store.history(email_id))

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        """See Store."""
        return await self._watch("counts", self._store.counts(terminal=terminal))

    async def page(
        self,
        status: Status | None = None,
        *,
        parked: bool | None = None,
        unknown: bool = False,
        domain: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """See Store."""
        page = self._store.page(status, parked=parked, unknown=unknown, domain=domain, after=after, limit=limit)
        return await self._watch("page", page)

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """See Store."""
        return await self._watch("requeue", self._store.requeue(ids, who=who, why=why, ttl_extension=ttl_extension))

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._watch("release", self._store.release(ids, who=who, why=why))

    async def park(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._watch("park", self._store.park(ids, who=who, why=why))

    async def hasten(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._watch("hasten", self._store.hasten(ids, who=who, why=why))

    async def cancel(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._watch("cancel", self._store.cancel(ids, who=who, why=why))

    async def purge(self, limit: int) -> int:
        """See Store."""
        return await self._watch("purge", self._store.purge(limit))

    async def remember(self, minute: Minute) -> None:
        """See Store."""
        await self._watch("remember", self._store.remember(minute))

    async def minutes(self, since: datetime) -> list[Minute]:
        """See Store."""
        return await self._watch("minutes", self._store.minutes(since))

    async def upkeep(self, replica: str) -> None:
        """See Store."""
        await self._watch("upkeep", self._store.upkeep(replica))

    async def survey(self) -> Survey:
        """See Store."""
        return await self._watch("survey", self._store.survey())

    def spent(self) -> Sequence[Spent]:
        """See Store."""
        return self._store.spent()

    async def ping(self) -> Ping:
        """See Store. Its answers alone decide `answering_since`: other verbs fail for reasons of their own, too."""
        try:
            ping = await self._watch("ping", self._store.ping())
        except StoreError:
            self.answering_since = None
            raise
        if self.answering_since is None:
            self.answering_since = self._clock.now()
        self._wall_clock.compared(ping.clock_off)
        return ping

    async def close(self) -> None:
        """See Store."""
        await self._store.close()


class _WatchedControl:
    """The same for what concerns the queue as a whole."""

    def __init__(self, control: Control, watch: _Watch) -> None:
        self._control = control
        self._watch = watch

    async def pause(self, pipeline: str, *, seconds: float | None, who: str, why: str) -> None:
        """See Control."""
        await self._watch("pause", self._control.pause(pipeline, seconds=seconds, who=who, why=why))

    async def resume(self, pipeline: str, *, who: str, why: str) -> bool:
        """See Control."""
        return await self._watch("resume", self._control.resume(pipeline, who=who, why=why))

    async def pauses(self) -> list[Pause]:
        """See Control."""
        return await self._watch("pauses", self._control.pauses())

    async def note(self, *, who: str, what: str, why: str) -> None:
        """See Control."""
        await self._watch("note", self._control.note(who=who, what=what, why=why))

    async def audit(self, *, after: str | None = None, limit: int = 50) -> list[Deed]:
        """See Control."""
        return await self._watch("audit", self._control.audit(after=after, limit=limit))

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        """See Control."""
        await self._watch("report", self._control.report(replica, service=service, facts=facts))

    async def replicas(self) -> list[Replica]:
        """See Control."""
        return await self._watch("replicas", self._control.replicas())
