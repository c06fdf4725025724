"""Claims and their renewal, in SQL, each verb within a transaction that somebody else opens and commits.

Groups travel as one JSON document in each direction. Python's sqlite3 gives the interpreter lock away and waits for it
again at every row that it binds or fetches; beside a busy event loop, five hundred rows one by one would take seconds.

A row whose next version is in its history already cannot be moved: the history would have to lie. Such a row, and any
other that nobody can work on, spoils neither its group nor, as the oldest that is due, every claim after it (G14): a
claim parks it, with the reason, where an operator sees it.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

from mailculator.lifecycle import FAILED_CALLBACK, SENT_CALLBACK, Stage, clean
from mailculator.model import Email, Status
from mailculator.stores.sqlite_clock import milliseconds, moment, moment_or_none, now
from mailculator.stores.sqlite_oddities import odd_rows

FIELDS = """emails.id, version, payload_file_path, eml_file_path, reason, attempts, generation, failing_since,
    ttl * 1000 - :now, last_error, created_at, reached_at, crashes, cancelled"""
"""What `to_email` takes, of a row of `emails`."""

_CLAIMED = f"""SELECT json_group_array(json_array({FIELDS}))
    FROM json_each(:rows) AS claimed CROSS JOIN emails ON emails.rowid = claimed.value"""  # noqa: S608  # constants


def claim(connection: sqlite3.Connection, stage: Stage, limit: int, lease: float, holder: str) -> list[Email]:
    """Take what is due, oldest due first."""
    before = now(connection)
    token = uuid.uuid4().hex
    rows = _due(connection, stage, before, limit)
    if rows == "[]":
        return []
    named = {
        "rows": rows,
        "now": before,
        "status": stage.working,
        "token": token,
        "holder": holder,
        "until": before + milliseconds(lease),
        # Rows that an older consumer moved to SENT or FAILED carry no time of it: their last update was that move.
        "calls": stage in (SENT_CALLBACK, FAILED_CALLBACK),
    }
    _forget_other_stages(connection, rows)
    connection.execute(
        """UPDATE emails SET status = :status, version = version + 1, claim_token = :token, claimed_by = :holder,
            lease_until = :until, lease_version = version + 1, attempts = attempts + 1, updated_at = :now,
            reached_at = CASE WHEN :calls THEN coalesce(reached_at, updated_at) ELSE reached_at END
        WHERE rowid IN (SELECT value FROM json_each(:rows))""",
        named,
    )
    _write_history(connection, rows, before, clean(f"claimed by {holder}"))
    (claimed,) = connection.execute(
        _CLAIMED,
        named,
    ).fetchone()
    return [to_email(fields, stage.working, token, before) for fields in json.loads(claimed)]


def _due(connection: sqlite3.Connection, stage: Stage, at: int, limit: int) -> str:
    """Row numbers of what is due, oldest due first; what is odd among it is parked, and others take its place."""
    while True:
        (rows,) = connection.execute(
            """SELECT json_group_array(number) FROM (
                SELECT rowid AS number FROM emails WHERE status = ? AND parked = 0 AND due_at <= ?
                ORDER BY due_at, rowid LIMIT ?)""",
            (stage.waiting, at, limit),
        ).fetchone()
        odd = odd_rows(connection, rows)
        if not odd:
            return str(rows)
        # No move: the row stays where and as it is.
        connection.executemany(
            "UPDATE emails SET parked = 1, last_error = ? WHERE rowid = ?",
            [(why, number) for number, why in odd.items()],
        )


def _forget_other_stages(connection: sqlite3.Connection, rows: str) -> None:
    """Of rows that another program moved here: the tries and the error in them are an earlier stage's.

    Whatever a stage of ours leaves in a row, it left with a move, and the history has that move. An older consumer
    raises the version without one.
    """
    connection.execute(
        """UPDATE emails SET attempts = 0, failing_since = NULL, last_error = NULL, crashes = 0
        WHERE rowid IN (SELECT value FROM json_each(?))
            AND (attempts <> 0 OR failing_since IS NOT NULL OR last_error IS NOT NULL OR crashes <> 0) AND NOT EXISTS (
                SELECT 1 FROM email_status_history AS ours
                WHERE ours.email_id = emails.id AND ours.version = emails.version)""",
        (rows,),
    )


def to_email(fields: list[Any], status: Status, token: str, at: int) -> Email:
    """A claim's email, from FIELDS of its row at that time."""
    email_id, version, payload, eml, reason, attempts, generation, failing_since, *rest = fields
    left, error, created, reached, crashes, cancelled = rest
    return Email(
        id=email_id,
        status=status,
        version=version,
        claim_token=token,
        payload_file_path=payload,
        eml_file_path=eml,
        reason=reason,
        attempts=attempts,
        generation=generation,
        failing_for=0.0 if failing_since is None else max(0.0, (at - failing_since) / 1000),
        expired=left is not None and left <= 0,
        created_at=moment(created),
        reached_at=moment_or_none(reached),
        last_error=error,
        expires_in=None if left is None else left / 1000,
        crashes=crashes,
        cancelled=cancelled,
    )


def renew(connection: sqlite3.Connection, emails: Sequence[Email], lease: float) -> frozenset[str]:
    """Extend the leases of claims that still stand. No move: the version stays."""
    before = now(connection)
    claims = json.dumps([[email.id, email.status, email.version, email.claim_token] for email in emails])
    rows, ids = connection.execute(
        """SELECT json_group_array(emails.rowid), json_group_array(emails.id)
        FROM json_each(?) AS claim CROSS JOIN emails ON emails.id = claim.value ->> 0
        WHERE emails.status = claim.value ->> 1 AND emails.version = claim.value ->> 2
            AND emails.claim_token = claim.value ->> 3""",
        (claims,),
    ).fetchone()
    connection.execute(
        "UPDATE emails SET lease_until = ?, updated_at = ? WHERE rowid IN (SELECT value FROM json_each(?))",
        (before + milliseconds(lease), before, rows),
    )
    return frozenset(json.loads(ids))


def _write_history(connection: sqlite3.Connection, rows: str, at: int, note: str) -> None:
    """The history of moves just made, from the rows as they now stand."""
    connection.execute(
        """INSERT INTO email_status_history (email_id, status, reason, version, created_at)
        SELECT emails.id, status, :note, version, :now FROM json_each(:rows) AS moved CROSS JOIN emails
            ON emails.rowid = moved.value""",
        {"rows": rows, "note": note, "now": at},
    )
