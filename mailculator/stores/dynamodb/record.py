"""An email's record, read: what stands in it, in the queue's terms, or why nobody can work on it.

Records come from several programs and ages. What may be missing is given its meaning here (no `Version` is version 1,
a ttl may stand within `Attributes`, `<nil>` is how the older consumer printed what was missing); what cannot be
understood is a Poisoned record, which holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from mailculator.lifecycle import STAGE_BY_WORKING
from mailculator.model import Email, HistoryEntry, Row, Status
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.codec import Item, Value

HIGHEST = 2_147_483_647
"""Of a version, and of tries: the same everywhere, so that every email can move to any store."""

_LATEST_MOMENT = 250_000_000_000_000
"""In milliseconds: the year 9892. Later ones are no times that Python could tell of."""

_NIL = "<nil>"


class Poisoned(Exception):
    """Nobody can tell what this record is.

    Arguments:
        why: in words, without the record's contents.
    """

    def __init__(self, email_id: str, why: str) -> None:
        super().__init__(why)
        self.email_id = email_id
        self.why = why


@dataclass(frozen=True, slots=True)
class Record:
    """One email's record.

    Arguments:
        item: as it was read.
        state: our copy of the status; None where we have never written.
        seen: our copy of `updated`.
        updated: `Attributes.UpdatedAt` as text; "" where it is missing.
        expires: the true ttl in epoch seconds; None = keep.
    """

    item: Item
    id: str
    status: Status
    state: str | None
    seen: str | None
    updated: str
    version: int
    token: str | None
    lease_seq: int
    expires: int | None
    attempts: int

    @property
    def adopted(self) -> bool:
        """Whether we have ever written it."""
        return self.state is not None

    @property
    def in_step(self) -> bool:
        """Whether the last write was ours."""
        return self.state == self.status and self.seen == self.updated

    @property
    def ours(self) -> bool:
        """Whether a working record is held by a claim of ours, as opposed to another program's."""
        return self.in_step and layout.LEASE_UNTIL in self.item and self.status in STAGE_BY_WORKING

    @property
    def parked(self) -> bool:
        """Whether it is set aside until an operator releases it."""
        return bool(self.item.get(layout.PARKED))

    @property
    def cancelled(self) -> str | None:
        """Why an operator does not want it sent; None where nobody said so."""
        return self.item.get(layout.CANCELLED)

    @property
    def oddity(self) -> str | None:
        """Why a record that can be understood cannot be moved, or None."""
        if not 1 <= self.version < HIGHEST - 1:
            return f"row_corrupt: version {self.version}"
        if not 0 <= self.attempts < HIGHEST:
            return f"row_corrupt: {self.attempts} attempts"
        if int(self.item.get(layout.HISTORY_VERSION) or 0) > self.version:
            return f"the history already has version {self.version + 1}: somebody wrote to it by hand"
        return None

    @property
    def updated_at(self) -> datetime:
        """When it was last written, to the second, and finer where the last move tells."""
        stated = moment(self.updated) or datetime.fromtimestamp(0, UTC)
        moved = [entry.created_at for entry in self.lines[-1:]]
        return max([stated, *(at for at in moved if at.replace(microsecond=0) == stated)])

    @property
    def created_at(self) -> datetime:
        """When its producer made it; the oldest thing known of it where that is missing."""
        return moment(self.item[layout.ATTRIBUTES].get(layout.CREATED_AT)) or self.updated_at

    @property
    def lines(self) -> list[HistoryEntry]:
        """The history that stands in the record."""
        found = self.item.get(layout.HISTORY)
        return history.entries(found if isinstance(found, list) else [])

    def text(self, name: str) -> str | None:
        """One of the older service's attributes; None where it is missing or empty."""
        value = self.item[layout.ATTRIBUTES].get(name)
        return value if isinstance(value, str) and value not in ("", _NIL) else None

    def time(self, name: str) -> datetime | None:
        """One of our times, which are milliseconds."""
        value = self.item.get(name)
        return datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int) else None

    def row(self) -> Row:
        """As an operator looks at it."""
        get = self.item.get
        return Row(
            id=self.id,
            status=self.status,
            version=self.version,
            payload_file_path=self.text(layout.PAYLOAD),
            eml_file_path=self.text(layout.EML),
            reason=self.text(layout.REASON),
            last_error=get(layout.LAST_ERROR),
            recipient_domain=get(layout.DOMAIN),
            attempts=self.attempts,
            generation=int(get(layout.GENERATION) or 0),
            parked=self.parked,
            claimed_by=get(layout.LEASE_BY),
            claim_token=self.token if layout.LEASE_BY in self.item else None,
            ttl=self.expires,
            created_at=self.created_at,
            updated_at=self.updated_at,
            due_at=self.time(layout.DUE_AT) or self.updated_at,
            lease_until=self.time(layout.LEASE_UNTIL),
            reached_at=self.time(layout.REACHED_AT),
            crashes=int(get(layout.CRASHES) or 0),
            cancelled=self.cancelled,
        )

    def email(self, at: float, *, duplicate_in: str | None) -> Email:
        """As a claim hands it out. `at` in epoch seconds."""
        failing_since = self.item.get(layout.FAILING_SINCE)
        expires_in = None if self.expires is None else self.expires - at
        return Email(
            id=self.id,
            status=self.status,
            version=self.version,
            claim_token=self.token or "",
            payload_file_path=self.text(layout.PAYLOAD),
            eml_file_path=self.text(layout.EML),
            reason=self.text(layout.REASON),
            attempts=self.attempts,
            generation=int(self.item.get(layout.GENERATION) or 0),
            failing_for=0.0 if failing_since is None else max(0.0, at - failing_since / 1000),
            expired=expires_in is not None and expires_in <= 0,
            created_at=self.created_at,
            reached_at=self.time(layout.REACHED_AT),
            last_error=self.item.get(layout.LAST_ERROR),
            expires_in=expires_in,
            duplicate_in=duplicate_in,
            crashes=int(self.item.get(layout.CRASHES) or 0),
            cancelled=self.cancelled,
        )


def parse(item: Item) -> Record:
    """A record. Errors: Poisoned."""
    email_id = str(item[layout.ID])
    attributes = item.get(layout.ATTRIBUTES)
    if not isinstance(attributes, dict):
        raise Poisoned(email_id, "Attributes is missing" if attributes is None else "Attributes is no map")
    latest = attributes.get(layout.LATEST)
    if not isinstance(latest, str) or latest not in list(Status):
        raise Poisoned(email_id, f"Attributes.Latest is {_shown(latest)}")
    texts = (layout.CREATED_AT, layout.UPDATED_AT, layout.REASON, layout.PAYLOAD, layout.EML)
    for name in texts:
        if not isinstance(attributes.get(name), str | None):
            raise Poisoned(email_id, f"Attributes.{name} is no text")
    for name, (is_right, words) in _OURS.items():
        if name in item and not is_right(item[name]):
            raise Poisoned(email_id, f"{name} is no {words}")
    return Record(
        item=item,
        id=email_id,
        status=Status(latest),
        state=item.get(layout.STATE),
        seen=item.get(layout.SEEN),
        updated=attributes.get(layout.UPDATED_AT) or "",
        version=item.get(layout.VERSION, 1),
        token=item.get(layout.TOKEN),
        lease_seq=item.get(layout.LEASE_SEQ, 0),
        expires=_expires(item, attributes),
        attempts=item.get(layout.ATTEMPTS, 0),
    )


def _is_whole(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_moderate(value: Value) -> bool:
    return _is_whole(value) and abs(value) < _LATEST_MOMENT


_OURS: Mapping[str, tuple[Callable[[Value], bool], str]] = MappingProxyType(
    {
        **dict.fromkeys((layout.VERSION, layout.ATTEMPTS, layout.HISTORY_VERSION), (_is_whole, "whole number")),
        **dict.fromkeys(
            (
                layout.LEASE_SEQ,
                layout.LEASE_UNTIL,
                layout.LEASE_FOR,
                layout.DUE_AT,
                layout.GENERATION,
                layout.CRASHES,
                layout.FAILING_SINCE,
                layout.REACHED_AT,
                layout.EXPIRES,
                layout.HISTORY_FOLDED,
            ),
            (_is_moderate, "whole number that we would write"),
        ),
        **dict.fromkeys(
            (layout.TOKEN, layout.LEASE_BY, layout.WORK_KEY, layout.LAST_ERROR, layout.DOMAIN, layout.CANCELLED),
            (lambda value: isinstance(value, str), "text"),
        ),
        layout.HISTORY: (lambda value: isinstance(value, list), "list"),
        layout.PARKED: (lambda value: isinstance(value, bool), "truth value"),
    }
)
"""What we write, and expect to find again. `State` and `Seen` are not among it: whatever they are, they are compared
with what they are copies of, and written anew."""


def _expires(item: Item, attributes: dict[str, Any]) -> int | None:
    """The true ttl. It stands apart while the record is ours, else at the root, in old records among the attributes."""
    if (kept := seconds(item.get(layout.EXPIRES))) is not None:
        return kept
    found = seconds(item.get(layout.TTL))
    if found is None:
        found = seconds(attributes.get(layout.TTL))
    return None if found is None or found >= layout.FAR else found


def seconds(value: Value) -> int | None:
    """A ttl, which other programs have written as a number, a float or text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except ArithmeticError:
            return None
    if not isinstance(value, int | Decimal):
        return None
    # Text may hold numbers that no computer has the memory for.
    number = Decimal(value)
    return int(number) if number.is_finite() and abs(number) < _LATEST_MOMENT else None


def moment(text: Value) -> datetime | None:
    """An RFC 3339 time in UTC, whatever its zone; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def stamp(at: float) -> str:
    """Epoch seconds as the older service writes a time: RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(value: Value) -> str:
    if value is None:
        return "missing"
    return f"{value[:40]!r}, which is no status" if isinstance(value, str) else "no text"
