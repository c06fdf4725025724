"""What an operator does to single emails: requeue them, and set marks that are no moves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from mailculator.lifecycle import REQUEUES, clean
from mailculator.stores.base import Steered
from mailculator.stores.dynamodb import marks, notes, peer, reads, repairs
from mailculator.stores.dynamodb.draft import milliseconds
from mailculator.stores.dynamodb.expression import Update
from mailculator.stores.dynamodb.marks import Mark
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import Record
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.table import Refused

OP = "steer"
TRIES = 5
"""Of a write that others keep coming before."""

Write = Callable[[Record], Awaitable[bool]]


class Steering:
    """An operator's hand."""

    def __init__(self, session: Session, reconciler: Reconciler) -> None:
        self._session = session
        self._reconciler = reconciler

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """See Store."""
        note = clean(f"requeued by {who}: {why}")

        async def write(record: Record) -> bool:
            if record.status not in REQUEUES or record.oddity is not None:
                return False
            at = self._session.now()
            await self._write(record, repairs.requeue(record, at=at, note=note, ttl_extension=ttl_extension))
            left = None if record.expires is None else max(record.expires - at, ttl_extension)
            name = notes.of_move(record.version + 1)
            await notes.keep(self._session, record.id, name, note, expires_in=left)
            return True

        return await self._steer(ids, write)

    async def mark(self, mark: Mark, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Set it on each that it concerns."""

        async def write(record: Record) -> bool:
            at = self._session.now()
            update = mark.upon(record, at=at, who=who, why=why)
            if update is None:
                return False
            try:
                await self._session.table.update(OP, update)
            except Refused as refused:
                if not marks.is_written(update, refused.item):
                    raise
                self._session.notice("own_write_recognised", record.id)
            left = None if record.expires is None else record.expires - at
            name = notes.of_mark(milliseconds(at))
            await notes.keep(self._session, record.id, name, mark.note(who, why), expires_in=left)
            return True

        return await self._steer(ids, write)

    async def _write(self, record: Record, update: Update) -> None:
        if self._session.peer:
            await self._session.table.transact(OP, update, peer.all_locks(record.id), before=record.item)
        else:
            await self._session.table.update(OP, update)

    async def _steer(self, ids: Sequence[str], write: Write) -> list[Steered]:
        """One answer per id; of one that is named twice, the first is the one that did it."""
        first = {email_id.casefold(): email_id for email_id in reversed(ids)}
        done = dict(zip(first, sound(await each(list(first.values()), lambda one: self._one(one, write))), strict=True))
        answers: list[Steered] = []
        for email_id in ids:
            answer = done[email_id.casefold()]
            answers.append(answer)
            if answer is Steered.DONE:
                done[email_id.casefold()] = Steered.NOT_APPLICABLE
        return answers

    async def _one(self, email_id: str, write: Write) -> Steered:
        for _ in range(TRIES):
            record = await reads.find(self._session, OP, email_id)
            if record is None:
                return Steered.MISSING
            if not record.in_step:
                # Another program's write comes first: what the operator sees must be what is moved.
                found = await self._reconciler.bring_in(record)
                if found is None:
                    continue
                record = found
            try:
                return Steered.DONE if await write(record) else Steered.NOT_APPLICABLE
            except Refused:
                continue
        return Steered.NOT_APPLICABLE
