"""SQLite's clock, and its times as ours: milliseconds since the epoch, in UTC, which is as fine as that clock goes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_9999 = 253_370_764_800_000


def now(connection: sqlite3.Connection) -> int:
    """Milliseconds on the store's clock. A verb asks once, so that all its rows agree."""
    (time,) = connection.execute(
        "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"
    ).fetchone()
    return int(time)


def milliseconds(seconds: float) -> int:
    """A duration as the store keeps it."""
    return round(seconds * 1000)


def moment(time: int) -> datetime:
    """A stored time in UTC. What no calendar holds, since anybody may write to the row, becomes the nearest that is."""
    return _EPOCH + timedelta(milliseconds=min(max(time, 0), _YEAR_9999))


def moment_or_none(time: int | None) -> datetime | None:
    """The same for a column that may be NULL."""
    return None if time is None else moment(time)
