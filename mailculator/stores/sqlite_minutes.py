"""The minutes in the embedded queue: what the service noted, for whoever judges a cutover."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from mailculator.stores.base import Minute
from mailculator.stores.minute_text import counts_of, counts_text, notes_of, notes_text
from mailculator.stores.sqlite_clock import moment, now

FORGET_BATCH = 200
"""Rows deleted with each that is written."""

_WEEK = 7 * 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def remember(connection: sqlite3.Connection, minute: Minute) -> None:
    """Keep a minute in place of an earlier one of the same replica, and forget what is older than a week."""
    connection.execute(
        """DELETE FROM mailculator_minutes WHERE rowid IN (
            SELECT rowid FROM mailculator_minutes WHERE began_at < ? ORDER BY began_at LIMIT ?)""",
        (now(connection) - _WEEK, FORGET_BATCH),
    )
    connection.execute(
        """INSERT INTO mailculator_minutes (began_at, replica, service, counts, entered, ended, notes)
        VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (began_at, replica) DO UPDATE SET service = excluded.service,
        counts = excluded.counts, entered = excluded.entered, ended = excluded.ended, notes = excluded.notes""",
        (
            _milliseconds(minute.at),
            minute.replica,
            minute.service,
            counts_text(minute.counts),
            minute.entered,
            minute.left,
            notes_text(minute.notes),
        ),
    )


def minutes(connection: sqlite3.Connection, since: datetime) -> list[Minute]:
    """Those that began at `since` or later, oldest first."""
    found = connection.execute(
        """SELECT began_at, replica, service, counts, entered, ended, notes FROM mailculator_minutes
        WHERE began_at >= ? ORDER BY began_at, replica""",
        (_milliseconds(since),),
    )
    return [_minute(fields) for fields in found]


def _minute(fields: tuple[Any, ...]) -> Minute:
    began_at, replica, service, counts, entered, ended, notes = fields
    return Minute(moment(began_at), replica, service, counts_of(counts), entered, ended, notes_of(notes))


def _milliseconds(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(milliseconds=1)
