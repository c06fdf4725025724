"""Claims and what follows from them, in SQL, each verb within a transaction that somebody else opens and commits.

Groups travel as one JSON document in each direction. Python's sqlite3 gives the interpreter lock away and waits for it
again at every row that it binds or fetches; beside a busy event loop, five hundred rows one by one would take seconds.

A row whose next version is in its history already cannot be moved: the history would have to lie. Such a row, and any
other that nobody can work on, spoils neither its group nor, as the oldest that is due, every claim after it (G14): a
claim parks it and a rescue leaves it for later, each with the reason, where an operator sees it.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    SENT_CALLBACK,
    STAGE_BY_WORKING,
    STAMPS_REACHED,
    WORKING,
    Move,
    Stage,
    clean,
)
from mailculator.model import Email, Status
from mailculator.stores.base import Recorded, Rescue
from mailculator.stores.sqlite_clock import milliseconds, moment, moment_or_none, now
from mailculator.stores.sqlite_oddities import NO_TEXT, odd_rows

SCRATCH = """
CREATE TEMP TABLE moves (
    position INTEGER PRIMARY KEY, id TEXT, status TEXT, version INTEGER, token TEXT, first INTEGER,
    target TEXT, note TEXT, reason TEXT, error TEXT, delay INTEGER, counts INTEGER, failing INTEGER, park INTEGER,
    domain TEXT, forward INTEGER, reached INTEGER, row INTEGER)"""
"""What the writer's connection needs once: where `record` lays out the moves it was asked for."""

_BACK = json.dumps({stage.working: stage.waiting for stage in STAGE_BY_WORKING.values()})


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
        """SELECT json_group_array(json_array(emails.id, version, payload_file_path, eml_file_path, reason, attempts,
            generation, failing_since, ttl * 1000 - :now, last_error, created_at, reached_at))
        FROM json_each(:rows) AS claimed CROSS JOIN emails ON emails.rowid = claimed.value""",
        named,
    ).fetchone()
    return [_email(fields, stage.working, token, before) for fields in json.loads(claimed)]


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
        """UPDATE emails SET attempts = 0, failing_since = NULL, last_error = NULL
        WHERE rowid IN (SELECT value FROM json_each(?))
            AND (attempts <> 0 OR failing_since IS NOT NULL OR last_error IS NOT NULL) AND NOT EXISTS (
                SELECT 1 FROM email_status_history AS ours
                WHERE ours.email_id = emails.id AND ours.version = emails.version)""",
        (rows,),
    )


def _email(fields: list[Any], status: Status, token: str, at: int) -> Email:
    email_id, version, payload, eml, reason, attempts, generation, failing_since, left, error, created, reached = fields
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
    )


def record(connection: sqlite3.Connection, moves: Sequence[Move]) -> list[Recorded]:
    """Write the moves whose claim still stands; answer DONE for those and for what an earlier call had written."""
    before = now(connection)
    connection.execute("DELETE FROM temp.moves")
    connection.execute(
        """INSERT INTO temp.moves
        SELECT key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13,
            value ->> 14, value ->> 15, NULL
        FROM json_each(?)""",
        (_document(moves),),
    )
    connection.execute(
        """UPDATE temp.moves SET row = (
            SELECT emails.rowid FROM emails
            WHERE emails.id = moves.id AND emails.status = moves.status AND emails.version = moves.version
                AND emails.claim_token = moves.token AND NOT EXISTS (
                SELECT 1 FROM email_status_history AS taken
                WHERE taken.email_id = emails.id AND taken.version = emails.version + 1))
        WHERE first""",
    )
    connection.execute(
        """UPDATE emails SET status = target, version = emails.version + 1, updated_at = :now,
            attempts = CASE WHEN forward THEN 0 WHEN counts THEN attempts ELSE max(attempts - 1, 0) END,
            failing_since = CASE WHEN forward THEN NULL WHEN failing THEN coalesce(failing_since, :now)
                ELSE failing_since END,
            last_error = CASE WHEN forward THEN NULL ELSE coalesce(error, last_error) END,
            due_at = :now + delay, parked = max(parked, park), reason = coalesce(moves.reason, emails.reason),
            reached_at = CASE WHEN reached THEN :now ELSE reached_at END,
            recipient_domain = coalesce(domain, recipient_domain), lease_until = NULL, lease_version = NULL
        FROM temp.moves WHERE emails.rowid = moves.row""",
        {"now": before},
    )
    connection.execute(
        """INSERT INTO email_status_history (email_id, status, reason, version, created_at)
        SELECT id, target, note, version + 1, ? FROM temp.moves WHERE row IS NOT NULL ORDER BY position""",
        (before,),
    )
    # Where nothing was written now, an earlier call whose reply was lost may have: then the history has this very move.
    # A rescue may have moved the row to the same place; its note, and until the next claim the token, tell it apart.
    (done,) = connection.execute(
        """SELECT json_group_array(position) FROM temp.moves WHERE row IS NOT NULL OR EXISTS (
            SELECT 1 FROM email_status_history AS written JOIN emails ON emails.id = written.email_id
            WHERE written.email_id = moves.id AND written.version = moves.version + 1
                AND written.status = moves.target AND written.reason IS moves.note
                AND (emails.version > moves.version + 1
                    OR emails.version = moves.version + 1 AND emails.claim_token = moves.token))""",
    ).fetchone()
    positions = frozenset(json.loads(done))
    return [Recorded.DONE if position in positions else Recorded.LOST for position in range(len(moves))]


def _document(moves: Sequence[Move]) -> str:
    seen: set[tuple[str, int, str]] = set()
    lines = []
    for move in moves:
        claim_ = (move.email.id, move.email.version, move.email.claim_token)
        lines.append(_line(move, first=claim_ not in seen))
        seen.add(claim_)
    return json.dumps(lines)


def _line(move: Move, *, first: bool) -> list[str | int | None]:
    email = move.email
    return [
        email.id,
        email.status,
        email.version,
        email.claim_token,
        int(first),
        move.to,
        move.note,
        move.reason,
        move.error,
        0 if move.forward else milliseconds(move.delay),
        int(move.counts),
        int(move.failing),
        int(move.park),
        move.domain,
        int(move.forward),
        int(move.forward and move.to in STAMPS_REACHED),
    ]


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


def rescue(connection: sqlite3.Connection, limit: int, foreign_hold: float) -> list[Rescue]:
    """Give back what its holder has let go of. The token goes, so that nothing the holder still writes can match."""
    before = now(connection)
    rows = _expired(connection, before, limit, foreign_hold)
    (found,) = connection.execute(
        """SELECT json_group_array(json_array(
            emails.rowid, emails.id, status, CASE WHEN lease_version = version THEN claimed_by END))
        FROM json_each(?) AS expired CROSS JOIN emails ON emails.rowid = expired.value""",
        (rows,),
    ).fetchone()
    rescues = []
    steps: dict[str, list[int]] = {}
    for number, email_id, status, holder in json.loads(found):
        origin = Status(status)
        rescues.append(Rescue(email_id, origin, STAGE_BY_WORKING[origin].waiting, holder))
        note = clean(f"rescued: the lease of {holder} expired") if holder else "rescued: no sign of its holder"
        steps.setdefault(note, []).append(number)
    for note, numbers in steps.items():
        _step_back(connection, json.dumps(numbers), before, note)
    return rescues


def _expired(connection: sqlite3.Connection, at: int, limit: int, foreign_hold: float) -> str:
    """Row numbers of what nobody holds any more; what cannot be moved is left for later, with the reason."""
    named = {"working": json.dumps(sorted(WORKING)), "now": at, "hold": milliseconds(foreign_hold), "limit": limit}
    while True:
        (rows,) = connection.execute(
            """SELECT json_group_array(number) FROM (
                SELECT rowid AS number FROM emails WHERE status IN (SELECT value FROM json_each(:working))
                    AND CASE WHEN lease_version = version AND lease_until IS NOT NULL THEN lease_until < :now
                        ELSE updated_at < :now - :hold END
                LIMIT :limit)""",
            named,
        ).fetchone()
        # An id that is no text stops no rescue; the claim after it parks the row.
        odd = {number: why for number, why in odd_rows(connection, rows).items() if why != NO_TEXT}
        if not odd:
            return str(rows)
        later = at + milliseconds(max(foreign_hold, 60.0))
        connection.executemany(
            "UPDATE emails SET lease_until = ?, lease_version = version, last_error = ? WHERE rowid = ?",
            [(later, why, number) for number, why in odd.items()],
        )


def _step_back(connection: sqlite3.Connection, rows: str, at: int, note: str) -> None:
    connection.execute(
        """UPDATE emails SET status = (SELECT value FROM json_each(:back) WHERE key = emails.status),
            version = version + 1, updated_at = :now, due_at = :now,
            claim_token = NULL, lease_until = NULL, lease_version = NULL,
            -- Where the lease is not this version's, another program brought the row here: its tries are of earlier.
            attempts = CASE WHEN lease_version = version THEN attempts ELSE 0 END,
            failing_since = CASE WHEN lease_version = version THEN failing_since END,
            last_error = CASE WHEN lease_version = version THEN last_error END
        WHERE rowid IN (SELECT value FROM json_each(:rows))""",
        {"now": at, "rows": rows, "back": _BACK},
    )
    _write_history(connection, rows, at, note)


def _write_history(connection: sqlite3.Connection, rows: str, at: int, note: str) -> None:
    """The history of moves just made, from the rows as they now stand."""
    connection.execute(
        """INSERT INTO email_status_history (email_id, status, reason, version, created_at)
        SELECT emails.id, status, :note, version, :now FROM json_each(:rows) AS moved CROSS JOIN emails
            ON emails.rowid = moved.value""",
        {"rows": rows, "note": note, "now": at},
    )
