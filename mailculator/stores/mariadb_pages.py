"""Lists of emails in the order of their ids, each read from the index that serves it at any depth of the queue.

Left to itself MariaDB 10.11 goes by how often a status, or a domain, is met on average: it walks through millions of
ids where those that are looked for lie together at the far end of them, or sorts all that there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mailculator.lifecycle import UNKNOWN
from mailculator.model import Row
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import SELECT_ROWS, to_row
from mailculator.stores.sought import Sought

CLOSE = 4
"""A page of a status is looked for among so many times as many ids first: most of what there is has one status."""
STRETCH = 5000
"""Ids that are walked through for it then. Where they are no page, fewer than one in a hundred has that status, or they
lie together elsewhere: then the status's own ids are fewer to read, or as good as any."""

LOOKED_UP = 1000
"""The same of a domain, whose index holds no status; and then of a status, whose index holds no domain: each costs a
row, and not an entry alone."""

BY_ID = "PRIMARY"
BY_DOMAIN = "idx_emails_domain"
BY_STATUS = "idx_emails_due"
BY_TEXT = "idx_emails_last_error, idx_emails_reason"

_IDS = "SELECT id FROM emails FORCE INDEX ({index}) WHERE {where} ORDER BY id"
_ROWS = SELECT_ROWS.replace("FROM emails", "FROM emails FORCE INDEX ({index})").replace("{}", "{where}")

# The columns' collation may take no notice of case, and what begins in capitals is somebody else's text.
_SAYS = f"({{0}} LIKE '{UNKNOWN}%%' AND BINARY LEFT({{0}}, {len(UNKNOWN)}) = '{UNKNOWN}')"
_UNKNOWN = f"({_SAYS.format('last_error')} OR {_SAYS.format('reason')})"


@dataclass(frozen=True, slots=True)
class _Where:
    """Conditions of a statement, and what their marks stand for."""

    conditions: tuple[str, ...] = ()
    parameters: tuple[object, ...] = ()

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "TRUE"

    def also(self, condition: str, *parameters: object) -> _Where:
        return _Where((*self.conditions, condition), (*self.parameters, *parameters))


async def page(session: Session, sought: Sought, limit: int) -> list[Row]:
    """Emails in the order of their ids."""
    if limit <= 0 or sought.among == frozenset():
        return []
    where = _where(sought)
    if sought.unknown:
        return await _rows(session, BY_TEXT, where, limit)
    if sought.parked and sought.domain is None:
        return await _by_status(session, sought, limit)
    index = BY_ID if sought.domain is None else BY_DOMAIN
    if sought.among is None:
        return await _rows(session, index, where, limit)
    for length in (CLOSE * limit, STRETCH if sought.domain is None else LOOKED_UP):
        end = await _stretch(session, index, sought, length)
        rows = await _rows(session, index, where if end is None else where.also("id <= %s", end), limit)
        if end is None or len(rows) == limit:
            return rows
    return await _by_status(session, sought, limit)


def _where(sought: Sought) -> _Where:
    where = _Where()
    if sought.among is not None:
        where = where.also("status IN %s", sorted(sought.among))
    if sought.parked is not None:
        where = where.also("parked <> 0" if sought.parked else "parked = 0")
    if sought.unknown:
        where = where.also(_UNKNOWN)
    return _behind(where, sought)


def _behind(where: _Where, sought: Sought) -> _Where:
    if sought.domain is not None:
        where = where.also("recipient_domain = %s", sought.domain)
    return where if sought.after is None else where.also("id > %s", sought.after)


async def _stretch(session: Session, index: str, sought: Sought, length: int) -> str | None:
    """The last of the next so many ids, whatever their status; None where there are not so many."""
    where = _behind(_Where(), sought)
    found = await session.execute(
        _IDS.format(index=index, where=where) + " LIMIT 1 OFFSET %s", (*where.parameters, length - 1)
    )
    return found.rows[0][0] if found.rows else None


async def _by_status(session: Session, sought: Sought, limit: int) -> list[Row]:
    """All of a status are sorted, but only their ids are: the index holds those, and no row is read for it.

    It does not hold their domains. Those of the first ids are looked up, and of all where these were not enough.
    """
    where = _where(sought)
    if sought.domain is not None:
        ids = await _ids(session, _where(replace(sought, domain=None)), LOOKED_UP)
        rows = await _among(session, where, ids, limit)
        if len(rows) == limit or len(ids) < LOOKED_UP:
            return rows
    return await _among(session, where, await _ids(session, where, limit), limit)


async def _ids(session: Session, where: _Where, limit: int) -> list[str]:
    statement = _IDS.format(index=BY_STATUS, where=where) + " LIMIT %s"
    return [email_id for (email_id,) in (await session.execute(statement, (*where.parameters, limit))).rows]


async def _among(session: Session, where: _Where, ids: Sequence[str], limit: int) -> list[Row]:
    return await _rows(session, BY_ID, where.also("id IN %s", ids), limit) if ids else []


async def _rows(session: Session, index: str, where: _Where, limit: int) -> list[Row]:
    found = await session.execute(
        _ROWS.format(index=index, where=where) + " ORDER BY id LIMIT %s", (*where.parameters, limit)
    )
    return [to_row(fields) for fields in found.rows]
