"""Working rows that nobody holds any more, in SQL, within a transaction that somebody else opens and commits."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import Any

from mailculator.lifecycle import WORKING
from mailculator.model import Status
from mailculator.stores.base import Overdue
from mailculator.stores.sqlite_claims import FIELDS, to_email
from mailculator.stores.sqlite_clock import milliseconds, moment, now
from mailculator.stores.sqlite_oddities import odd_rows

OVERDUE = """emails.status IN (SELECT value FROM json_each(:working))
    AND CASE WHEN emails.lease_version = emails.version AND emails.lease_until IS NOT NULL
        THEN emails.lease_until < :now ELSE emails.updated_at < :now - :hold END"""
"""Nobody holds the row any more; its parameters are `overdue_since`."""

LEAST_POSTPONED = 60.0

_FIND = (
    "SELECT json_group_array(number) FROM"  # noqa: S608  # constants
    f" (SELECT rowid AS number FROM emails WHERE {OVERDUE} LIMIT :limit)"
)

_AS_CLAIMED = f"""SELECT json_group_array(json_array(
        status, coalesce(claim_token, ''), claimed_by, lease_version IS version,
        coalesce((SELECT taken.created_at FROM email_status_history AS taken
            WHERE taken.email_id = emails.id AND taken.version = emails.version), created_at),
        json_array({FIELDS})))
    FROM json_each(:rows) AS expired CROSS JOIN emails ON emails.rowid = expired.value"""  # noqa: S608  # constants


def overdue_since(at: int, foreign_hold: float) -> dict[str, str | int]:
    """The parameters of OVERDUE at that time, in milliseconds; the hold in seconds."""
    return {"working": json.dumps(sorted(WORKING)), "now": at, "hold": milliseconds(foreign_hold)}


def let_go(connection: sqlite3.Connection) -> None:
    """End every lease: the one process that could hold any is the one that opens the file now, and holds nothing."""
    connection.execute(
        "UPDATE emails SET lease_until = :gone WHERE lease_until > :gone AND lease_version = version"
        " AND status IN (SELECT value FROM json_each(:working))",
        {"working": json.dumps(sorted(WORKING)), "gone": now(connection) - 1},
    )


def overdue(connection: sqlite3.Connection, limit: int, foreign_hold: float) -> list[Overdue]:
    """What nobody holds any more; what cannot be moved is left for later, with the reason."""
    at = now(connection)
    rows = _sound(connection, at, limit, foreign_hold)
    if rows == "[]":
        return []
    (found,) = connection.execute(_AS_CLAIMED, {"rows": rows, "now": at}).fetchone()
    return [_overdue(fields, at) for fields in json.loads(found)]


def _overdue(fields: list[Any], at: int) -> Overdue:
    status, token, holder, ours, since, rest = fields
    email = to_email(rest, Status(status), token, at)
    if not ours:
        # Another program brought the row here: the tries in it are an earlier stage's.
        email = replace(email, attempts=0, failing_for=0.0, last_error=None, crashes=0)
    return Overdue(email, holder if ours else None, moment(since))


def _sound(connection: sqlite3.Connection, at: int, limit: int, foreign_hold: float) -> str:
    """Row numbers of what can be moved; what cannot is held by nobody for a while, and others take its place."""
    named = overdue_since(at, foreign_hold)
    later = at + milliseconds(max(foreign_hold, LEAST_POSTPONED))
    while True:
        (rows,) = connection.execute(_FIND, {**named, "limit": limit}).fetchone()
        odd = odd_rows(connection, rows)
        if not odd:
            return str(rows)
        connection.executemany(
            "UPDATE emails SET lease_until = ?, lease_version = version, last_error = ? WHERE rowid = ?",
            [(later, why, number) for number, why in odd.items()],
        )
