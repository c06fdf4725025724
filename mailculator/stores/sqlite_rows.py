"""Rows as producers and operators see them, in SQL: putting them in, looking at them, deleting them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mailculator.lifecycle import TERMINAL, UNKNOWN, WAITING
from mailculator.model import HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores.base import Enqueued
from mailculator.stores.sought import Sought
from mailculator.stores.sqlite_clock import moment, moment_or_none, now

_EMAILS = """SELECT id, status, version, payload_file_path, eml_file_path, reason, last_error, recipient_domain,
    attempts, generation, parked, claimed_by, claim_token, ttl, created_at, updated_at, due_at, lease_until, reached_at,
    crashes, cancelled
FROM emails WHERE {ours}"""
OURS = "+status IN ({})".format(", ".join(f"'{status}'" for status in Status))
"""A status that nobody knows makes a row nobody's here. The plus keeps the index on statuses out of it."""
_EMAILS = _EMAILS.format(ours=OURS)
UNKNOWN_ONES = " OR ".join(f"substr({column}, 1, {len(UNKNOWN)}) = '{UNKNOWN}'" for column in ("last_error", "reason"))
"""Word for word as the index emails_unknown has it, or it would not be used."""


def enqueue(connection: sqlite3.Connection, emails: Sequence[NewEmail]) -> list[Enqueued]:
    """Insert those that are new; of one id twice in the same call, the first."""
    entries = {email.id: [email.id, email.payload_file_path, email.ttl] for email in reversed(emails)}
    (known,) = connection.execute(
        "SELECT json_group_array(id) FROM emails WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(entries)),),
    ).fetchone()
    for email_id in json.loads(known):
        del entries[email_id]
    new = {"emails": json.dumps([entries[id_] for id_ in reversed(entries)]), "now": now(connection)}
    connection.execute(
        """INSERT INTO emails (id, status, payload_file_path, ttl, created_at, updated_at, due_at)
        SELECT value ->> 0, 'ACCEPTED', value ->> 1, value ->> 2, :now, :now, :now FROM json_each(:emails)""",
        new,
    )
    connection.execute(
        """INSERT INTO email_status_history (email_id, status, reason, created_at)
        SELECT value ->> 0, 'ACCEPTED', 'enqueued', :now FROM json_each(:emails)""",
        new,
    )
    return [Enqueued.CREATED if entries.pop(email.id, None) else Enqueued.EXISTS for email in emails]


def get(connection: sqlite3.Connection, email_id: str) -> Row | None:
    """One email as it stands."""
    found = connection.execute(_EMAILS + " AND id = ?", (stored_id(connection, email_id),)).fetchone()
    return None if found is None else _row(found)


def stored_id(connection: sqlite3.Connection, email_id: str) -> str | None:
    """The id as it stands in the row; an operator may have it from somewhere in upper case."""
    asked = {"id": email_id, "lower": email_id.lower(), "upper": email_id.upper()}
    found = connection.execute(
        "SELECT id FROM emails WHERE id IN (:id, :lower, :upper) ORDER BY id = :id DESC LIMIT 1", asked
    ).fetchone()
    return None if found is None else str(found[0])


def page(connection: sqlite3.Connection, sought: Sought, limit: int) -> list[Row]:
    """Emails in the order of their ids."""
    conditions: list[tuple[str, object]] = []
    if sought.among is not None:
        # Also where none was named: the index that knows what is parked needs to be told.
        among = "status IN (SELECT value FROM json_each(?))"
        # The plus keeps the index on statuses out of it.
        conditions.append(("+" + among if sought.unknown else among, json.dumps(sorted(sought.among))))
    if sought.parked is not None:
        conditions.append(("parked = ?", sought.parked))
    if sought.domain is not None:
        conditions.append(("recipient_domain = ?", sought.domain))
    if sought.after is not None:
        conditions.append(("id > ?", sought.after))
    where = "".join(f" AND {condition}" for condition, _ in conditions)
    found = connection.execute(
        _EMAILS + (f" AND ({UNKNOWN_ONES})" if sought.unknown else "") + where + " ORDER BY id LIMIT ?",
        (*(value for _, value in conditions), max(limit, 0)),
    )
    return [_row(fields) for fields in found]


def _row(fields: tuple[Any, ...]) -> Row:
    email_id, status, *plain, created, updated, due, lease, reached, crashes, cancelled = fields
    version, payload, eml, reason, error, domain, attempts, generation, parked, holder, token, ttl = plain
    return Row(
        id=email_id,
        status=Status(status),
        version=version,
        payload_file_path=payload,
        eml_file_path=eml,
        reason=reason,
        last_error=error,
        recipient_domain=domain,
        attempts=attempts,
        generation=generation,
        parked=bool(parked),
        claimed_by=holder,
        claim_token=token,
        ttl=ttl,
        created_at=moment(created),
        updated_at=moment(updated),
        due_at=moment(due),
        lease_until=moment_or_none(lease),
        reached_at=moment_or_none(reached),
        crashes=crashes,
        cancelled=cancelled,
    )


def history(connection: sqlite3.Connection, email_id: str) -> list[HistoryEntry]:
    """The history of one email, oldest first."""
    found = connection.execute(
        "SELECT status, version, reason, created_at FROM email_status_history WHERE email_id = ? ORDER BY id",
        (stored_id(connection, email_id),),
    )
    return [HistoryEntry(status, version, reason, moment(created)) for status, version, reason, created in found]


def counts(connection: sqlite3.Connection, terminal: bool) -> Mapping[Status, StatusCount]:
    """Emails per status, from the index alone."""
    asked = [status for status in Status if terminal or status not in TERMINAL]
    at = now(connection)
    found = connection.execute(
        """SELECT status, count(*), sum(parked), min(CASE WHEN parked = 0 OR status NOT IN (
            SELECT value FROM json_each(:waiting)) THEN due_at END)
        FROM emails WHERE status IN (SELECT value FROM json_each(:asked)) GROUP BY status""",
        {"waiting": json.dumps(sorted(WAITING)), "asked": json.dumps(asked)},
    )
    result = dict.fromkeys(asked, StatusCount(0))
    for status, count, parked, oldest in found:
        age = 0.0 if oldest is None else max(0.0, (at - oldest) / 1000)
        result[Status(status)] = StatusCount(count, parked, age)
    return MappingProxyType(result)


_STATUSES = """WITH RECURSIVE found (status) AS (
    SELECT min(status) FROM emails
    UNION ALL
    SELECT (SELECT min(status) FROM emails WHERE status > found.status) FROM found WHERE found.status IS NOT NULL
)
SELECT status FROM found WHERE status IS NOT NULL"""
"""From one to the next by the index: a DISTINCT would read all of it."""


def unknown(connection: sqlite3.Connection, limit: int = 20) -> tuple[tuple[str, ...], int]:
    """The first `limit` ids of rows in a status that nobody here knows, and how many there are."""
    statuses = {str(status) for status in Status}
    foreign = json.dumps([status for (status,) in connection.execute(_STATUSES) if status not in statuses])
    (count,) = connection.execute(
        "SELECT count(*) FROM emails WHERE status IN (SELECT value FROM json_each(?))", (foreign,)
    ).fetchone()
    ids = connection.execute(
        "SELECT id FROM emails WHERE status IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?", (foreign, limit)
    )
    return tuple(email_id for (email_id,) in ids), count


def purge(connection: sqlite3.Connection, limit: int) -> int:
    """Delete terminal rows past their ttl; the foreign key takes their history along."""
    return connection.execute(
        """DELETE FROM emails WHERE rowid IN (
            SELECT rowid FROM emails WHERE status IN (SELECT value FROM json_each(?)) AND ttl < ? LIMIT ?)""",
        (json.dumps(sorted(TERMINAL)), now(connection) // 1000, limit),
    ).rowcount
