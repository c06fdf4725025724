"""Claiming: what is due is tried under its condition, and whoever is refused learns from the answer why."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mailculator.errors import StoreError, StoreRejected, StoreUnavailable
from mailculator.lifecycle import INTAKE, SENDER, Stage
from mailculator.model import Email
from mailculator.stores.dynamodb import layout, peer, repairs, writes
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.errors import Conflict
from mailculator.stores.dynamodb.inbox import Inbox
from mailculator.stores.dynamodb.index import Candidate, WorkIndex
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import HIGHEST, Poisoned, Record, parse
from mailculator.stores.dynamodb.session import Session, each
from mailculator.stores.dynamodb.table import Refused
from mailculator.stores.dynamodb.writes import Hold

OP = "claim"
RESERVED_FOR = 30 * 86_400.0
"""Seconds for which a reservation certainly stands, whatever its email's ttl."""
SORT_EVERY = 5.0
"""Seconds between two looks at what an older consumer has prepared."""


class Reserves(Protocol):
    """Who keeps the reservations of ids that may stand in two stores; see stores.guard."""

    async def reserve(self, emails: Sequence[tuple[str, int | None]]) -> Mapping[str, str | None]:
        """Per id: None = ours to send, else the store that has it. Errors: StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class _Unanswered:
    email_id: str
    token: str


class Claimer:
    """Takes what is due.

    Arguments:
        guard: asked before anything is claimed for sending; None = nobody is.
    """

    def __init__(
        self,
        session: Session,
        *,
        control: Control,
        reconciler: Reconciler,
        index: WorkIndex,
        inbox: Inbox,
        guard: Reserves | None,
    ) -> None:
        self._session = session
        self._control = control
        self._reconciler = reconciler
        self._index = index
        self._inbox = inbox
        self._guard = guard
        self._sorted = float("-inf")
        # Per stage, claims that got no answer and may stand: ours for a lease, and nobody else looks after them.
        self._unanswered: dict[str, list[_Unanswered]] = {}

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """See Store."""
        if limit <= 0 or await self._control.stopped():
            return []
        if self._session.peer and stage is INTAKE:
            await self._sort_in(limit)
            return []
        hold = Hold(layout.new_token(), lease, holder, self._session.now())
        taken = await self._recover(stage, limit, hold)
        try:
            await self._take_due(stage, limit, hold, taken)
        except StoreError:
            if not taken:
                raise
            return taken  # they are ours, and must be handed out
        if stage is INTAKE and len(taken) < limit and await self._inbox.is_feed():
            await self._take_new(stage, limit - len(taken), hold, taken)
        return taken

    async def _sort_in(self, limit: int) -> None:
        """Beside an older consumer, whose intake is: take up what it has brought further."""
        now = self._session.monotonic()
        if now - self._sorted < SORT_EVERY:
            return
        self._sorted = now
        if await self._inbox.is_feed():
            await self._inbox.sort_in(limit)
        waiting = await self._index.due(INTAKE, limit)
        for item in await self._session.table.get_many(OP, [layout.meta_key(one.id) for one in waiting]):
            record = await self._control.parsed(item)
            if record is not None and not record.in_step:
                self._index.met(await self._reconciler.bring_in(record))

    async def _take_due(self, stage: Stage, limit: int, hold: Hold, taken: list[Email]) -> None:
        tried: set[str] = set()
        while len(taken) < limit:
            found = await self._index.due(stage, limit - len(taken))
            candidates = [one for one in found if one.id not in tried and not self._control.skips(one.id)]
            if not candidates:
                return
            tried.update(one.id for one in candidates)
            answers = await self._take_all(stage, candidates, hold)
            got = [answer for answer in answers if isinstance(answer, Email)]
            taken += got
            failures = [answer for answer in answers if isinstance(answer, StoreError)]
            if failures and not taken:
                raise failures[0]
            # Every look is paid for, and there is no reason for one where all that there was to be had is ours.
            if failures or (len(got) == len(candidates) and self._index.saw_all(stage)):
                return

    async def _take_all(self, stage: Stage, candidates: list[Candidate], hold: Hold) -> list[Email | StoreError | None]:
        verdicts = await self._reserve(stage, candidates)
        answers = await each(candidates, lambda one: self._take(stage, one, hold.anew(), verdicts.get(one.id)))
        if verdicts:
            await self._prolong([answer for answer in answers if isinstance(answer, Email)], hold.at)
        return answers

    async def _prolong(self, emails: list[Email], at: float) -> None:
        """A reservation must outlive its email; only the claim has told how long that may stay."""
        lasting = [
            (one.id, int(at + one.expires_in))
            for one in emails
            if one.expires_in is not None and one.expires_in > RESERVED_FOR and one.duplicate_in is None
        ]
        if lasting and self._guard is not None:
            with contextlib.suppress(StoreError):  # they are claimed, and must be handed out
                await self._guard.reserve(lasting)

    async def _take_new(self, stage: Stage, limit: int, hold: Hold, taken: list[Email]) -> None:
        try:
            taken += await self._inbox.take(limit, hold, partial(self._remember, stage))
        except StoreError:
            if not taken:
                raise

    async def _reserve(self, stage: Stage, candidates: list[Candidate]) -> Mapping[str, str | None]:
        if self._guard is None or stage is not SENDER:
            return {}
        return await self._guard.reserve([(one.id, None) for one in candidates])

    async def _take(self, stage: Stage, candidate: Candidate, hold: Hold, duplicate_in: str | None) -> Email | None:
        try:
            if self._session.peer or not 1 <= candidate.version < HIGHEST - 1:
                item = await self._session.table.get(OP, layout.meta_key(candidate.id))
                return await self._judge(stage, candidate, item, hold, duplicate_in)
            try:
                _, after = await self._session.table.update(
                    OP, writes.claim(stage, candidate.id, candidate.version, hold)
                )
            except Refused as refused:
                return await self._judge(stage, candidate, refused.item, hold, duplicate_in)
            return self._got(after, hold, duplicate_in)
        except Poisoned as error:
            await self._control.poisoned(error)
            return None
        except StoreRejected as rejected:
            await self._control.blame(candidate.id, rejected)
            return None
        except Conflict:
            # Somebody else is claiming it at this very moment.
            self._session.notice("race_lost", candidate.id)
            return None
        except StoreUnavailable:
            self._remember(stage, candidate.id, hold.token)
            raise

    async def _judge(
        self, stage: Stage, candidate: Candidate, item: Item | None, hold: Hold, duplicate_in: str | None
    ) -> Email | None:
        """Of a record that was read: claim it all the same, put it right, or leave it to whom it belongs."""
        if item is None:
            return None
        record = parse(item)
        if not record.in_step:
            self._index.met(await self._reconciler.bring_in(record))
            return None
        self._index.wrote(record.id, record.version)
        if record.status is not stage.waiting or record.parked:
            self._session.notice("race_lost", record.id)
            return None
        if record.oddity is not None:
            await self._set_aside(record, record.oddity)
            return None
        if record.item.get(layout.DUE_AT, 0) > self._session.latest() * 1000:
            return None
        return await self._claim_as_read(stage, record, hold, duplicate_in)

    async def _claim_as_read(self, stage: Stage, record: Record, hold: Hold, duplicate_in: str | None) -> Email | None:
        update = writes.claim(stage, record.id, record.version, hold, image=record)
        try:
            if self._session.peer:
                after = await peer.claim(self._session, update, record, stage)
            else:
                _, after = await self._session.table.update(OP, update)
        except Refused:
            self._session.notice("race_lost", record.id)
            return None
        return self._got(after, hold, duplicate_in)

    def _got(self, after: Item, hold: Hold, duplicate_in: str | None) -> Email:
        record = parse(after)
        self._index.holds(record.id, record.version)
        return record.email(hold.at, duplicate_in=duplicate_in)

    async def _set_aside(self, record: Record, why: str) -> None:
        try:
            await self._session.table.update(OP, repairs.set_aside(record, why=why))
        except Refused:
            return  # it has changed, and is met again
        await self._control.poisoned(Poisoned(record.id, why))

    def _remember(self, stage: Stage, email_id: str, token: str) -> None:
        self._unanswered.setdefault(stage.name, []).append(_Unanswered(email_id, token))

    async def _recover(self, stage: Stage, limit: int, hold: Hold) -> list[Email]:
        """Up to `limit` emails whose claims got no answer and stand all the same, their leases begun anew.

        The table may be away by now: then it is asked when the next claim comes.
        """
        waiting = self._unanswered.get(stage.name, [])
        taken: list[Email] = []
        while waiting and len(taken) < limit:
            one = waiting[0]
            item = await self._session.table.get(OP, layout.meta_key(one.email_id))
            record = await self._control.parsed(item)
            if record is not None and record.token == one.token:
                email = record.email(hold.at, duplicate_in=await self._verdict(stage, one.email_id))
                if email.status is stage.working:
                    try:
                        await self._session.table.update(OP, writes.renew(email, lease=hold.lease, at=hold.at))
                    except Refused:
                        waiting.pop(0)
                        continue
                    self._session.notice("own_write_recognised", email.id)
                    self._index.holds(email.id, email.version)
                    taken.append(email)
            waiting.pop(0)
        return taken

    async def _verdict(self, stage: Stage, email_id: str) -> str | None:
        if self._guard is None or stage is not SENDER:
            return None
        return (await self._guard.reserve([(email_id, None)])).get(email_id)
