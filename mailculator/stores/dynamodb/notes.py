"""What is too long for a line of history: in records of our own, beside the email's."""

from __future__ import annotations

from collections.abc import Mapping

from mailculator.errors import StoreError
from mailculator.model import HistoryEntry
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.draft import milliseconds
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Put

OP = "note"
GRACE = 86_400
"""Seconds by which a note outlives its email."""


def _id(email_id: str) -> str:
    return f"{layout.OWN_ID}.note#{email_id}"


def of_move(version: int) -> str:
    """The name of a move's note."""
    return f"v{version:010}"


def of_mark(at: int) -> str:
    """The name of the note of a line that has no version, which is told by its time, in epoch milliseconds."""
    return f"n{at:015}"


def of_line(line: HistoryEntry) -> str:
    """The name of the note of a line of history."""
    return of_mark(milliseconds(line.created_at.timestamp())) if line.version is None else of_move(line.version)


async def keep(session: Session, email_id: str, name: str, note: str | None, *, expires_in: float | None) -> None:
    """Keep a note in full, if its line of history is too short for it.

    The line is on record already: losing the rest of a sentence must not undo it, so that an error is not passed on.
    """
    if note is None or len(note.encode()) <= history.NOTE_BYTES:
        return
    until = layout.FAR if expires_in is None else int(session.now() + max(expires_in, 0.0) + GRACE)
    item = {layout.ID: _id(email_id), layout.STATUS: name, layout.TTL: until, "Note": note}
    try:
        await session.table.put(OP, Put(item))
    except StoreError as error:
        session.notice("note_lost", email_id, f"{error}; it said: {note}")


async def read(session: Session, email_id: str) -> Mapping[str, str]:
    """Notes in full, by name. Errors: StoreError."""
    page = await session.table.query(OP, Where("{Id} = :id", {"id": _id(email_id)}))
    return {item[layout.STATUS]: item["Note"] for item in page.items if isinstance(item.get("Note"), str)}
