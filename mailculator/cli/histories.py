"""Whether the histories of some emails are whole: a sample, since a queue may hold many millions.

A gap stops nobody, the row decides. It says that somebody has deleted or written rows by hand, that a backup was
mixed with what came after it, or that there is a bug in us.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from mailculator.lifecycle import MOVES, TERMINAL
from mailculator.model import HistoryEntry, Row, Status
from mailculator.stores.base import Store

LOOKED_AT = 200
"""Emails of each store; a smaller queue is looked at whole."""
NAMED = 10
"""Of those with a finding, so many are named."""

_AT_ONCE = 8
_LONGEST = 1000
"""Versions of one email that are compared; a number beyond all reason is the row's trouble, not the history's."""
_FOLDED = re.compile(r"\d+ older lines are not kept")


@dataclass(frozen=True, slots=True)
class Sampled:
    """What came of a look.

    Arguments:
        looked_at: how many emails.
        wrong: id → what is wrong with its history, in words.
    """

    looked_at: int
    wrong: dict[str, str]


async def sample(store: Store, limit: int = LOOKED_AT) -> Sampled:
    """Look at up to `limit` emails from a random place on, in the order of ids; another run looks at others.

    Costs two queries for the page and one history each, whatever the queue's size. Errors: StoreError.
    """
    # Ids are UUIDs and mostly random, so that neighbours are of any age and in any status.
    start = str(uuid.uuid4())
    rows = await store.page(after=start, limit=limit)
    if len(rows) < limit:
        known = {row.id for row in rows}
        rows += [row for row in await store.page(limit=limit - len(rows)) if row.id not in known]
    wrong: dict[str, str] = {}
    for at in range(0, len(rows), _AT_ONCE):
        some = rows[at : at + _AT_ONCE]
        # Read after the rows: of what goes on meanwhile, a history may hold more, and never less.
        for row, history in zip(some, await asyncio.gather(*(store.history(row.id) for row in some)), strict=True):
            found = judge(row, history)
            if found is not None and await store.get(row.id) is not None:  # else it was deleted meanwhile
                wrong[row.id] = found
    return Sampled(len(rows), wrong)


def judge(row: Row, history: Sequence[HistoryEntry]) -> str | None:
    """What is wrong with an email's history, in words; None when it is whole.

    The versions must be 2 … the row's, and have one end but for requeues. Where another program has moved the email,
    the gap is its own; what a store has folded away is none.
    """
    if any(_is_foreign(entry) for entry in history):
        return None
    moves = sorted((entry.version, entry.status) for entry in history if entry.version is not None)
    versions = [version for version, _ in moves]
    first = versions[0] if versions and any(_is_fold(entry) for entry in history) else 2
    last = min(max([row.version, *versions]), first + _LONGEST)
    missing = sorted(set(range(first, last + 1)) - set(versions))
    if missing and _is_ours(row, versions):
        return f"lacks version {_ranges(missing)}"
    return _second_end(moves)


def _is_ours(row: Row, versions: Sequence[int]) -> bool:
    """Whether this program has ever moved it: only then are there rows that can be missing."""
    return bool(versions or row.reached_at or row.recipient_domain or row.claim_token)


def _is_foreign(entry: HistoryEntry) -> bool:
    return entry.version is None and entry.status != Status.ACCEPTED


def _is_fold(entry: HistoryEntry) -> bool:
    return entry.version is None and _FOLDED.fullmatch(entry.reason or "") is not None


def _second_end(moves: Sequence[tuple[int, str]]) -> str | None:
    """Where it goes on behind an end, and not by an operator's requeue."""
    for (version, at), (following, to) in itertools.pairwise(moves):
        if at in TERMINAL and following == version + 1 and to not in MOVES[Status(at)]:
            return f"goes from {at} to {to} at version {following}"
    return None


def _ranges(numbers: Sequence[int]) -> str:
    """`2, 5-7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(str(end) for end in run) for run in runs[:5]) + (", …" if len(runs) > 5 else "")
