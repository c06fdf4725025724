"""Which attempt each step of an email's history belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from mailculator.lifecycle import MOVES, STAGE_BY_WORKING, WORKING
from mailculator.model import HistoryEntry, Status

_STATUSES = frozenset(map(str, Status))


def attempts(history: Sequence[HistoryEntry]) -> list[int | None]:
    """For each line: the how-manieth time it was that the email had been taken up at that stage, since it came there.

    Every claim counts, told by its move alone. The row's own count of tries may be lower: one is taken back there where
    nothing was begun or something around the mail was away, and an operator's release sets it to nothing; no move says
    so. A requeue brings an email to its stage anew.

    None for what belongs to no attempt (a note, a requeue), and for what follows upon moves that are not there, of
    another program or no longer kept, until the email comes to a stage again.

    Arguments:
        history: all of it, oldest first.
    """
    found: list[int | None] = []
    at, version = Status.ACCEPTED, 1
    count: int | None = 0
    for line in history:
        if line.version is None or line.status not in _STATUSES:
            found.append(None)
            continue
        origin, at = at, Status(line.status)
        follows = line.version == version + 1 and at in MOVES[origin]
        version = line.version
        if not follows:
            count = None
        elif at in WORKING and count is not None:
            count += 1
        tried = STAGE_BY_WORKING.get(at if at in WORKING else origin)
        found.append(count if tried is not None else None)
        if follows and at not in WORKING and (tried is None or at is not tried.waiting):
            count = 0  # it has come to another stage
    return found
