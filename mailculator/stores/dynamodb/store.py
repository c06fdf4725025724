"""The queue in DynamoDB: one table, beside the older producer and, if need be, an older consumer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from mailculator.errors import ConfigError, Problem, StoreError
from mailculator.events import Observer, ignore
from mailculator.lifecycle import INTAKE, Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores.base import (
    Capabilities,
    Enqueued,
    Minute,
    Overdue,
    Ping,
    Recorded,
    Renewal,
    Spent,
    Steered,
    Survey,
)
from mailculator.stores.control import Control as QueueControl
from mailculator.stores.dynamodb import layout, marks, minutes, peer, reads, sweep, writes
from mailculator.stores.dynamodb.claims import Claimer, Reserves
from mailculator.stores.dynamodb.client import WRITES_PER_SECOND, Endpoint, connect
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.errors import NAME
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.inbox import Inbox
from mailculator.stores.dynamodb.index import WorkIndex
from mailculator.stores.dynamodb.operators import Operators
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.recording import Recording
from mailculator.stores.dynamodb.rescue import Rescuer
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.sightings import Sightings
from mailculator.stores.dynamodb.steering import Steering
from mailculator.stores.dynamodb.sweep import Adoption, Sweeper
from mailculator.stores.dynamodb.table import Put, Refused, Table
from mailculator.stores.dynamodb.units import Meter
from mailculator.stores.sought import Sought
from mailculator.timing import Timing

LONGEST_CALL = 10.0
"""Seconds for one call with all its tries; less where a lease is short."""
DESCRIBED_FOR = 60.0
"""Seconds for which what the table is described as is believed."""
COUNT_EVERY = 30.0


async def open_queue(
    endpoint: Endpoint,
    *,
    service: bool,
    observer: Observer = ignore,
    guard: Reserves | None = None,
    timing: Timing | None = None,
    peer_consumer: bool = False,
    keep_accepted: bool = False,
    sweep_every: float = 21_600.0,
    write_rate: float = WRITES_PER_SECOND,
    monotonic: Callable[[], float] = time.monotonic,
    rng: random.Random | None = None,
) -> DynamodbStore:
    """Open the queue in a table that is there.

    Arguments:
        service: as the service does it, which works on the queue: peer mode is refused where it would do harm.
        guard: asked before anything is claimed for sending.
        monotonic: seconds, for the leases of others.

    Errors: StoreError; ConfigError.
    """
    durations = timing or Timing()
    rng = rng or random.Random()
    timeout = min(LONGEST_CALL, durations.lease / 4)
    client = await connect(
        endpoint,
        timeout=timeout,
        observer=observer,
        rng=rng,
        monotonic=time.monotonic,
        writes_per_second=write_rate,
    )
    session = Session(Table(client, endpoint.table, Meter()), observer, monotonic, peer_consumer, keep_accepted)
    scale = durations.rescue_every / Timing().rescue_every
    store = DynamodbStore(session, place=endpoint.place, guard=guard, sweep_every=sweep_every, rng=rng, scale=scale)
    try:
        if service and peer_consumer:
            await _refuse_obstacle(session)
    except BaseException:
        await store.close()
        raise
    return store


async def _refuse_obstacle(session: Session) -> None:
    obstacle = await peer.obstacle(session)
    if obstacle is not None:
        raise ConfigError([Problem("MAILCULATOR_DYNAMODB_PEER_CONSUMER", obstacle)])


class DynamodbStore:
    """A Store in a DynamoDB table. Any number of processes may share it.

    Arguments:
        session: its table is closed with the store.
        place: where the table is, for people.
        sweep_every: seconds between two full sweeps, over all replicas.
        rng: spreads what several replicas would do alike.
        scale: multiplies the delays that are no setting; for tests.
    """

    name = NAME
    capabilities = Capabilities(
        many_processes=True, count_every=COUNT_EVERY, renews_together=False, looks_are_paid=True
    )

    def __init__(
        self,
        session: Session,
        *,
        place: str,
        guard: Reserves | None,
        sweep_every: float,
        rng: random.Random,
        scale: float = 1.0,
    ) -> None:
        self._session = session
        session.table.recognised = partial(session.notice, "own_write_recognised")
        self._place = place
        self.control: QueueControl = Operators(session)
        self._control = control = Control(session)
        self._reconciler = reconciler = Reconciler(session, control)
        sightings = Sightings(session.monotonic)
        index = WorkIndex(session, sightings, rng)
        self._inbox = inbox = Inbox(session, control, reconciler, index)
        self._claimer = Claimer(session, control=control, reconciler=reconciler, index=index, inbox=inbox, guard=guard)
        self._recording = Recording(session, control=control, reconciler=reconciler, index=index, sightings=sightings)
        self._rescuer = Rescuer(
            session, control=control, reconciler=reconciler, recording=self._recording, sightings=sightings
        )
        self._steering = Steering(session, reconciler)
        self._sweeper = Sweeper(
            session, control=control, reconciler=reconciler, index=index, inbox=inbox, every=sweep_every, scale=scale
        )
        self._sweeping: asyncio.Task[bool] | None = None
        self._passing: asyncio.Task[None] | None = None
        self._described = float("-inf")

    async def enqueue(self, emails: Sequence[NewEmail]) -> list[Enqueued]:
        """See Store."""
        first = {email.id: email for email in reversed(emails)}
        made = dict(zip(first, sound(await each(list(first.values()), self._enqueue)), strict=True))
        answers: list[Enqueued] = []
        for email in emails:
            answers.append(made[email.id])
            made[email.id] = Enqueued.EXISTS
        return answers

    async def _enqueue(self, email: NewEmail) -> Enqueued:
        item = {**writes.new_email(email, at=self._session.now()), layout.TOKEN: layout.new_token()}
        try:
            await self._session.table.put("enqueue", Put(item, Where("attribute_not_exists({Id})")))
        except Refused as refused:
            # A reply may have been lost, and the put tried again.
            ours = refused.item is not None and refused.item.get(layout.TOKEN) == item[layout.TOKEN]
            return Enqueued.CREATED if ours else Enqueued.EXISTS
        return Enqueued.CREATED

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """See Store."""
        taken = await self._claimer.claim(stage, limit, lease=lease, holder=holder)
        if stage is INTAKE and not taken and self._inbox.past and (self._passing is None or self._passing.done()):
            # Now, and not when the next upkeep comes: with a past before it, new mail is found no other way.
            self._passing = asyncio.create_task(self._look_for_new(), name=f"{NAME}/fresh")
        return taken

    async def _look_for_new(self) -> None:
        try:
            await self._sweeper.fresh()
        except StoreError as error:
            self._session.notice("sweep_failed", detail=str(error))

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """See Store."""
        return await self._recording.record(moves)

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        """See Store."""
        return await self._recording.renew(emails, lease=lease)

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        """See Store."""
        return await self._rescuer.overdue(limit, foreign_hold)

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        """See Store."""
        return await self._rescuer.rescue(moves, foreign_hold)

    async def observe(self, keys: Collection[str] | None = None) -> None:
        """See what is held, as every look for what is overdue does first. `keys`: see Rescuer. Errors: StoreError."""
        await self._rescuer.observe(keys)

    async def get(self, email_id: str) -> Row | None:
        """See Store."""
        record = await reads.find(self._session, reads.GET, email_id)
        return None if record is None else record.row()

    async def history(self, email_id: str) -> list[HistoryEntry]:
        """See Store."""
        return await reads.history(self._session, email_id)

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        """See Store. As of a moment ago; terminal statuses by a pass over the table."""
        return await reads.counts(self._session, terminal=terminal, inbox=await self._inbox.is_feed())

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
        """See Store. Of a domain or of unknown outcome, without a status, only active emails."""
        sought = Sought(status, parked, unknown, domain, after)
        inbox = reads.may_be_new(sought) and await self._inbox.is_feed()
        return await reads.page(self._session, sought, limit, inbox=inbox)

    async def standing(self, ids: Sequence[str]) -> Mapping[str, Status]:
        """Where these emails stand; ids that are not here are left out. Errors: StoreError."""
        return await reads.standing(self._session, ids)

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """See Store."""
        return await self._steering.requeue(ids, who=who, why=why, ttl_extension=ttl_extension)

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steering.mark(marks.RELEASE, ids, who=who, why=why)

    async def park(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steering.mark(marks.PARK, ids, who=who, why=why)

    async def hasten(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steering.mark(marks.HASTEN, ids, who=who, why=why)

    async def cancel(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steering.mark(marks.CANCEL, ids, who=who, why=why)

    async def purge(self, limit: int) -> int:
        """Nothing to do: DynamoDB deletes what is terminal and past its ttl, in its own time (days, at the most)."""
        return 0

    async def remember(self, minute: Minute) -> None:
        """See Store."""
        await minutes.remember(self._session, minute)

    async def minutes(self, since: datetime) -> list[Minute]:
        """See Store."""
        return await minutes.minutes(self._session, since)

    async def survey(self) -> Survey:
        """See Store."""
        return await sweep.survey(self._session, self._control)

    def spent(self) -> Sequence[Spent]:
        """See Store."""
        return self._session.table.meter.spent()

    async def upkeep(self, replica: str) -> None:
        """New emails that the inbox does not show, and from time to time a sweep, beside everything else."""
        await self._sweeper.fresh()
        if self._sweeping is None or self._sweeping.done():
            if self._sweeping is not None:
                self._sweeping.result()
            self._sweeping = asyncio.create_task(self._sweep(replica), name=f"{NAME}/sweep")

    async def _sweep(self, replica: str) -> bool:
        try:
            return await self._sweeper.sweep_if_due(replica)
        except StoreError as error:
            self._session.notice("sweep_failed", detail=str(error))
            return False

    async def sweep(self) -> Survey:
        """A full sweep, now. Errors: StoreError."""
        return await self._sweeper.sweep()

    async def adopt(self, *, rate: float, progress: Callable[[Adoption], None]) -> Adoption:
        """Go through the past of a table; see Sweeper. Errors: StoreError."""
        return await self._sweeper.adopt(rate=rate, progress=progress)

    async def resume(self, who: str, why: str) -> bool:
        """End a stop of all claims; False when there was none. Errors: StoreError."""
        return await self._control.resume(who, why)

    async def ping(self) -> Ping:
        """See Store."""
        table = self._session.table
        started = self._session.monotonic()
        if started - self._described >= DESCRIBED_FOR:
            await table.client.call("describe_table", "ping", TableName=table.name)
            self._described = started
        # The key of no record: what counts is that the table answers.
        await table.get("ping", {layout.ID: layout.OWN_ID, layout.STATUS: "ping"}, consistent=False)
        seconds = self._session.monotonic() - started
        off = table.client.clock.off
        return Ping(f"DynamoDB ({self._place})", tested=True, writable=True, seconds=seconds, clock_off=off)

    async def close(self) -> None:
        """See Store."""
        passes = [task for task in (self._sweeping, self._passing) if task is not None]
        for task in passes:
            task.cancel()
        if passes:
            await asyncio.wait(passes)
        await self._session.table.close()
