"""Which emails `queue list` shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailculator.model import Row, Status
    from mailculator.stores.base import Store

PAGE = 500
"""Emails that are looked at at once, where few of them may be wanted."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Arguments:
        status: only this one.
        parked: only what is set aside.
        unknown: only mail that the relay may have.
        after: only ids behind this one; "" = all.
        limit: emails at the most.
    """

    status: Status | None
    parked: bool
    unknown: bool
    after: str
    limit: int

    @property
    def narrow(self) -> bool:
        """Whether less than everything was asked for."""
        return bool(self.status or self.parked or self.unknown or self.after)


async def rows(queue: Store, wanted: Wanted) -> list[Row]:
    """In the order of their ids. Errors: StoreError."""
    parked, after = wanted.parked or None, wanted.after or None
    if not wanted.unknown:
        return await queue.page(wanted.status, parked=parked, after=after, limit=wanted.limit)
    found: list[Row] = []
    for status in _statuses(wanted.status):
        found += [row async for row in _unknown(queue, status, wanted)]
    return sorted(found, key=lambda row: row.id)[: wanted.limit]


def _statuses(only: Status | None) -> tuple[Status, ...]:
    """Where such mail can stand: waiting for another try, or failed."""
    from mailculator.model import Status

    if only is not None:
        return (only,)
    failed = (Status.FAILED, Status.CALLING_FAILED_CALLBACK, Status.FAILED_ACKNOWLEDGED)
    return (Status.READY, Status.PROCESSING, *failed)


async def _unknown(queue: Store, status: Status, wanted: Wanted) -> AsyncIterator[Row]:
    """Up to `limit` of one status."""
    from mailculator.lifecycle import says_unknown

    after, left = wanted.after or None, wanted.limit
    while left:
        page = await queue.page(status, parked=wanted.parked or None, after=after, limit=PAGE)
        for row in page:
            if left and (says_unknown(row.last_error) or says_unknown(row.reason)):
                left -= 1
                yield row
        if len(page) < PAGE:
            return
        after = page[-1].id
