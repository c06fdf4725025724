"""Results in SQL: what a claim's holder writes down, and what a rescuer does in its place.

Groups travel as one JSON document, like claims (sqlite_claims), and are laid out in a table of the connection's own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence

from mailculator.lifecycle import STAMPS_REACHED, Move
from mailculator.model import Email
from mailculator.stores.base import Recorded
from mailculator.stores.sqlite_clock import milliseconds, now
from mailculator.stores.sqlite_overdue import OVERDUE, overdue_since

SCRATCH = """
CREATE TEMP TABLE moves (
    position INTEGER PRIMARY KEY, id TEXT, status TEXT, version INTEGER, token TEXT, first INTEGER,
    target TEXT, note TEXT, reason TEXT, error TEXT, delay INTEGER, counts INTEGER, failing INTEGER, park INTEGER,
    domain TEXT, forward INTEGER, reached INTEGER, crashes INTEGER, name TEXT, row INTEGER)"""
"""What the writer's connection needs once: where the moves are laid out that it was asked for."""

_FIND = """UPDATE temp.moves SET row = (
    SELECT emails.rowid FROM emails
    WHERE emails.id = moves.id AND emails.status = moves.status AND emails.version = moves.version AND {}
        AND NOT EXISTS (
            SELECT 1 FROM email_status_history AS taken
            WHERE taken.email_id = emails.id AND taken.version = emails.version + 1))
WHERE first"""


def record(connection: sqlite3.Connection, moves: Sequence[Move]) -> list[Recorded]:
    """Write the moves whose claim still stands; answer DONE for those and for what an earlier call had written."""
    before = now(connection)
    _lay_out(connection, moves, None)
    connection.execute(_FIND.format("emails.claim_token = moves.token"))
    _write(connection, before)
    return _answers(connection, moves)


def rescue(
    connection: sqlite3.Connection, moves: Sequence[Move], names: Callable[[Email], str], foreign_hold: float
) -> list[Recorded]:
    """Write the moves of rows that nobody holds any more, still; DONE for those and for what we had written before.

    Arguments:
        names: what goes into the row in the place of the token.
    """
    before = now(connection)
    _lay_out(connection, moves, names)
    connection.execute(
        _FIND.format(f"coalesce(emails.claim_token, '') = moves.token AND {OVERDUE}"),
        overdue_since(before, foreign_hold),
    )
    # Where the lease is not this version's, another program brought the row here: its tries are of earlier.
    connection.execute(
        """UPDATE emails SET attempts = 0, failing_since = NULL, last_error = NULL, crashes = 0
        FROM temp.moves WHERE emails.rowid = moves.row AND lease_version IS NOT emails.version"""
    )
    _write(connection, before)
    return _answers(connection, moves)


def _lay_out(connection: sqlite3.Connection, moves: Sequence[Move], names: Callable[[Email], str] | None) -> None:
    connection.execute("DELETE FROM temp.moves")
    connection.execute(
        """INSERT INTO temp.moves
        SELECT key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
            value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13,
            value ->> 14, value ->> 15, value ->> 16, value ->> 17, NULL
        FROM json_each(?)""",
        (_document(moves, names),),
    )


def _write(connection: sqlite3.Connection, at: int) -> None:
    """Move the rows that were found, and tell their history."""
    connection.execute(
        """UPDATE emails SET status = target, version = emails.version + 1, updated_at = :now,
            attempts = CASE WHEN forward THEN 0 WHEN counts THEN attempts ELSE max(attempts - 1, 0) END,
            failing_since = CASE WHEN forward THEN NULL WHEN failing THEN coalesce(failing_since, :now)
                ELSE failing_since END,
            last_error = CASE WHEN forward THEN NULL ELSE coalesce(error, last_error) END,
            due_at = :now + delay, parked = max(parked, park), reason = coalesce(moves.reason, emails.reason),
            reached_at = CASE WHEN reached THEN :now ELSE reached_at END,
            recipient_domain = coalesce(domain, recipient_domain), lease_until = NULL, lease_version = NULL,
            crashes = coalesce(moves.crashes, emails.crashes), claim_token = coalesce(name, claim_token)
        FROM temp.moves WHERE emails.rowid = moves.row""",
        {"now": at},
    )
    connection.execute(
        """INSERT INTO email_status_history (email_id, status, reason, version, created_at)
        SELECT id, target, note, version + 1, ? FROM temp.moves WHERE row IS NOT NULL ORDER BY position""",
        (at,),
    )


def _answers(connection: sqlite3.Connection, moves: Sequence[Move]) -> list[Recorded]:
    # Where nothing was written now, an earlier call whose reply was lost may have: then the history has this very move.
    # A rescue may have moved the row to the same place; its note, and until the next claim the token, tell it apart.
    # Two rescuers write the same note, so only the name tells whose it was.
    (done,) = connection.execute(
        """SELECT json_group_array(position) FROM temp.moves WHERE row IS NOT NULL OR EXISTS (
            SELECT 1 FROM email_status_history AS written JOIN emails ON emails.id = written.email_id
            WHERE written.email_id = moves.id AND written.version = moves.version + 1
                AND written.status = moves.target AND written.reason IS moves.note
                AND (emails.version > moves.version + 1 AND name IS NULL
                    OR emails.version = moves.version + 1 AND emails.claim_token = coalesce(name, moves.token)))""",
    ).fetchone()
    positions = frozenset(json.loads(done))
    return [Recorded.DONE if position in positions else Recorded.LOST for position in range(len(moves))]


def _document(moves: Sequence[Move], names: Callable[[Email], str] | None) -> str:
    seen: set[tuple[str, int, str]] = set()
    lines = []
    for move in moves:
        claim_ = (move.email.id, move.email.version, move.email.claim_token)
        name = None if names is None else names(move.email)
        lines.append(_line(move, first=claim_ not in seen, name=name))
        seen.add(claim_)
    return json.dumps(lines)


def _line(move: Move, *, first: bool, name: str | None) -> list[str | int | None]:
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
        move.crashes,
        name,
    ]
