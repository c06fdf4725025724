"""Finding what dead holders left, and writing down what became of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from mailculator.errors import StoreRejected
from mailculator.lifecycle import STAGES, WORKING, Move
from mailculator.stores.base import Overdue, Recorded
from mailculator.stores.dynamodb import layout, peer, repairs, writes
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.index import entries
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import Poisoned, Record, parse
from mailculator.stores.dynamodb.recording import Recording, in_turn, is_told
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.sightings import Claim, Sightings, claim_of
from mailculator.stores.dynamodb.table import Refused
from mailculator.stores.rescue_name import RescueNames

OP = "rescue"
LOOK_EVERY = 10.0
"""Seconds between two looks at all that is held; a poll that saw all of a key's entries is one."""
FOREIGN_LOOKS = 60
"""How often, within the time that another program may hold a record, it is looked whether that has gone on."""
LEAST_POSTPONED = 60.0
_WORKING = frozenset(str(status) for status in WORKING)


class Rescuer:
    """Watches what is held, and moves on what stood unchanged for too long."""

    def __init__(
        self,
        session: Session,
        *,
        control: Control,
        reconciler: Reconciler,
        recording: Recording,
        sightings: Sightings,
    ) -> None:
        self._session = session
        self._control = control
        self._reconciler = reconciler
        self._recording = recording
        self._sightings = sightings
        self._names = RescueNames()

    async def observe(self, keys: Collection[str] | None = None, *, within: float = 0.0) -> None:
        """See every record that is held.

        Arguments:
            keys: of the work index, if not all of them.
            within: a key that was looked through so many seconds ago is not looked through again.

        Errors: StoreError.
        """
        keys = [key for stage in STAGES for key in layout.stage_keys(stage)] if keys is None else keys
        sound(await each([key for key in keys if not self._sightings.looked_within(key, within)], self._see))

    async def _see(self, key: str) -> None:
        held = [one for one in await entries(self._session, OP, key) if one.get(layout.STATE) in _WORKING]
        for entry in held:
            self._sightings.see(entry)
        self._sightings.looked_through(key, {entry[layout.ID] for entry in held})

    async def overdue(self, limit: int, foreign_hold: float) -> list[Overdue]:
        """See Store."""
        await self.observe(within=LOOK_EVERY)
        for email_id in self._reconciler.out_of_step():
            await self._bring_in(email_id)
        expired = self._sightings.expired(foreign_hold / FOREIGN_LOOKS)
        found: list[Overdue] = []
        while expired and len(found) < limit:
            part, expired = expired[: limit - len(found)], expired[limit - len(found) :]
            answers = await each(part, lambda one: self._look(one[0], one[1], foreign_hold))
            found += [one for one in sound(answers) if one is not None]
        return found

    async def _bring_in(self, email_id: str) -> None:
        item = await self._session.table.get(OP, layout.meta_key(email_id))
        try:
            if item is not None and not (record := parse(item)).in_step:
                await self._reconciler.bring_in(record)
        except Poisoned as error:
            await self._control.poisoned(error)

    async def _look(self, email_id: str, claim: Claim, foreign_hold: float) -> Overdue | None:
        item = await self._session.table.get(OP, layout.meta_key(email_id))
        if item is None:
            self._sightings.forget(email_id)
            return None
        try:
            record = parse(item)
            if not await self._is_overdue(record, claim, foreign_hold):
                return None
        except Poisoned as error:
            await self._leave(error)
            return None
        if record.oddity is not None:
            await self._postpone(record, record.oddity, foreign_hold)
            return None
        return self._overdue(record)

    async def _is_overdue(self, record: Record, claim: Claim, foreign_hold: float) -> bool:
        """Whether a record stands as it was seen for the length of its lease. Errors: StoreError; Poisoned."""
        if not record.in_step:
            self._sightings.look_later(record.id)
            await self._reconciler.bring_in(record)
            return False
        if record.status not in WORKING:
            self._sightings.forget(record.id)
            return False
        if claim_of(record.item) != claim:
            # The index was behind: it has been renewed, or taken anew.
            self._sightings.see(record.item)
            return False
        age = self._session.now() - record.updated_at.timestamp()
        if not record.ours and age <= foreign_hold:
            self._sightings.look_later(record.id)
            return False
        return True

    def _overdue(self, record: Record) -> Overdue:
        email = record.email(self._session.now(), duplicate_in=None)
        if not record.ours:
            # Another program brought it there: the tries in it are an earlier stage's.
            email = replace(email, attempts=0, failing_for=0.0, last_error=None, crashes=0)
        claimed = [line.created_at for line in record.lines if line.version == record.version]
        holder = record.item.get(layout.LEASE_BY) if record.ours else None
        return Overdue(email, holder, claimed[0] if claimed else record.created_at)

    async def _leave(self, error: Poisoned) -> None:
        self._sightings.look_later(error.email_id)
        await self._control.poisoned(error)

    async def _postpone(self, record: Record, why: str, foreign_hold: float) -> None:
        self._sightings.look_later(record.id)
        hold = max(foreign_hold, LEAST_POSTPONED)
        with contextlib.suppress(Refused):  # it has changed: somebody lives
            await self._session.table.update(OP, repairs.postpone(record, at=self._session.now(), hold=hold, why=why))

    async def rescue(self, moves: Sequence[Move], foreign_hold: float) -> list[Recorded]:
        """See Store."""
        return await in_turn(moves, lambda move: self._rescue(move, foreign_hold))

    async def _rescue(self, move: Move, foreign_hold: float) -> Recorded:
        email_id = move.email.id
        item = await self._session.table.get(OP, layout.meta_key(email_id))
        try:
            if item is not None:
                return await self._write(move, parse(item), foreign_hold)
            self._sightings.forget(email_id)
        except Poisoned as error:
            await self._leave(error)
        except StoreRejected as rejected:
            # It must not be the first in every round.
            self._sightings.look_later(email_id)
            await self._control.blame(email_id, rejected)
        return Recorded.LOST

    async def _write(self, move: Move, record: Record, foreign_hold: float) -> Recorded:
        email, name = move.email, self._names.of(move.email)
        if (record.version, record.token) == (email.version + 1, name) and is_told(move, record):
            # An earlier call wrote it, and its reply was lost.
            await self._recording.written(move, record.item)
            return Recorded.DONE
        claim = self._sightings.still_expired(email.id, foreign_hold / FOREIGN_LOOKS)
        stands = (record.status, record.version, record.token or "") == (email.status, email.version, email.claim_token)
        if claim is None or not stands or not await self._is_overdue(record, claim, foreign_hold):
            return Recorded.LOST
        if record.oddity is not None:
            return Recorded.LOST  # the next look puts it off
        update = writes.rescue(move, record, at=self._session.now(), name=name)
        try:
            if not move.forward and (self._session.peer or not record.ours):
                await self._session.table.transact(OP, update, peer.locks(record), before=record.item)
                after = update.change.apply(record.item)
            else:
                _, after = await self._session.table.update(OP, update)
        except Refused:
            return Recorded.LOST  # it has changed: somebody lives
        await self._recording.written(move, after)
        return Recorded.DONE
