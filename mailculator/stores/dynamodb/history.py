"""An email's history as it stands in its record: a list of short lines, the oldest of them folded into a count.

A line is `version|STATUS|milliseconds|note`. A line without a version is a note and no move. `@name` as a note means
`claimed by name`: three lines of every email say that, and each byte of a record counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mailculator.model import HistoryEntry
from mailculator.stores.dynamodb.layout import HISTORY_KEPT

NOTE_BYTES = 96
"""Of a note within the record; a longer one stands in full in a record of its own."""

_CLAIMED = "claimed by "


def line(version: int | None, status: str, at: float, note: str | None) -> str:
    """One line. `at` in epoch seconds."""
    short = clip(note or "", NOTE_BYTES)
    if short.startswith(_CLAIMED):
        short = "@" + short.removeprefix(_CLAIMED)
    return f"{'' if version is None else version}|{status}|{round(at * 1000)}|{short}"


def entry(text: object) -> HistoryEntry | None:
    """A line read back; None for what is no line of ours."""
    if not isinstance(text, str):
        return None
    version, *rest = text.split("|", 3)
    if len(rest) != 3 or not rest[1].isdecimal() or not (version == "" or version.isdecimal()):
        return None
    status, milliseconds, note = rest
    if note.startswith("@"):
        note = _CLAIMED + note[1:]
    try:
        at = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return HistoryEntry(status, int(version) if version else None, note or None, at)


def entries(lines: Sequence[object]) -> list[HistoryEntry]:
    """All lines that are ours, in their order."""
    return [found for text in lines if (found := entry(text)) is not None]


def fold(lines: Sequence[str]) -> tuple[list[str], int]:
    """The newest HISTORY_KEPT lines, and how many older ones were left out."""
    surplus = max(0, len(lines) - HISTORY_KEPT)
    return list(lines[surplus:]), surplus


def clip(text: str, size: int) -> str:
    """At most `size` bytes of UTF-8, cut between characters."""
    data = text.encode()
    return text if len(data) <= size else data[:size].decode(errors="ignore")
