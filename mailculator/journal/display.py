"""A segment for people: one line a mark."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailculator.journal.errors import JournalBroken, words
from mailculator.journal.framing import Records
from mailculator.journal.marks import Mark, Opening, decode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def describe(path: Path) -> Iterator[str]:
    """The marks of a segment, oldest first, and in a last line what follows them, if that is no mark.

    Errors: JournalBroken when the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            records = Records(stream)
            for payload in records:
                try:
                    yield _line(decode(payload))
                except (ValueError, OverflowError) as error:
                    records.reject(str(error))
    except OSError as error:
        raise JournalBroken(path.parent, f"cannot be read: {path.name}: {words(error)}") from error
    if records.damage is not None:
        yield records.damage
    elif records.torn:
        yield "the last record is incomplete: the process or the machine stopped while it was written"


def _line(entry: Mark | Opening) -> str:
    at = (_EPOCH + timedelta(milliseconds=entry.wall)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(entry, Opening):
        return f"{at} SEGMENT of {entry.replica!r}, incarnation {entry.incarnation}, mailculator {entry.software}"
    key = entry.key
    reply = "" if entry.reply is None else f": {entry.reply.code} {entry.reply.text!r}"
    return f"{at} {entry.kind:5} {key.store!r} {key.email_id!r} version {key.version}{reply}"
