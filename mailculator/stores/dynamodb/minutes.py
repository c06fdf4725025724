"""The minutes that replicas note: records of our own, a partition a day, deleted by DynamoDB after a week."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from mailculator.stores.base import Minute
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Put
from mailculator.stores.minute_text import counts_of, counts_text, notes_of, notes_text

OP = "minute"
KEPT = timedelta(days=8)


async def remember(session: Session, minute: Minute) -> None:
    """See Store. Errors: StoreError."""
    at = minute.at.astimezone(UTC)
    item = {
        layout.ID: _day(at),
        layout.STATUS: f"{_clock_time(at)}#{minute.replica}",
        layout.TTL: int((at + KEPT).timestamp()),
        "At": round(at.timestamp() * 1_000_000),
        "Replica": minute.replica,
        "Service": minute.service,
        "Counts": counts_text(minute.counts),
        "Entered": minute.entered,
        "Left": minute.left,
        "Notes": notes_text(minute.notes),
    }
    await session.table.put(OP, Put(item))


async def minutes(session: Session, since: datetime) -> list[Minute]:
    """See Store. Errors: StoreError."""
    found: list[Minute] = []
    since = since.astimezone(UTC)
    last = datetime.fromtimestamp(session.now(), UTC) + timedelta(days=1)
    day = max(since, last - KEPT - timedelta(days=1))
    while day.date() <= last.date():
        begins = since if day.date() == since.date() else datetime.combine(day, time(), UTC)
        found += await _of_day(session, begins)
        day += timedelta(days=1)
    return sorted((one for one in found if one.at >= since), key=lambda one: (one.at, one.replica))


async def _of_day(session: Session, begins: datetime) -> list[Minute]:
    """The rest of a day. Every replica asks once a minute, and a whole day of several is a hundred units."""
    found: list[Minute] = []
    after: Item | None = None
    where = Where("{Id} = :day AND {Status} >= :begins", {"day": _day(begins), "begins": _clock_time(begins)})
    while True:
        page = await session.table.query(OP, where, after=after, consistent=True)
        found += [minute for item in page.items if (minute := _minute(item)) is not None]
        after = page.after
        if after is None:
            return found


def _minute(item: Item) -> Minute | None:
    try:
        return Minute(
            at=datetime.fromtimestamp(0, UTC) + timedelta(microseconds=item["At"]),
            replica=item["Replica"],
            service=item["Service"],
            counts=counts_of(item["Counts"]),
            entered=int(item["Entered"]),
            left=int(item["Left"]),
            notes=notes_of(item["Notes"]),
        )
    except (KeyError, TypeError, ValueError):
        return None  # no minute of ours


def _clock_time(at: datetime) -> str:
    return f"{at:%H:%M:%S.%f}"


def _day(at: datetime) -> str:
    return f"{layout.OWN_ID}.minutes#{at:%Y-%m-%d}"
