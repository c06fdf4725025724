"""Passes over the whole table: what no index shows is found there, counted, and put right.

They read every email's record, so they are rare, go a page at a time, and are one replica's task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailculator.errors import StoreError
from mailculator.lifecycle import INTAKE, TERMINAL, Stage
from mailculator.model import Status
from mailculator.stores.base import Survey
from mailculator.stores.dynamodb import layout, reads, repairs
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.control import SWEEP, Control, own_key
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.inbox import ACCEPTED, Inbox
from mailculator.stores.dynamodb.index import WorkIndex
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import Poisoned, Record, parse, seconds
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.table import Put, Refused

OP = "sweep"
FRESH = "fresh"
ADOPT = "adopt"
FRESH_EVERY = 60.0
"""Seconds between two passes for new emails, where the inbox is no feed."""
PAUSE = 0.02
"""Seconds between two pages: a pass must not crowd out what the table is there for."""
LEASE = 900.0
"""Seconds for which a replica that began a sweep keeps others from it."""
GIVE_UP = 1.0
"""Seconds that a sweep which is stopped has for letting others begin theirs; whoever stops is in a hurry."""
PAGE = 100
_TERMINAL = sorted(str(status) for status in TERMINAL)


@dataclass(slots=True)
class Adoption:
    """How far a table's past has been gone through.

    Arguments:
        seen: ACCEPTED records looked at.
        adopted: emails taken up, being still to be worked on.
        cleared: ACCEPTED records deleted.
        left: left as they are: nobody can work on them.
        done: everything was gone through.
    """

    seen: int = 0
    adopted: int = 0
    cleared: int = 0
    left: int = 0
    done: bool = False


@dataclass(slots=True)
class _Found:
    counts: Counter[str] = field(default_factory=Counter)
    poisoned: list[str] = field(default_factory=list)
    without_ttl: int = 0


class Sweeper:
    """Goes through the table.

    Arguments:
        every: seconds between two full sweeps, over all replicas.
        scale: multiplies the delays that are no setting.
        wait: waits that many seconds.
    """

    def __init__(
        self,
        session: Session,
        *,
        control: Control,
        reconciler: Reconciler,
        index: WorkIndex,
        inbox: Inbox,
        every: float,
        scale: float = 1.0,
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._control = control
        self._reconciler = reconciler
        self._index = index
        self._inbox = inbox
        self._every = every
        self._fresh_every = FRESH_EVERY * scale
        self._lease_for = LEASE * scale
        self._wait = wait
        self._fresh_at = float("-inf")
        self._asked_at = float("-inf")

    async def fresh(self) -> None:
        """Take up new emails where the inbox is no feed, once a minute. Errors: StoreError."""
        now = self._session.monotonic()
        if now - self._fresh_at < self._fresh_every or await self._inbox.is_feed():
            return
        self._fresh_at = now
        # Beside an older consumer, intake is its.
        others = [str(INTAKE.waiting), str(INTAKE.working)] if self._session.peer else []
        names = {f"t{number}": status for number, status in enumerate([*_TERMINAL, *others])}
        left_out = ", ".join(f":{name}" for name in names)
        only = Where(f"attribute_not_exists({{State}}) AND NOT {{Attributes.Latest}} IN ({left_out})", names)
        async for item in reads.all_records(self._session, FRESH, only=only):
            await self._look_at(item, _Found())

    async def sweep_if_due(self, replica: str) -> bool:
        """A full sweep, if none was made for long and no other replica is at it. Errors: StoreError."""
        now = self._session.monotonic()
        if now - self._asked_at < self._fresh_every:
            return False
        self._asked_at = now
        last = await self._session.table.get(OP, own_key(SWEEP)) or {}
        at = round(self._session.now() * 1000)
        if int(last.get("Until") or 0) > at - self._every * 1000 or int(last.get("Lease") or 0) > at:
            return False
        mine = {**own_key(SWEEP), layout.TTL: layout.FAR, **last, "Lease": self._lease(), "By": replica}
        if not await self._hold(mine, last.get("Lease")):
            return False
        try:
            await self.sweep()
        except asyncio.CancelledError:
            # A sweep that failed is begun again when its lease has run out: sooner would only fail as dearly.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(GIVE_UP):
                    await self._hold({**mine, "Lease": at}, mine["Lease"])
            raise
        return True

    async def _hold(self, mine: Item, lease: int | None) -> bool:
        """Write the record down if it still has that lease."""
        where = Where("attribute_not_exists({Lease})") if lease is None else Where("{Lease} = :lease", {"lease": lease})
        try:
            await self._session.table.put(OP, Put(mine, where))
        except Refused:
            return False
        return True

    def _lease(self) -> int:
        return round((self._session.now() + self._lease_for) * 1000)

    async def sweep(self) -> Survey:
        """Look at every email's record: take up what was not, repair what another program left, and count.

        Errors: StoreError.
        """
        began = self._session.now()
        found = _Found()
        number = 0
        async for item in reads.all_records(self._session, OP):
            await self._look_at(item, found)
            number += 1
            if number % reads.SWEEP_PAGE == 0:
                await self._wait(PAUSE)
        ended = self._session.now()
        item = {
            **own_key(SWEEP),
            layout.TTL: layout.FAR,
            "From": round(began * 1000),
            "Until": round(ended * 1000),
            "Lease": round(ended * 1000),
            "Counts": dict(found.counts),
            "WithoutTtl": found.without_ttl,
        }
        await self._session.table.put(OP, Put(item))
        await self._control.note_poisoned(found.poisoned, len(found.poisoned))
        if found.without_ttl:
            self._session.notice("without_ttl", detail=f"{found.without_ttl} records have no TTL")
        return await survey(self._session, self._control)

    async def _look_at(self, item: Item, found: _Found) -> None:
        try:
            record = parse(item)
        except Poisoned as error:
            found.poisoned.append(error.email_id)
            await self._control.poisoned(error)
            return
        found.counts[str(record.status)] += 1
        found.without_ttl += seconds(item.get(layout.TTL)) is None
        stage = layout.stage_of(record.status)
        if record.oddity is not None and stage is not None and record.adopted:
            found.poisoned.append(record.id)
            await self._control.poisoned(Poisoned(record.id, record.oddity))
        if not record.adopted:
            if stage is not None and not (self._session.peer and stage is INTAKE):
                await self._take_up(record)
        elif not record.in_step:
            await self._bring_in(record)
        elif stage is not None and not _is_indexed(record, stage):
            await self._index_again(record)

    async def _take_up(self, record: Record) -> None:
        synced = await self._bring_in(record)
        if synced is None or layout.stage_of(synced.status) is None:
            return
        self._index.met(synced)
        if not self._session.keep_accepted:
            await self._inbox.clear(synced.id)

    async def _bring_in(self, record: Record) -> Record | None:
        try:
            return await self._reconciler.bring_in(record)
        except Poisoned as error:
            await self._control.poisoned(error)
            return None

    async def _index_again(self, record: Record) -> None:
        try:
            await self._session.table.update("repair", repairs.index_again(record, at=self._session.now()))
        except Refused:
            return  # it has changed, and was indexed by whoever changed it
        self._session.notice("repaired", record.id, "it was not in the work index")

    async def adopt(self, *, rate: float, progress: Callable[[Adoption], None]) -> Adoption:
        """Go through the inbox of a table that the older service has worked on for long.

        What is still to be worked on is taken up, and the ACCEPTED record of everything is deleted (unless they are to
        be kept). How far it came is kept after each page, so that another run goes on there.

        Arguments:
            rate: ACCEPTED records a second, at the most.

        Errors: StoreError.
        """
        done = Adoption()
        after = await self._control.adoption_after()
        while True:
            began = self._session.monotonic()
            page = await self._session.table.query(
                ADOPT,
                Where("{Status} = :accepted", {"accepted": ACCEPTED}),
                index=layout.STATUS_INDEX,
                limit=max(1, min(PAGE, int(rate))),
                after=after,
            )
            await self._adopt_page([item[layout.ID] for item in page.items], done)
            after, done.done = page.after, page.after is None
            await self._control.note_adoption(after, done=done.done)
            progress(done)
            if done.done:
                return done
            spent = self._session.monotonic() - began
            await self._wait(max(0.0, len(page.items) / rate - spent))

    async def _adopt_page(self, ids: list[str], done: Adoption) -> None:
        keys = [layout.meta_key(email_id) for email_id in ids]
        items = {item[layout.ID]: item for item in await self._session.table.get_many(ADOPT, keys, consistent=False)}

        async def one(email_id: str) -> None:
            done.seen += 1
            record = await self._control.parsed(items.get(email_id))
            if record is None:
                done.left += 1
                return
            stage = layout.stage_of(record.status)
            if stage is INTAKE and self._session.peer:
                return
            if stage is not None and not record.adopted:
                done.adopted += await self._bring_in(record) is not None
            if not self._session.keep_accepted:
                await self._inbox.clear(email_id)
                done.cleared += 1

        sound(await each(ids, one))


def _is_indexed(record: Record, stage: Stage) -> bool:
    keys = (layout.work_key(stage, record.id), layout.parked_key(record.id))
    return record.item.get(layout.WORK_KEY) in keys and layout.DUE_AT in record.item


async def survey(session: Session, control: Control) -> Survey:
    """What the last sweep, and all replicas since, have found. Errors: StoreError."""
    last = await session.table.get("status", own_key(SWEEP)) or {}
    poisoned, count = await control.known_poisoned()
    return Survey(
        exact=False,
        swept_from=_moment(last.get("From")),
        swept_until=_moment(last.get("Until")),
        swept={Status(status): int(number) for status, number in (last.get("Counts") or {}).items()},
        foreign_write=await control.foreign_write(),
        poisoned=poisoned,
        poisoned_count=count,
        stopped=await control.stopped(),
    )


def _moment(at: object) -> datetime | None:
    return datetime.fromtimestamp(at / 1000, UTC) if isinstance(at, int) else None
