"""The minutes in MariaDB: what every replica noted, for whoever judges a cutover."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mailculator.stores.base import Minute
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import utc
from mailculator.stores.minute_text import counts_of, counts_text, notes_of, notes_text

FORGET_BATCH = 200
"""Rows deleted with each that is written. A minute brings one row a replica, so the table never grows past a week."""

_REPLACE = (
    "INSERT INTO mailculator_minutes (began_at, replica, service, counts, entered, ended, notes)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE service = VALUES(service), counts = VALUES(counts),"
    " entered = VALUES(entered), ended = VALUES(ended), notes = VALUES(notes)"
)
_FORGET = "DELETE FROM mailculator_minutes WHERE began_at < NOW(6) - INTERVAL 7 DAY ORDER BY began_at LIMIT %s"
_SELECT = (
    "SELECT began_at, replica, service, counts, entered, ended, notes FROM mailculator_minutes"
    " WHERE began_at >= %s ORDER BY began_at, replica"
)


async def remember(session: Session, minute: Minute) -> None:
    """Keep a minute in place of an earlier one of the same replica, and forget what is older than a week."""
    # All replicas write at the turn of the same minute. The old rows go first: whoever waits for them holds nothing.
    await session.execute(_FORGET, (FORGET_BATCH,))
    await session.execute(
        _REPLACE,
        (
            _moment(minute.at),
            minute.replica,
            minute.service,
            counts_text(minute.counts),
            minute.entered,
            minute.left,
            notes_text(minute.notes),
        ),
    )


async def minutes(session: Session, since: datetime) -> list[Minute]:
    """Those that began at `since` or later, oldest first."""
    return [_minute(fields) for fields in (await session.execute(_SELECT, (_moment(since),))).rows]


def _minute(fields: tuple[Any, ...]) -> Minute:
    began_at, replica, service, counts, entered, ended, notes = fields
    return Minute(utc(began_at), replica, service, counts_of(counts), entered, ended, notes_of(notes))


def _moment(when: datetime) -> str:
    """For a session in UTC, as all of ours are."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
