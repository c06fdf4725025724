"""The tables as values: rows read into the model, and the pieces that statements for many rows are built of.

aiomysql's executemany runs a statement with NOW(6) among its values once per row, so many rows in one statement are
put together here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from mailculator.model import Email, HistoryEntry, Row, Status
from mailculator.stores.mariadb_pool import Session
from mailculator.values import value

T = TypeVar("T")

CHUNK = 500
"""Rows in one statement: with the longest reasons far below the smallest max_allowed_packet in use (16 MB)."""

FEW = 10
"""Different values that are looked up by value: the server searches a list of ids by halves, and one value by one."""

TEXT_LIMIT = 4000
"""Characters of a free text that are kept; a TEXT column holds 16,383 of any kind."""

PLAIN_LIMIT = 250
"""Characters of a text for a column that would not take it as it was: some are VARCHAR(255)."""

VERSION_LIMIT = 2_147_480_000
"""Rows at or beyond this version are corrupt, as are those below 1. The column ends at 2,147,483,647: what lies between
is for the moves of those who hold such a row already."""

# A producer without strict mode can leave '' in an ENUM, and another program may have added values of its own: such a
# row has no status that we know, and is nobody's here.
_OURS = "status IN ({})".format(", ".join(f"'{status}'" for status in Status))

# The enumeration itself takes longer to find a member.
_STATUS: Mapping[str, Status] = {status.value: status for status in Status}

SELECT_ROWS = (
    "SELECT id, status, version, payload_file_path, eml_file_path, reason, last_error, recipient_domain, attempts,"  # noqa: S608
    " generation, parked, claimed_by, claim_token, ttl, created_at, updated_at, due_at, lease_until, reached_at,"
    " crashes, cancelled FROM emails WHERE " + _OURS + " AND {}"
)

_LOOK = (
    "SELECT id, status, version, claim_token FROM emails FORCE INDEX (PRIMARY)"  # noqa: S608  # constants
    f" WHERE id IN %s AND {_OURS} ORDER BY id"
)

_LOCK = _LOOK + " FOR UPDATE"

_INSERT_HISTORY = "INSERT INTO email_status_history (email_id, status, reason, version, created_at) VALUES"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@value
class Held:
    """What a locked row says of its claim."""

    id: str
    status: Status
    version: int
    claim_token: str | None

    def stands(self, email: Email) -> bool:
        """Whether the claim still holds: nobody has moved or taken the row since. The one place that compares."""
        return self.status == email.status and self.version == email.version and self.claim_token == email.claim_token


@value
class Line:
    """One history row to be. `version` None makes it a note."""

    email_id: str
    status: Status
    reason: str | None
    version: int | None


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """`items` in slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def text(value: str | None, limit: int = TEXT_LIMIT) -> str | None:
    """Fit for a column: cut to `limit` characters, and without lone surrogates, which no UTF-8 has."""
    return None if value is None else value[:limit].encode("utf-8", "replace").decode()


def plain(value: str | None) -> str | None:
    """The same text for a column that holds less than ours do: in ASCII, other characters escaped, and short."""
    return None if value is None else value.encode("ascii", "backslashreplace").decode()[:PLAIN_LIMIT]


def utc(value: Any) -> datetime:
    """A TIMESTAMP of a UTC session. A zero date, which an older session may have left, is the epoch."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else _EPOCH


def maybe_utc(value: Any) -> datetime | None:
    """The same for a column that may be NULL."""
    return None if value is None else utc(value)


def per_row(ids: Sequence[str], values: Sequence[object]) -> tuple[str, list[object]]:
    """An expression that gives each row its value, with its parameters: plain when all rows have the same."""
    distinct = set(values)
    if len(distinct) == 1:
        return "%s", [values[0]]
    parameters: list[object] = []
    if len(distinct) <= FEW:
        sharers: dict[object, list[str]] = {}
        for email_id, value in zip(ids, values, strict=True):
            sharers.setdefault(value, []).append(email_id)
        for value, those in sharers.items():
            parameters += (those, value)
        return "(CASE" + " WHEN id IN %s THEN %s" * len(sharers) + " END)", parameters
    for email_id, value in zip(ids, values, strict=True):
        parameters += (email_id, value)
    return "(CASE id" + " WHEN %s THEN %s" * len(ids) + " END)", parameters


async def lock(session: Session, ids: Sequence[str], *, wait: bool) -> dict[str, Held]:
    """Lock rows in the order of their ids, so that two who want the same never wait for each other in a circle.

    Arguments:
        wait: False leaves out rows that another transaction has locked.
    """
    return await _read(session, _LOCK if wait else _LOCK + " SKIP LOCKED", ids)


async def look(session: Session, ids: Sequence[str]) -> dict[str, Held]:
    """The rows as they are committed, whoever has them locked."""
    return await _read(session, _LOOK, ids)


async def _read(session: Session, sql: str, ids: Sequence[str]) -> dict[str, Held]:
    found: dict[str, Held] = {}
    for chunk in chunks(sorted(set(ids))):
        for email_id, status, version, token in (await session.execute(sql, (chunk,))).rows:
            found[email_id] = Held(email_id, _STATUS[status], version, token)
    return found


async def write_history(session: Session, lines: Sequence[Line]) -> None:
    """Insert history rows, many in a statement. DuplicateRow when a version is there already."""
    await session.execute_all(history(session, lines))


def history(session: Session, lines: Sequence[Line]) -> list[str]:
    """The statements of `write_history`."""
    statements: list[str] = []
    for chunk in chunks(lines):
        # What many lines say alike is escaped once.
        told: dict[tuple[Status, str | None, int | None], str] = {}
        rows: list[str] = []
        for email_id, line in zip(session.literals([line.email_id for line in chunk]), chunk, strict=True):
            what = line.status, line.reason, line.version
            rest = told.get(what)
            if rest is None:
                rest = told[what] = _told(session, line)
            rows.append(f"({email_id}, {rest}, NOW(6))")
        statements.append(f"{_INSERT_HISTORY} {', '.join(rows)}")
    return statements


def _told(session: Session, line: Line) -> str:
    return ", ".join(map(session.literal, (line.status, text(line.reason), line.version)))


async def on_record(session: Session, versions: Mapping[str, int]) -> frozenset[str]:
    """Ids whose history has the version that is asked for."""
    found: set[str] = set()
    for chunk in chunks(list(versions)):
        result = await session.execute(
            "SELECT email_id, version FROM email_status_history WHERE email_id IN %s AND version IN %s",
            (chunk, sorted({versions[email_id] for email_id in chunk})),
        )
        found.update(email_id for email_id, version in result.rows if version == versions.get(email_id))
    return frozenset(found)


async def collisions(session: Session, versions: Mapping[str, int]) -> frozenset[str]:
    """Ids whose history already has the version that their next move would write."""
    return await on_record(session, {email_id: version + 1 for email_id, version in versions.items()})


def oddity(version: int | None, attempts: int = 0) -> str | None:
    """Why nobody can work on a row (bad input 47); None when somebody can."""
    if version is None or not 1 <= version < VERSION_LIMIT:
        return f"row_corrupt: version {version}"
    return f"row_corrupt: {attempts} attempts" if attempts >= VERSION_LIMIT else None


def to_row(fields: Sequence[Any]) -> Row:
    """A row of SELECT_ROWS."""
    (email_id, status, version, payload, eml, reason, error, domain, attempts, generation, *rest) = fields
    parked, claimed_by, token, ttl, created_at, updated_at, due_at, lease_until, reached_at, crashes, cancelled = rest
    return Row(
        id=email_id,
        status=Status(status),
        version=version,
        payload_file_path=payload,
        eml_file_path=eml,
        reason=reason,
        last_error=error,
        recipient_domain=domain,
        attempts=attempts,
        generation=generation,
        parked=bool(parked),
        claimed_by=claimed_by,
        claim_token=token,
        ttl=ttl,
        created_at=utc(created_at),
        updated_at=utc(updated_at),
        due_at=utc(due_at),
        lease_until=maybe_utc(lease_until),
        reached_at=maybe_utc(reached_at),
        crashes=crashes,
        cancelled=cancelled,
    )


def to_entry(fields: Sequence[Any]) -> HistoryEntry:
    """A row of (status, version, reason, created_at)."""
    status, version, reason, created_at = fields
    return HistoryEntry(status=status, version=version, reason=reason, created_at=utc(created_at))
