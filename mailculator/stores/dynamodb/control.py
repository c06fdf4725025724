"""What all replicas must know of the table: whether claims are stopped, and which records nobody can work on.

It stands in records of our own, so that a restart forgets nothing and every replica obeys within seconds.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from mailculator.errors import StoreRejected
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.expression import Change, Update, Where
from mailculator.stores.dynamodb.record import Poisoned, Record, parse
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Put, Refused

OP = "control"
FRESH = 5.0
"""Seconds for which what was read is believed."""
PRODUCED_EVERY = 10.0
"""Seconds ahead of a producer's write that are kept as its time, so that not every email costs a write."""
TRIES = 3
"""How often a note is written where others write there too; what was noted last has mostly told the same."""
WINDOW = 60.0
LIMIT = 3
"""So many writes of a foreign consumer within WINDOW seconds stop the claims."""
SHOWN = 20
"""Ids of poisoned records that are told."""
KEPT = 200
"""Ids of poisoned records that are kept, so that none of them is counted twice."""
FORGET = 60.0
"""Seconds for which a record that cannot be worked on is not looked at again."""

CONTROL = "control"
POISONED = "poisoned"
SWEEP = "sweep"
ADOPTION = "adoption"


def own_key(name: str) -> dict[str, str]:
    """The key of one of our own records."""
    return {layout.ID: layout.OWN_ID, layout.STATUS: name}


class Control:
    """One replica's view."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: Item = {}
        self._read_at = float("-inf")
        self._adopted = False
        self._skipped: dict[str, float] = {}
        self._told = False
        # Several are met at once; a write that does not know of the others would leave them out.
        self._noting = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._produced = 0

    async def stopped(self) -> str | None:
        """Why nothing is claimed here any more; None while claims go on."""
        await self._refresh()
        why = self._known.get("Stopped")
        if (why is not None) != self._told:
            self._told = why is not None
            self._session.notice("stopped" if why else "resumed", detail=str(why or ""))
        return None if why is None else str(why)

    async def adopted(self) -> bool:
        """Whether the table's past has been gone through."""
        if not self._adopted:
            found = await self._session.table.get(OP, own_key(ADOPTION), consistent=False)
            self._adopted = bool(found and found.get("Done"))
        return self._adopted

    async def note_adoption(self, after: Item | None, *, done: bool) -> None:
        """How far the past has been gone through."""
        item = {**own_key(ADOPTION), layout.TTL: layout.FAR, "Done": done, "After": after or {}}
        await self._session.table.put(OP, Put(item))
        self._adopted = done

    async def adoption_after(self) -> Item | None:
        """Where going through the past was interrupted; None for its beginning."""
        found = await self._session.table.get(OP, own_key(ADOPTION))
        return (found or {}).get("After") or None

    async def foreign(self, email_id: str, what: str) -> None:
        """A foreign consumer has written: shown, and the third within a minute stops the claims."""
        self._session.notice("foreign_write", email_id, what)
        now = self._session.now()
        while True:
            known = await self._session.table.get(OP, own_key(CONTROL)) or {}
            times = [at for at in known.get("Foreign", []) if at > (now - WINDOW) * 1000] + [round(now * 1000)]
            sets: dict[str, Any] = {"Foreign": times, "ForeignLast": round(now * 1000)}
            if len(times) >= LIMIT and "Stopped" not in known:
                sets["Stopped"] = f"{len(times)} writes of another consumer within a minute, the last: {what}"
            if await self._write(known, sets):
                return

    async def resume(self, who: str, why: str) -> bool:
        """Let claims go on. False when they were not stopped."""
        while True:
            known = await self._session.table.get(OP, own_key(CONTROL)) or {}
            if "Stopped" not in known:
                return False
            note = f"resumed by {who}: {why}"[:200]
            if await self._write(known, {"Foreign": [], "Resumed": note}, removes=("Stopped",)):
                return True

    async def foreign_write(self) -> datetime | None:
        """When another program was last seen to have written, or a little later: never earlier."""
        known = await self._session.table.get(OP, own_key(CONTROL)) or {}
        times = [at for name in ("ForeignLast", "ProducerLast") if isinstance(at := known.get(name), int)]
        if not times:
            return None
        return datetime.fromtimestamp(min(max(times) / 1000, self._session.now()), UTC)

    async def producer_wrote(self) -> None:
        """A producer has put a new email here, or requeued one.

        What is kept is the end of a span that covers it. Its beginning would let a sweep that began before this email
        count as one that began after the last.
        """
        # One at a time: a batch of new emails would else write as many times.
        async with self._noting:
            now = self._session.now()
            for _ in range(TRIES):
                await self._refresh()
                if now * 1000 <= max(self._produced, self._known.get("ProducerLast") or 0):
                    return
                until = round((now + PRODUCED_EVERY) * 1000)
                if await self._write(self._known, {"ProducerLast": until}):
                    self._produced = until
                    return

    async def poisoned(self, error: Poisoned) -> None:
        """A record that nobody can work on: shown, and left alone for a while."""
        if self.skips(error.email_id):
            return
        self.skip(error.email_id)
        self._session.notice("poisoned", error.email_id, error.why)
        async with self._noting:
            found = await self._session.table.get(OP, own_key(POISONED)) or {}
            ids = [one for one in found.get("Ids", []) if isinstance(one, str)]
            if error.email_id not in ids:
                await self.note_poisoned([*ids, error.email_id], max(int(found.get("Count") or 0), len(ids)) + 1)

    async def parsed(self, item: Item | None) -> Record | None:
        """A record; None where there is none, or none that anybody can work on: that is told. Errors: StoreError."""
        try:
            return None if item is None else parse(item)
        except Poisoned as error:
            await self.poisoned(error)
            return None

    async def blame(self, email_id: str, error: StoreRejected) -> None:
        """A write was refused for what it is: by the record, where nobody can work on it. Errors: `error`, if not."""
        item = await self._session.table.get(OP, layout.meta_key(email_id))
        if item is not None:
            try:
                parse(item)
            except Poisoned as poisoned:
                await self.poisoned(poisoned)
                return
        raise error

    async def note_poisoned(self, ids: list[str], count: int) -> None:
        """Which records cannot be worked on, as a sweep found them."""
        item = {**own_key(POISONED), layout.TTL: layout.FAR, "Ids": ids[:KEPT], "Count": count}
        await self._session.table.put(OP, Put(item))

    async def known_poisoned(self) -> tuple[tuple[str, ...], int]:
        """Ids of poisoned records, at most SHOWN, and how many there are."""
        found = await self._session.table.get(OP, own_key(POISONED)) or {}
        return tuple(found.get("Ids", [])[:SHOWN]), int(found.get("Count") or 0)

    def skip(self, email_id: str) -> None:
        """Do not look at this record again for a while."""
        self._skipped[email_id] = self._session.monotonic() + FORGET

    def skips(self, email_id: str) -> bool:
        """Whether a record is to be left alone for now."""
        until = self._skipped.get(email_id)
        if until is not None and until <= self._session.monotonic():
            del self._skipped[email_id]
            return False
        return until is not None

    async def _refresh(self) -> None:
        now = self._session.monotonic()
        if now - self._read_at < FRESH:
            return
        async with self._reading:
            # Four pipelines ask at the same moments; one of them reads.
            if now - self._read_at >= FRESH:
                self._known = await self._session.table.get(OP, own_key(CONTROL), consistent=False) or {}
                self._read_at = now

    async def _write(self, known: Item, sets: dict[str, Any], removes: tuple[str, ...] = ()) -> bool:
        """Write what was decided upon `known`, if it still stands so."""
        revision = known.get("Revision")
        sets = {**sets, "Revision": (revision or 0) + 1, layout.TTL: layout.FAR}
        where = (
            Where("attribute_not_exists({Revision})")
            if revision is None
            else Where("{Revision} = :revision", {"revision": revision})
        )
        try:
            await self._session.table.update(OP, Update(own_key(CONTROL), Change(sets, removes=removes), where))
        except Refused:
            self._read_at = float("-inf")
            return False
        self._read_at = float("-inf")
        return True
