"""Deletes segments that nobody will ask about any more. Blocking: call it in a thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mailculator.journal.framing import Records
from mailculator.journal.layout import Segment, replica_directories, segments
from mailculator.journal.marks import peek

_TAIL = 1 << 18
"""Octets at a segment's end in which its last mark is looked for; the longest record takes a quarter of them."""


def trim(journal: Path, retention: float, now: float, keep: Path | None) -> int:
    """Delete the segments of all replicas whose last mark is older than `retention`, then directories left empty.

    An incarnation's segments go from the oldest on, so that what is left has no gap: a gap means a loss to a reader.

    Arguments:
        journal: the directory of all replicas.
        retention: seconds.
        now: seconds since 1970. The newest segment of all is asked as well, and the earlier time counts: a replica
            whose clock runs ahead must not delete what the others still need.
        keep: the caller's open segment.

    Returns how many segments were deleted; one that cannot be is left for the next time. Errors: OSError when the
    journal itself cannot be read.
    """
    found = [(directory, _segments(directory)) for directory in replica_directories(journal)]
    every = [segment for _, incarnations in found for each in incarnations for segment in each]
    before = min(now, max((segment.modified for segment in every), default=now)) - retention
    deleted = 0
    for directory, incarnations in found:
        for each in incarnations:
            deleted += _trim_incarnation(each, before, keep)
        with suppress(OSError):  # not empty, or somebody else was faster
            directory.rmdir()
    return deleted


def _segments(directory: Path) -> list[Sequence[Segment]]:
    try:
        return list(segments(directory).values())
    except OSError:
        return []


def _trim_incarnation(each: Sequence[Segment], before: float, keep: Path | None) -> int:
    deleted = 0
    for segment in each:
        if segment.path == keep or segment.modified >= before:
            break
        try:
            if _last_mark(segment) >= before:
                break
            segment.path.unlink()
        except OSError:
            break
        deleted += 1
    return deleted


def _last_mark(segment: Segment) -> float:
    """When the last mark was made, by the clock of who made it; the file's own time where no mark can be read."""
    last = 0
    with segment.path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) > _TAIL:
            stream.seek(-_TAIL, os.SEEK_END)
            stream.readline()
        else:
            stream.seek(0)
        with suppress(ValueError):
            for payload in Records(stream):
                last = peek(payload)[2]
    return last / 1000 if last else segment.modified
