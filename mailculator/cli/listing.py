"""Which emails `queue list` shows, and an action by filter finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailculator.cli import output

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
        domain: only those to this recipient domain, in A-label form; "" = all.
    """

    status: Status | None
    parked: bool
    unknown: bool
    after: str
    limit: int
    domain: str = ""

    @property
    def narrow(self) -> bool:
        """Whether less than everything was asked for."""
        return bool(self.status or self.parked or self.unknown or self.after or self.domain)


async def rows(queue: Store, wanted: Wanted) -> list[Row]:
    """In the order of their ids. Errors: StoreError."""
    parked, after = wanted.parked or None, wanted.after or None
    if not wanted.unknown:
        domain = wanted.domain or None
        return await queue.page(wanted.status, parked=parked, domain=domain, after=after, limit=wanted.limit)
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
    left = wanted.limit
    async for page in pages(queue, status, wanted):
        for row in page[:left]:
            yield row
        left -= len(page)
        if left <= 0:
            return


async def pages(queue: Store, status: Status, wanted: Wanted) -> AsyncIterator[list[Row]]:
    """All of one status, however many, never more than PAGE of them in memory. Errors: StoreError."""
    from mailculator.lifecycle import says_unknown

    parked, domain, after = wanted.parked or None, wanted.domain or None, wanted.after or None
    while True:
        page = await queue.page(status, parked=parked, domain=domain, after=after, limit=PAGE)
        yield [row for row in page if not wanted.unknown or says_unknown(row.last_error) or says_unknown(row.reason)]
        if len(page) < PAGE:
            return
        after = page[-1].id


def status(text: str) -> Status | None:
    """A status as people type it; None for "". Errors: BadParameter."""
    from mailculator.model import Status

    if not text:
        return None
    try:
        return Status(text.strip().upper().replace("_", "-"))
    except ValueError:
        raise output.misused("--status", f"must be one of {', '.join(Status)} (got {text!r})") from None


def domain(text: str) -> str:
    """A recipient domain as the queue keeps it; "" for "". Errors: BadParameter."""
    from mailculator.address import parse_domain
    from mailculator.errors import PayloadError

    try:
        return parse_domain(text, "--domain") if text else ""
    except PayloadError as error:
        raise output.misused("--domain", error.detail) from error
