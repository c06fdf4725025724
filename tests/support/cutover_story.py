"""Situations of a cutover: a day of minutes that two replicas noted, and what a test changes in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mailculator.cutover.evidence import ACTIVE, NEW, OLD, Look, Situation
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Minute, Survey

NOW = datetime(2026, 11, 20, 3, 0, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LAST = NOW.replace(second=0) - MINUTE
"""When the last minute began that is on record."""
DAY = 1440
VERSION = "1.2.3"
REPLICAS = ("a", "b")
NOTHING: Mapping[Status, StatusCount] = dict.fromkeys(ACTIVE, StatusCount(0))
NOTES = {"stores": f"{NEW},{OLD}", "guard": "on"}
SWEPT = Survey(
    exact=False,
    swept_from=NOW - timedelta(hours=5),
    swept_until=NOW - timedelta(hours=4, minutes=50),
    swept={Status.SENT_ACKNOWLEDGED: 900_000},
    foreign_write=NOW - timedelta(hours=30),
)


def minute(ago: int, replica: str = "a", **changes: object) -> Minute:
    """An empty minute that began so many minutes before the last one on record."""
    plain = {"counts": NOTHING, "entered": 0, "left": 0, "notes": NOTES, "service": VERSION}
    return Minute(LAST - ago * MINUTE, replica, **(plain | changes))  # type: ignore[arg-type]  # real fields


def minutes(change: Callable[[int, str], Mapping[str, object] | None], *, length: int = DAY + 5) -> list[Minute]:
    """The minutes of both replicas, oldest first.

    Arguments:
        change: what is special about one, by minutes ago and replica; None leaves it out.
    """
    found = []
    for ago in range(length, -1, -1):
        for replica in REPLICAS:
            special = change(ago, replica)
            if special is not None:
                found.append(minute(ago, replica, **special))
    return found


def old(change: Callable[[int, str], Mapping[str, object] | None] = lambda ago, replica: {}, **changes: object) -> Look:
    """DynamoDB, empty for a day and swept."""
    plain = Look(OLD, enabled=True, counts=NOTHING, minutes=minutes(change), survey=SWEPT)
    return replace(plain, **changes)  # type: ignore[arg-type]  # a test names real fields


def new(
    change: Callable[[int, str], Mapping[str, object] | None] = lambda ago, replica: {"entered": 7, "left": 7},
    **changes: object,
) -> Look:
    """MariaDB, at work."""
    counts = {**NOTHING, Status.READY: StatusCount(3, 0, 1.5)}
    plain = Look(NEW, enabled=True, counts=counts, minutes=minutes(change), survey=Survey(exact=True))
    return replace(plain, **changes)  # type: ignore[arg-type]  # a test names real fields


def situation(*looks: Look, **changes: object) -> Situation:
    """Three o'clock in the morning."""
    plain = Situation(
        now=NOW, service=VERSION, guard=True, quiet=timedelta(days=1), stores={one.name: one for one in looks}
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # a test names real fields
