"""What operators ask of all replicas, what they did, and who these replicas are: records of our own, by three Ids.

Not to be taken for `control`, which is about the table itself: there claims are stopped by what other programs wrote.

Every replica asks for the pauses every few seconds. They stand in one partition, and what is written there is kept
short, so that this is one read of half a unit.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mailculator import fleet
from mailculator.fleet import Deed, Pause, Replica
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.draft import milliseconds
from mailculator.stores.dynamodb.expression import Change, Update, Where
from mailculator.stores.dynamodb.history import clip
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Page, Put, Refused
from mailculator.stores.fact_text import facts_of, facts_text

OP = "operator"
PAUSES = f"{layout.OWN_ID}.pauses"
REPLICAS = f"{layout.OWN_ID}.replicas"
AUDIT = f"{layout.OWN_ID}.audit"
"""Its Ids end with the month."""
KEPT = timedelta(days=365)
"""How long the audit list goes back."""
GRACE = 86_400
"""Seconds by which a record outlives its meaning. DynamoDB deletes when it likes, so that readers look at the times."""
NAME_BYTES = 100
PAUSE_BYTES = 500
"""Of the reason of a pause: all of them are read for half a unit as long as they come to no more than 4 KB together.
The audit list has it in full."""
AUDIT_BYTES = 4000
AHEAD = timedelta(seconds=2)
"""By how much another process's idea of the time may be ahead of ours, at the most: each is off by about half a second
(see ServerClock)."""
_NEWEST = "9999"
"""Behind every key of the audit list."""


class Operators:
    """See stores.control.Control."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._noted = datetime.fromtimestamp(0, UTC)

    async def pause(self, pipeline: str, *, seconds: float | None, who: str, why: str) -> None:
        """See Control."""
        at = self._session.now()
        sets = {
            "Pipeline": pipeline,
            "Since": milliseconds(at),
            "Who": clip(who, NAME_BYTES),
            "Why": clip(why, PAUSE_BYTES),
            layout.TOKEN: layout.new_token(),
            layout.TTL: layout.FAR if seconds is None else int(at + seconds) + GRACE,
        }
        if seconds is None:
            change = Change(sets, removes=("Until",))
        else:
            change = Change({**sets, "Until": milliseconds(at + seconds)})
        # Whatever pause of it stands there, or none.
        where = Where("attribute_not_exists({Pipeline}) OR {Pipeline} = :pipeline", {"pipeline": pipeline})
        deed = await self._deed(who, fleet.paused(pipeline, seconds), why)
        await self._session.table.transact(OP, Update(_pause_key(pipeline), change, where), [deed], before=None)

    async def resume(self, pipeline: str, *, who: str, why: str) -> bool:
        """See Control. The record stays, as that of a pause that ended now."""
        at = self._session.now()
        now = milliseconds(at)
        change = Change({"Until": now, layout.TOKEN: layout.new_token(), layout.TTL: int(at) + GRACE})
        where = Where(
            "attribute_exists({Pipeline}) AND (attribute_not_exists({Until}) OR {Until} > :now)", {"now": now}
        )
        deed = await self._deed(who, fleet.resumed(pipeline), why)
        try:
            await self._session.table.transact(OP, Update(_pause_key(pipeline), change, where), [deed], before=None)
        except Refused:
            return False
        return True

    async def pauses(self) -> list[Pause]:
        """See Control."""
        page = await self._session.table.query(OP, Where("{Id} = :id", {"id": PAUSES}))
        now = milliseconds(self._session.now())
        found = [pause for item in page.items if item.get("Until", now + 1) > now and (pause := _pause(item))]
        return sorted(found, key=lambda pause: pause.pipeline)

    async def note(self, *, who: str, what: str, why: str) -> None:
        """See Control."""
        await self._session.table.put(OP, await self._deed(who, what, why))

    async def audit(self, *, after: str | None = None, limit: int = 50) -> list[Deed]:
        """See Control."""
        month = newest = self._now() + AHEAD
        before = _NEWEST
        if after and (told := _time_of(after)) is not None:
            month, before = min(told, newest), after
        found: list[Deed] = []
        while len(found) < limit and month > newest - KEPT - timedelta(days=31):
            page = await self._of_month(month, before, limit - len(found))
            found += [deed for item in page.items if (deed := _told(item)) is not None]
            if page.after is None:
                month = month.replace(day=1) - timedelta(days=1)
            else:
                before = page.after[layout.STATUS]
        return found

    async def _of_month(self, month: datetime, before: str, limit: int) -> Page:
        where = Where("{Id} = :month AND {Status} < :before", {"month": _month(month), "before": before})
        return await self._session.table.query(OP, where, limit=limit, consistent=True, newest_first=True)

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        """See Control."""
        at = self._session.now()
        item = {
            layout.ID: REPLICAS,
            layout.STATUS: f"replica#{replica}",
            layout.TTL: int(at + fleet.GONE_AFTER) + GRACE,
            "Replica": replica,
            "Service": service,
            "Seen": milliseconds(at),
            "Facts": facts_text(facts),
        }
        await self._session.table.put(OP, Put(item))

    async def replicas(self) -> list[Replica]:
        """See Control."""
        found: list[Replica] = []
        after: Item | None = None
        while True:
            page = await self._session.table.query(OP, Where("{Id} = :id", {"id": REPLICAS}), after=after)
            now = self._session.now()
            found += [replica for item in page.items if (replica := _replica(item, now)) is not None]
            after = page.after
            if after is None:
                return sorted((one for one in found if one.age < fleet.GONE_AFTER), key=lambda one: one.name)

    async def _deed(self, who: str, what: str, why: str) -> Put:
        """A line of the audit list, behind all that stand there: commands follow each other within the time by which
        their clocks differ."""
        newest = await self._newest()
        self._noted = at = max(self._now(), max(newest, self._noted) + timedelta(microseconds=1))
        item = {
            layout.ID: _month(at),
            # Several may note something at the same moment.
            layout.STATUS: f"{_key(at)}#{uuid.uuid4().hex[:12]}",
            layout.TTL: int((at + KEPT).timestamp()),
            "Who": clip(who, NAME_BYTES),
            "What": clip(what, AUDIT_BYTES),
            "Why": clip(why, AUDIT_BYTES),
        }
        return Put(item)

    async def _newest(self) -> datetime:
        """When the last line was noted; what claims to be from much later than now puts off no other."""
        ahead = self._now() + AHEAD
        for month in (ahead, self._now()):
            page = await self._of_month(month, _key(ahead), 1)
            if page.items and (told := _time_of(page.items[0][layout.STATUS])) is not None:
                return told
        return self._noted

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._session.now(), UTC)


def _pause_key(pipeline: str) -> dict[str, str]:
    return {layout.ID: PAUSES, layout.STATUS: f"pause#{pipeline}"}


def _month(at: datetime) -> str:
    return f"{AUDIT}#{at:%Y-%m}"


def _key(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}"


def _time_of(key: str) -> datetime | None:
    """When what stands under a key of the audit list was noted; None for what is no key of it."""
    try:
        return datetime.fromisoformat(key.partition("#")[0]).replace(tzinfo=UTC)
    except ValueError:
        return None


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)


def _pause(item: Item) -> Pause | None:
    try:
        until = item.get("Until")
        return Pause(
            item["Pipeline"],
            item["Who"],
            item["Why"],
            _moment(item["Since"]),
            None if until is None else _moment(until),
        )
    except (KeyError, TypeError, ValueError):
        return None  # no pause of ours


def _told(item: Item) -> Deed | None:
    key = item[layout.STATUS]
    at = _time_of(key)
    try:
        return None if at is None else Deed(key, at, item["Who"], item["What"], item["Why"])
    except KeyError:
        return None  # no deed of ours


def _replica(item: Item, now: float) -> Replica | None:
    try:
        age = max(0.0, now - item["Seen"] / 1000)
        return Replica(item["Replica"], item["Service"], age, facts_of(item["Facts"]))
    except (KeyError, TypeError):
        return None  # no replica of ours
