"""The two ends of an email's life in the tables: its insert, and its delete when it is done and past its ttl."""

from __future__ import annotations

from collections.abc import Sequence

from mailculator.lifecycle import TERMINAL
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Enqueued
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import Line, chunks, write_history

_INSERT_EMAILS = "INSERT INTO emails (id, status, payload_file_path, ttl) VALUES"


async def enqueue(session: Session, emails: Sequence[NewEmail]) -> list[Enqueued]:
    """Insert those that are new; of one id twice in the same call, the first.

    Errors: DuplicateRow when somebody else inserts one of them meanwhile; then none of them is.
    """
    there: set[str] = set()
    for chunk in chunks(emails):
        found = await session.execute("SELECT id FROM emails WHERE id IN %s", ([email.id for email in chunk],))
        there.update(email_id for (email_id,) in found.rows)
    answers: list[Enqueued] = []
    fresh: list[NewEmail] = []
    for email in emails:
        answers.append(Enqueued.EXISTS if email.id in there else Enqueued.CREATED)
        if email.id not in there:
            fresh.append(email)
            there.add(email.id)
    for chunk in chunks(fresh):
        await session.execute(
            f"{_INSERT_EMAILS} {', '.join(['%s'] * len(chunk))}",
            [(email.id, Status.ACCEPTED, email.payload_file_path, email.ttl) for email in chunk],
        )
    await write_history(session, [Line(email.id, Status.ACCEPTED, "enqueued", None) for email in fresh])
    return answers


async def purge(session: Session, limit: int) -> int:
    """Delete terminal rows past their ttl that nobody has locked."""
    found = await session.execute(
        "SELECT id FROM emails WHERE status IN %s AND ttl <= UNIX_TIMESTAMP() LIMIT %s FOR UPDATE SKIP LOCKED",
        (sorted(TERMINAL), limit),
    )
    ids = [email_id for (email_id,) in found.rows]
    if ids:
        # The history goes with its email: ON DELETE CASCADE.
        await session.execute("DELETE FROM emails WHERE id IN %s", (ids,))
    return len(ids)
