"""What becomes of emails whose holder is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from mailculator.lifecycle import Outcome, Rescued
from mailculator.stores.base import Overdue

Judge = Callable[[Sequence[Overdue]], Awaitable[Sequence[Outcome]]]
"""Says what became of overdue emails: one outcome each, in order."""


async def put_back(found: Sequence[Overdue]) -> list[Outcome]:
    """The judge who knows nothing of what their holders did: one step back, for another try."""
    return [Rescued(note_on(one)) for one in found]


def note_on(one: Overdue) -> str:
    """Why it is taken from its holder, for the history."""
    return f"rescued: the lease of {one.holder} expired" if one.holder else "rescued: no sign of its holder"
