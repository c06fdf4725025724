"""Emails by what they have in common, page by page and by key: never by offset, and never all of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailculator import address, words
from mailculator.errors import PayloadError
from mailculator.insight.lists import lists
from mailculator.lifecycle import TERMINAL, is_of_unknown_outcome
from mailculator.model import Row, Status
from mailculator.stores.base import Store
from mailculator.web.admin.answers import Refusal

PAGE = 500
"""Emails that are read at once where few of them may be wanted."""
READ_LIMIT = 10_000
"""Emails that are read for one answer, at about which it is given with what was found."""

Matches = Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """What emails have in common.

    Arguments:
        status: None = any.
        parked: only what is set aside.
        unknown: only mail that the relay may have: its reply was lost.
        domain: of the recipient, in A-label form; None = any.
    """

    status: Status | None = None
    parked: bool = False
    unknown: bool = False
    domain: str | None = None

    @classmethod
    def of(cls, *, status: str | None, parked: bool, unknown: bool, domain: str | None) -> Filter:
        """From what somebody asked for. Errors: Refusal."""
        try:
            found = None if status is None else Status(status)
        except ValueError:
            raise Refusal(400, f"status must be one of {', '.join(Status)}.", field="status") from None
        try:
            name = None if domain is None else address.parse_domain(domain, "domain")
        except PayloadError:
            raise Refusal(400, "domain must be a full domain name.", field="domain") from None
        return cls(found, parked, unknown, name)

    @property
    def narrow(self) -> bool:
        """Whether it names a part of the queue's work, and not just everything, or all mail to somebody."""
        return self.status is not None or self.parked or self.unknown

    def text(self) -> str:
        """For the audit list."""
        parts = [
            "parked" if self.parked else "",
            f"in {self.status}" if self.status is not None else "",
            "of unknown outcome" if self.unknown else "",
            f"to {self.domain}" if self.domain is not None else "",
        ]
        return ", ".join(part for part in parts if part)

    def hindrance(self, store: Store) -> str | None:
        """Why a store cannot be searched for it; None where it can."""
        if not store.capabilities.looks_are_paid:
            return None
        name = words.title(store.name)
        if self.domain is not None:
            return f"{name} finds nothing by its recipient's domain: choose a status, or give an exact id."
        if self.status in TERMINAL:
            return f"{name} does not list what has ended: give an exact id."
        if not self.narrow:
            return f"{name} lists one active status at a time: choose one, or give an exact id."
        return None

    def note(self, store: Store) -> str | None:
        """What a list of it leaves out; None where it is all there."""
        if self.is_read_for(store):
            name = words.title(store.name)
            return f"{name} knows this only of mail that has not ended: of what has, give an exact id."
        return None

    def is_read_for(self, store: Store) -> bool:
        """Whether a store would read its emails one by one to tell which these are, and be paid for each: then that is
        done here, where it is bounded."""
        return self.unknown and store.capabilities.looks_are_paid

    def matches(self, row: Row) -> bool:
        """What is told here, and not by the store's own page."""
        return not self.unknown or is_of_unknown_outcome(row)


@dataclass(frozen=True, slots=True)
class Found:
    """A page.

    Arguments:
        rows: in the order of their ids.
        after: where the next page begins; None where there is none.
    """

    rows: Sequence[Row]
    after: str | None


async def find(
    store: Store, wanted: Filter, *, after: str | None, limit: int, applies: Matches | None = None, some: bool = False
) -> Found:
    """A page of them. Errors: StoreError.

    Arguments:
        applies: what must be so beside the filter.
        some: read on beyond READ_LIMIT until one is found, so that whoever asks again and again comes to an end.
    """
    every = not wanted.is_read_for(store) and applies is None
    search = _Search(
        store,
        wanted,
        page=limit + 1 if every else PAGE,
        limit=limit,
        matches=lambda row: wanted.matches(row) and (applies is None or applies(row)),
        some=some,
    )
    among = lists(store, wanted.status, unknown=wanted.unknown, ended=False)
    parts = [await search.of(status, after) for status in among]
    # Beyond where one list was left, another one's emails would come before those that are still to be read there.
    bound = min((part.after for part in parts if part.after is not None), default=None)
    rows = sorted(
        (row for part in parts for row in part.rows if bound is None or row.id <= bound), key=lambda row: row.id
    )
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1].id)
    return Found(rows, bound)


@dataclass(frozen=True, slots=True)
class _Search:
    store: Store
    wanted: Filter
    page: int
    limit: int
    matches: Matches
    some: bool

    async def of(self, status: Status | None, after: str | None) -> Found:
        """A page of one list."""
        rows: list[Row] = []
        read = 0
        while True:
            page = await self._read(status, after)
            for number, row in enumerate(page, start=1):
                if self.matches(row):
                    rows.append(row)
                    if len(rows) == self.limit:
                        ends = number == len(page) < self.page
                        return Found(rows, None if ends else row.id)
            if len(page) < self.page:
                return Found(rows, None)
            after = page[-1].id
            read += len(page)
            if read >= READ_LIMIT and (rows or not self.some):
                return Found(rows, after)

    async def _read(self, status: Status | None, after: str | None) -> Sequence[Row]:
        wanted = self.wanted
        return await self.store.page(
            status,
            parked=wanted.parked or None,
            unknown=wanted.unknown and not wanted.is_read_for(self.store),
            domain=wanted.domain,
            after=after,
            limit=self.page,
        )
