"""Segments written by hand, for what reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mailculator.journal.framing import frame
from mailculator.journal.layout import directory_name, segment_name
from mailculator.journal.marks import Key, Kind, Mark, Opening, Reply, encode

INCARNATION = "0123456789abcdef" * 2
OTHER = "f" * 32
SECOND = 1000


def key(name: object) -> Key:
    return Key("mysql", str(name), 3)


def mark(kind: Kind, name: object, at: int = 0, reply: Reply | None = None) -> Mark:
    """Arguments: at: milliseconds, on both clocks."""
    return Mark(kind, key(name), at, at, reply)


def put(
    journal: Path,
    marks: Sequence[Mark],
    *,
    replica: str = "one",
    incarnation: str = INCARNATION,
    number: int = 1,
    modified: float | None = None,
    named: str | None = None,
) -> Path:
    """Arguments: named: the replica that the segment itself tells; modified: seconds since 1970."""
    path = journal / directory_name(replica) / segment_name(incarnation, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    opening = Opening(replica if named is None else named, incarnation, "1.0", 0, marks[0].wall if marks else 0)
    path.write_bytes(frame(encode(opening)) + b"".join(frame(encode(entry)) for entry in marks))
    if modified is not None:
        os.utime(path, (modified, modified))
    return path
