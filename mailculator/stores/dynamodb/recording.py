"""Writing results down, and holding on to what is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from mailculator.errors import StoreError, StoreRejected
from mailculator.lifecycle import Move
from mailculator.model import Email
from mailculator.stores.base import Recorded, Renewal
from mailculator.stores.dynamodb import history, layout, notes, peer, writes
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.index import Candidate, WorkIndex
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import Poisoned, Record, parse
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.sightings import Sightings
from mailculator.stores.dynamodb.table import Refused

OP = "record"
RENEW = "renew"


class Recording:
    """What a claim's holder writes."""

    def __init__(
        self, session: Session, *, control: Control, reconciler: Reconciler, index: WorkIndex, sightings: Sightings
    ) -> None:
        self._session = session
        self._control = control
        self._reconciler = reconciler
        self._index = index
        self._sightings = sightings

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """See Store."""
        return await in_turn(moves, self._record)

    async def _record(self, move: Move) -> Recorded:
        try:
            return await self._write(move)
        except Poisoned as error:
            await self._control.poisoned(error)
        except StoreRejected as rejected:
            # Whoever asked would ask for ever, and everything behind it would wait.
            await self._control.blame(move.email.id, rejected)
        return Recorded.LOST

    async def _write(self, move: Move) -> Recorded:
        at = self._session.now()
        try:
            if self._session.peer and not move.forward:
                after = await self._give_back(move, at)
            else:
                _, after = await self._session.table.update(OP, writes.record(move, at=at))
        except Refused as refused:
            return await self._refused(move, refused.item, at)
        await self.written(move, after)
        return Recorded.DONE

    async def _refused(self, move: Move, item: Item | None, at: float) -> Recorded:
        # Whoever has it now, it is not by this claim.
        self._sightings.forget(move.email.id, move.email.claim_token)
        if item is None:
            return Recorded.LOST
        record = parse(item)
        if _is_written(move, record):
            self._session.notice("own_write_recognised", record.id)
            await self.written(move, item)
            return Recorded.DONE
        if not record.in_step:
            self._reconciler.meet(record.id)
            return Recorded.LOST
        if not _stands(move.email, record) or record.oddity is not None:
            return Recorded.LOST
        # Only the history is full: with the record known, its oldest line can be folded away.
        try:
            if self._session.peer and not move.forward:
                after = await self._transact(move, record, at)
            else:
                _, after = await self._session.table.update(OP, writes.record(move, at=at, image=record))
        except Refused as refused:
            known = parse(refused.item) if refused.item else None
            return Recorded.DONE if known is not None and _is_written(move, known) else Recorded.LOST
        await self.written(move, after)
        return Recorded.DONE

    async def _give_back(self, move: Move, at: float) -> Item:
        item = await self._session.table.get(OP, layout.meta_key(move.email.id))
        record = parse(item) if item is not None else None
        if record is None or not _stands(move.email, record):
            raise Refused(item)
        return await self._transact(move, record, at)

    async def _transact(self, move: Move, record: Record, at: float) -> Item:
        update = writes.record(move, at=at, image=record)
        await self._session.table.transact(OP, update, peer.locks(record), before=record.item)
        return update.change.apply(record.item)

    async def written(self, move: Move, after: Item) -> None:
        """What follows from a result that is on record; `after` is the record with it."""
        version = move.email.version + 1
        self._index.wrote(move.email.id, version)
        self._sightings.forget(move.email.id, move.email.claim_token)
        stage = layout.stage_of(move.to)
        if move.forward and stage is not None and after.get(layout.VERSION) == version:
            self._index.hand_on(stage, Candidate(move.email.id, version, after[layout.DUE_AT]))
        name = notes.of_move(version)
        await notes.keep(self._session, move.email.id, name, move.note, expires_in=move.email.expires_in)

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        """See Store. Errors: StoreError, when none could be renewed."""
        answers = await each(emails, lambda email: self._renew(email, lease))
        if answers and all(isinstance(answer, StoreError) for answer in answers):
            sound(answers)
        pairs = list(zip(emails, answers, strict=True))
        return Renewal(
            held=frozenset(email.id for email, answer in pairs if answer is True),
            lost=frozenset(email.id for email, answer in pairs if answer is False),
        )

    async def _renew(self, email: Email, lease: float) -> bool:
        try:
            await self._session.table.update(RENEW, writes.renew(email, lease=lease, at=self._session.now()))
        except Refused as refused:
            record = await self._control.parsed(refused.item)
            if record is not None and not record.in_step:
                self._reconciler.meet(record.id)
            return False
        except StoreRejected as rejected:
            await self._control.blame(email.id, rejected)
            return False
        return True


def _stands(email: Email, record: Record) -> bool:
    return (record.status, record.version, record.token) == (email.status, email.version, email.claim_token)


def _is_written(move: Move, record: Record) -> bool:
    """An earlier write of this very move was applied, and its reply lost: the history tells.

    A rescue may have taken the record to the same place; its note, and until the next claim the token, tell it apart.
    """
    after = move.email.version + 1
    if not is_told(move, record):
        return False
    return record.version > after or (record.version == after and record.token == move.email.claim_token)


def is_told(move: Move, record: Record) -> bool:
    """Whether the history has this move, or one that looks the same."""
    after = move.email.version + 1
    sought = history.entry(history.line(after, move.to, 0.0, move.note))
    assert sought is not None  # noqa: S101  # a line of ours can be read
    there = [line for line in record.lines if line.version == after]
    return any((line.status, line.reason) == (sought.status, sought.reason) for line in there)


async def in_turn(moves: Sequence[Move], write: Callable[[Move], Awaitable[Recorded]]) -> list[Recorded]:
    """Write many at once, those of one email one after the other. Errors: the first StoreError."""
    groups: dict[str, list[int]] = {}
    for position, move in enumerate(moves):
        groups.setdefault(move.email.id, []).append(position)
    answers = [Recorded.LOST] * len(moves)

    async def one(positions: list[int]) -> None:
        for position in positions:
            answers[position] = await write(moves[position])

    # All are tried before an error is told: what was written is recognised when it is asked for again.
    sound(await each(list(groups.values()), one))
    return answers
