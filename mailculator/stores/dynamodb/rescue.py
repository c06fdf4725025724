"""Putting back what dead holders left."""

from __future__ import annotations

from mailculator.lifecycle import STAGE_BY_WORKING, STAGES, WORKING, clean
from mailculator.stores.base import Rescue
from mailculator.stores.dynamodb import layout, peer, repairs
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.index import entries
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import Poisoned, Record, parse
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.sightings import Claim, Sightings, claim_of
from mailculator.stores.dynamodb.table import Refused

OP = "rescue"
LOOK_EVERY = 10.0
"""Seconds between two looks at all that is held; a poll that saw all of a key's entries is one."""
FOREIGN_LOOKS = 60
"""How often, within the time that another program may hold a record, it is looked whether that has gone on."""
LEAST_POSTPONED = 60.0
_WORKING = frozenset(str(status) for status in WORKING)


class Rescuer:
    """Watches what is held, and gives back what stood unchanged for too long."""

    def __init__(self, session: Session, *, control: Control, reconciler: Reconciler, sightings: Sightings) -> None:
        self._session = session
        self._control = control
        self._reconciler = reconciler
        self._sightings = sightings

    async def observe(self, *, within: float = 0.0) -> None:
        """See every record that is held.

        Arguments:
            within: a key that was looked through so many seconds ago is not looked through again.

        Errors: StoreError.
        """
        keys = [key for stage in STAGES for key in layout.stage_keys(stage)]
        sound(await each([key for key in keys if not self._sightings.looked_within(key, within)], self._see))

    async def _see(self, key: str) -> None:
        held = [one for one in await entries(self._session, OP, key) if one.get(layout.STATE) in _WORKING]
        for entry in held:
            self._sightings.see(entry)
        self._sightings.looked_through(key, {entry[layout.ID] for entry in held})

    async def rescue(self, limit: int, foreign_hold: float) -> list[Rescue]:
        """See Store."""
        await self.observe(within=LOOK_EVERY)
        for email_id in self._reconciler.out_of_step():
            await self._bring_in(email_id)
        expired = self._sightings.expired(foreign_hold / FOREIGN_LOOKS)
        rescued: list[Rescue] = []
        while expired and len(rescued) < limit:
            part, expired = expired[: limit - len(rescued)], expired[limit - len(rescued) :]
            answers = await each(part, lambda one: self._rescue(one[0], one[1], foreign_hold))
            rescued += [one for one in sound(answers) if one is not None]
        return rescued

    async def _bring_in(self, email_id: str) -> None:
        item = await self._session.table.get(OP, layout.meta_key(email_id))
        try:
            if item is not None and not (record := parse(item)).in_step:
                await self._reconciler.bring_in(record)
        except Poisoned as error:
            await self._control.poisoned(error)

    async def _rescue(self, email_id: str, claim: Claim, foreign_hold: float) -> Rescue | None:
        item = await self._session.table.get(OP, layout.meta_key(email_id))
        if item is None:
            self._sightings.forget(email_id)
            return None
        try:
            return await self._judge(parse(item), claim, foreign_hold)
        except Poisoned as error:
            self._sightings.look_later(email_id)
            await self._control.poisoned(error)
            return None

    async def _judge(self, record: Record, claim: Claim, foreign_hold: float) -> Rescue | None:
        self._sightings.look_later(record.id)
        if not record.in_step:
            await self._reconciler.bring_in(record)
            return None
        if record.status not in WORKING:
            self._sightings.forget(record.id)
            return None
        if claim_of(record.item) != claim:
            # The index was behind: it has been renewed, or taken anew.
            self._sightings.see(record.item)
            return None
        age = self._session.now() - record.updated_at.timestamp()
        if not record.ours and age <= foreign_hold:
            return None
        return await self._put_back(record, foreign_hold)

    async def _put_back(self, record: Record, foreign_hold: float) -> Rescue | None:
        at = self._session.now()
        try:
            if record.oddity is not None:
                hold = max(foreign_hold, LEAST_POSTPONED)
                await self._session.table.update(OP, repairs.postpone(record, at=at, hold=hold, why=record.oddity))
                return None
            holder = record.item.get(layout.LEASE_BY) if record.ours else None
            note = f"rescued: the lease of {holder} expired" if holder else "rescued: no sign of its holder"
            update = repairs.step_back(record, at=at, note=clean(note))
            if self._session.peer or not record.ours:
                await self._session.table.transact(OP, update, peer.locks(record), before=record.item)
            else:
                await self._session.table.update(OP, update)
        except Refused:
            return None  # it has changed: somebody lives
        self._sightings.forget(record.id)
        return Rescue(record.id, record.status, STAGE_BY_WORKING[record.status].waiting, holder)
