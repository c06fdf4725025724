"""What an operator does to single emails, in SQL: the one move of a requeue, and marks that are no moves."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailculator.lifecycle import REQUEUES, UNSENT, WAITING, clean
from mailculator.model import Status
from mailculator.stores.base import Steered
from mailculator.stores.sqlite_clock import milliseconds, now
from mailculator.stores.sqlite_oddities import VERSION_LIMIT
from mailculator.stores.sqlite_rows import OURS, stored_id

_STANDING = f"SELECT id, status, version FROM emails WHERE id = ? AND {OURS}"  # noqa: S608  # constants

_SET = "UPDATE emails SET {} WHERE id = :id AND {} AND status IN (SELECT value FROM json_each(:among))"


@dataclass(frozen=True, slots=True)
class Mark:
    """What is set where, without a move.

    Arguments:
        verb: the store's.
        past: what was done, for the note (`parked by …`).
        where: whether it concerns a row.
        sets: the assignments.
        among: the statuses it can be done in.
    """

    verb: str
    past: str
    where: str
    sets: str
    among: frozenset[Status]


RELEASE = Mark(
    "release",
    "released",
    "parked",
    "parked = 0, due_at = :now, attempts = 0, failing_since = NULL, crashes = 0",
    frozenset(Status),
)
PARK = Mark("park", "parked", "NOT parked", "parked = 1", WAITING)
HASTEN = Mark("hasten", "hastened", "NOT parked AND due_at > :now", "due_at = :now", WAITING)
CANCEL = Mark("cancel", "cancelled", "cancelled IS NULL", "cancelled = :why, parked = 0, due_at = :now", UNSENT)


def requeue(
    connection: sqlite3.Connection, ids: Sequence[str], who: str, why: str, ttl_extension: float
) -> list[Steered]:
    """Move each along lifecycle.REQUEUES."""
    at = now(connection)
    note = clean(f"requeued by {who}: {why}")

    def steer(email_id: str, status: Status, version: int) -> bool:
        target = REQUEUES.get(status)
        if target is None or not 1 <= version < VERSION_LIMIT or _in_history(connection, email_id, version + 1):
            return False
        connection.execute(
            """UPDATE emails SET status = :target, version = version + 1, updated_at = :now, due_at = :now, parked = 0,
                attempts = 0, failing_since = NULL, last_error = NULL, crashes = 0, cancelled = NULL,
                claim_token = NULL, lease_until = NULL, lease_version = NULL,
                generation = generation + :anew, reached_at = CASE WHEN :anew THEN NULL ELSE reached_at END,
                ttl = CASE WHEN ttl * 1000 <= :now THEN (:now + :extension) / 1000 ELSE ttl END
            WHERE id = :id""",
            {
                "id": email_id,
                "target": target,
                "now": at,
                "anew": target in (Status.ACCEPTED, Status.READY),
                "extension": milliseconds(ttl_extension),
            },
        )
        _note(connection, email_id, target, note, at, version + 1)
        return True

    return _steer_each(connection, ids, steer)


def mark(connection: sqlite3.Connection, what: Mark, ids: Sequence[str], who: str, why: str) -> list[Steered]:
    """Set it on each that it concerns. No move: the version stays, and the history gets a note."""
    at = now(connection)
    note = clean(f"{what.past} by {who}: {why}")
    statement = _SET.format(what.sets, what.where)
    named = {"now": at, "why": clean(why), "among": json.dumps(sorted(what.among))}

    def steer(email_id: str, status: Status, _version: int) -> bool:
        done = connection.execute(statement, {**named, "id": email_id}).rowcount > 0
        if done:
            _note(connection, email_id, status, note, at, None)
        return done

    return _steer_each(connection, ids, steer)


def _steer_each(
    connection: sqlite3.Connection, ids: Sequence[str], steer: Callable[[str, Status, int], bool]
) -> list[Steered]:
    answers = []
    for asked in ids:
        found = connection.execute(_STANDING, (stored_id(connection, asked),)).fetchone()
        if found is None:
            answers.append(Steered.MISSING)
        else:
            email_id, status, version = found
            done = steer(email_id, Status(status), version)
            answers.append(Steered.DONE if done else Steered.NOT_APPLICABLE)
    return answers


def _in_history(connection: sqlite3.Connection, email_id: str, version: int) -> bool:
    found = connection.execute(
        "SELECT 1 FROM email_status_history WHERE email_id = ? AND version = ?", (email_id, version)
    ).fetchone()
    return found is not None


def _note(
    connection: sqlite3.Connection, email_id: str, status: Status, reason: str, at: int, version: int | None
) -> None:
    connection.execute(
        "INSERT INTO email_status_history (email_id, status, reason, created_at, version) VALUES (?, ?, ?, ?, ?)",
        (email_id, status, reason, at, version),
    )
