"""What is too long for a line of history: in records of our own, beside the email's."""

from __future__ import annotations

from collections.abc import Mapping

from mailculator.errors import StoreError
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Put

OP = "note"
GRACE = 86_400
"""Seconds by which a note outlives its email."""


def _id(email_id: str) -> str:
    return f"{layout.OWN_ID}.note#{email_id}"


async def keep(session: Session, email_id: str, version: int, note: str | None, *, expires_in: float | None) -> None:
    """Keep a note in full, if its line of history is too short for it.

    The move is on record already: losing the rest of a sentence must not undo it, so that an error is not passed on.
    """
    if note is None or len(note.encode()) <= history.NOTE_BYTES:
        return
    until = layout.FAR if expires_in is None else int(session.now() + max(expires_in, 0.0) + GRACE)
    item = {layout.ID: _id(email_id), layout.STATUS: f"v{version:010}", layout.TTL: until, "Note": note}
    try:
        await session.table.put(OP, Put(item))
    except StoreError as error:
        session.notice("note_lost", email_id, f"{error}; it said: {note}")


async def read(session: Session, email_id: str) -> Mapping[int, str]:
    """Notes in full, by version. Errors: StoreError."""
    page = await session.table.query(OP, Where("{Id} = :id", {"id": _id(email_id)}))
    return {
        int(item[layout.STATUS][1:]): item["Note"]
        for item in page.items
        if isinstance(item.get("Note"), str) and item[layout.STATUS][1:].isdecimal()
    }
