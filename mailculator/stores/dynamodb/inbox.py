"""New emails of the older producer, which knows nothing of our index.

It writes two records: the email's own, and one named ACCEPTED that nobody reads. Those records, under one key of the
older service's index, are an inbox: once an email is taken up, its record there is deleted, so that looking costs
what is new. The time of the producer's writing stands in the email's record.

A table that the older service has worked on for a month holds such a record for every email of that month. As long as
that past has not been gone through, and where the records are to be kept, the inbox is no feed; then new emails are
found by a pass over all of them, once a minute.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import deque
from collections.abc import Callable

from mailculator.errors import StoreError, StoreRejected
from mailculator.lifecycle import INTAKE
from mailculator.model import Email, Status
from mailculator.stores.dynamodb import layout, writes
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.index import WorkIndex
from mailculator.stores.dynamodb.reconcile import Reconciler
from mailculator.stores.dynamodb.record import Poisoned, Record, parse
from mailculator.stores.dynamodb.session import Session, each
from mailculator.stores.dynamodb.table import Refused
from mailculator.stores.dynamodb.writes import Hold

OP = "inbox"
ACCEPTED = str(Status.ACCEPTED)
LOOK = 100
PAST = 50
"""So many records of emails that went on long ago, in one look, are a past that nobody has gone through."""


class Inbox:
    """One replica's view of what the producer has put there."""

    def __init__(self, session: Session, control: Control, reconciler: Reconciler, index: WorkIndex) -> None:
        self._session = session
        self._control = control
        self._reconciler = reconciler
        self._index = index
        self._rows: deque[str] = deque()
        self._large = False
        self.past = False
        """Whether the table has a past that was not gone through: the inbox is no feed then."""

    async def is_feed(self) -> bool:
        """Whether new emails are found here. Errors: StoreError."""
        if self._session.keep_accepted:
            return False
        if self.past and await self._control.adopted():
            self.past = False
        return not self.past

    async def take(self, limit: int, hold: Hold, unanswered: Callable[[str, str], None]) -> list[Email]:
        """Adopt and claim up to `limit` new emails.

        Arguments:
            unanswered: told the id of an email whose claim got no answer and may stand, and the claim's token.

        Errors: StoreError, when nothing was taken.
        """
        taken: list[Email] = []
        tried: set[str] = set()
        old = 0
        while len(taken) < limit:
            looked = not self._rows
            ids = [one for one in await self._next(limit - len(taken)) if one not in tried]
            tried.update(ids)
            answers = await each(ids, lambda email_id: self._take(email_id, hold.anew(), unanswered))
            taken += [answer for answer in answers if isinstance(answer, Email)]
            old += sum(answer is True for answer in answers)
            failures = [answer for answer in answers if isinstance(answer, StoreError)]
            if failures and not taken:
                raise failures[0]
            # Of what an earlier look has left over another replica may have had all: that says nothing of what is new.
            if failures or (looked and not (ids and (self._rows or self._large))):
                break
            if old >= PAST and old > 4 * len(taken):
                await self._meet_the_past()
                break
        return taken

    async def _meet_the_past(self) -> None:
        self.past = not await self._control.adopted()
        if self.past:
            self._session.notice("past", detail="most ACCEPTED records are of emails that went on before: run `adopt`")

    async def sort_in(self, limit: int) -> None:
        """Beside an older consumer, whose intake is: only what it has brought further is taken up."""
        ids = await self._next(limit)
        keys = [layout.meta_key(email_id) for email_id in ids]
        records: list[Record] = []
        for item in await self._session.table.get_many(OP, keys):
            record = await self._control.parsed(item)
            if record is not None:
                records.append(record)
        ended = [record for record in records if layout.stage_of(record.status) is None]
        if self._large and len(ended) == len(ids):
            await self._meet_the_past()
            if self.past:
                return
        for record in records:
            if layout.stage_of(record.status) is not INTAKE:
                await self._settle(record)

    async def clear(self, email_id: str) -> None:
        """Take an email's record out of the inbox; it may be gone already."""
        await self._session.table.delete(OP, {layout.ID: email_id, layout.STATUS: ACCEPTED})

    async def _take(self, email_id: str, hold: Hold, unanswered: Callable[[str, str], None]) -> Email | bool:
        """The email, claimed; True for one that went on before; False for one that is not to be had now."""
        try:
            _, after = await self._session.table.update("claim", writes.take_in(INTAKE, email_id, hold))
        except Refused as refused:
            return await self._refused(email_id, refused.item)
        except StoreRejected as rejected:
            await self._control.blame(email_id, rejected)
            return False
        except StoreError:
            unanswered(email_id, hold.token)
            raise
        try:
            email = parse(after).email(hold.at, duplicate_in=None)
        except Poisoned as error:
            await self._control.poisoned(error)
            return False
        self._index.holds(email.id, email.version)
        await self._tidy(email_id)
        return email

    async def _tidy(self, email_id: str) -> None:
        """What may as well be done by whoever meets it next: the claim stands, and must be handed out."""
        with contextlib.suppress(StoreError):
            await self._control.producer_wrote()
            await self.clear(email_id)

    async def _refused(self, email_id: str, item: Item | None) -> bool:
        if item is None:
            # The producer may write the two records apart, or the email's own may have expired.
            self._control.skip(email_id)
            return False
        record = await self._control.parsed(item)
        if record is None:
            return False
        await self._settle(record)
        # One that had to be put right first, and waits in the index now, is new all the same.
        return record.adopted or layout.stage_of(record.status) is not INTAKE

    async def _settle(self, record: Record) -> None:
        """Adopt what is still to be worked on, and be done with its record in the inbox."""
        known = record.adopted or layout.stage_of(record.status) is None
        try:
            synced = record if known else await self._reconciler.bring_in(record)
        except Poisoned as error:
            await self._control.poisoned(error)
            return
        if synced is None:
            return
        if not record.adopted:
            self._index.met(synced)
        await self.clear(synced.id)

    async def _next(self, want: int) -> list[str]:
        """Ids to try next; one look serves until all it found were tried."""
        if not self._rows:
            self._rows.extend(await self._look(max(2 * want, LOOK)))
        ids: list[str] = []
        while self._rows and len(ids) < want:
            email_id = self._rows.popleft()
            if not self._control.skips(email_id):
                ids.append(email_id)
        return ids

    async def _look(self, limit: int) -> list[str]:
        """Ids in the inbox. They stand in order, so a large one is read from anywhere: else high ids would starve."""
        start: Item | None = {layout.STATUS: ACCEPTED, layout.ID: str(uuid.uuid4())} if self._large else None
        ids, more = await self._page(start, limit)
        self._large = more
        if start is not None and len(ids) < limit:
            first, more = await self._page(None, limit - len(ids))
            self._large = self._large or more
            ids += [one for one in first if one not in set(ids)]
        return ids

    async def _page(self, start: Item | None, limit: int) -> tuple[list[str], bool]:
        page = await self._session.table.query(
            OP,
            Where("{Status} = :accepted", {"accepted": ACCEPTED}),
            index=layout.STATUS_INDEX,
            limit=limit,
            after=start,
        )
        return [item[layout.ID] for item in page.items], page.after is not None
