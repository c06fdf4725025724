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
"""Emails that are read at once, where all of them are gone through."""


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
    from mailculator.insight.lists import lists

    among = lists(queue, wanted.status, unknown=wanted.unknown, ended=True)
    found = [row for status in among for row in await _page(queue, status, wanted, wanted.limit)]
    return sorted(found, key=lambda row: row.id)[: wanted.limit]


async def _page(queue: Store, status: Status | None, wanted: Wanted, limit: int, after: str | None = None) -> list[Row]:
    return await queue.page(
        status,
        parked=wanted.parked or None,
        unknown=wanted.unknown,
        domain=wanted.domain or None,
        after=after or wanted.after or None,
        limit=limit,
    )


async def pages(queue: Store, status: Status, wanted: Wanted) -> AsyncIterator[list[Row]]:
    """All of one status, however many, never more than PAGE of them in memory. Errors: StoreError."""
    after = None
    while True:
        page = await _page(queue, status, wanted, PAGE, after)
        yield page
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
