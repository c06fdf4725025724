"""A row of the simulated queue, its history, and how both are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailculator.model import Email, Row, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(seconds: float | None) -> datetime:
    """Epoch seconds in UTC."""
    return _EPOCH + timedelta(seconds=seconds or 0.0)


def moment_or_none(seconds: float | None) -> datetime | None:
    """The same for what may not be known."""
    return None if seconds is None else moment(seconds)


@dataclass(slots=True)
class Line:
    """One of a history; `version` is None where it is no move."""

    status: str
    version: int | None
    reason: str | None
    at: float


@dataclass(slots=True, eq=False)
class Entry:
    """One row. Times are epoch seconds.

    Arguments:
        number: of its birth, which decides between two that are due at once.
        versions: of the history, each with its line: one version is written once.
        closed: tokens of claims that were ended by those who held them.
    """

    id: str
    path: str | None
    number: int
    created: float
    ttl: int | None
    updated: float
    due: float
    status: Status = Status.ACCEPTED
    version: int = 1
    eml: str | None = None
    reason: str | None = None
    error: str | None = None
    domain: str | None = None
    attempts: int = 0
    crashes: int = 0
    generation: int = 0
    parked: bool = False
    cancelled: str | None = None
    holder: str | None = None
    token: str | None = None
    lease: float | None = None
    lease_version: int | None = None
    failing: float | None = None
    reached: float | None = None
    lines: list[Line] = field(default_factory=list)
    versions: dict[int, Line] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    def write(self, status: Status, reason: str | None, at: float) -> None:
        """A move's line. Errors: AssertionError where the version is there already: no store lets that pass."""
        assert self.version not in self.versions, f"{self.id}: version {self.version} is written twice"
        line = Line(status, self.version, reason, at)
        self.lines.append(line)
        self.versions[self.version] = line

    def forget_tries(self) -> None:
        """They start anew."""
        self.attempts, self.failing, self.error, self.crashes = 0, None, None, 0

    def as_email(self, at: float, *, known: bool = True) -> Email:
        """As a claim hands it out. Its tries are those of another stage where they are not `known`."""
        failing = self.failing if known else None
        return Email(
            id=self.id,
            status=self.status,
            version=self.version,
            claim_token=self.token or "",
            payload_file_path=self.path,
            eml_file_path=self.eml,
            reason=self.reason,
            attempts=self.attempts if known else 0,
            generation=self.generation,
            failing_for=0.0 if failing is None else max(0.0, at - failing),
            expired=self.ttl is not None and self.ttl <= at,
            created_at=moment(self.created),
            reached_at=moment_or_none(self.reached),
            last_error=self.error if known else None,
            expires_in=None if self.ttl is None else self.ttl - at,
            crashes=self.crashes if known else 0,
            cancelled=self.cancelled,
        )

    def as_row(self) -> Row:
        """As an operator looks at it."""
        return Row(
            id=self.id,
            status=self.status,
            version=self.version,
            payload_file_path=self.path,
            eml_file_path=self.eml,
            reason=self.reason,
            last_error=self.error,
            recipient_domain=self.domain,
            attempts=self.attempts,
            generation=self.generation,
            parked=self.parked,
            claimed_by=self.holder,
            claim_token=self.token,
            ttl=self.ttl,
            created_at=moment(self.created),
            updated_at=moment(self.updated),
            due_at=moment(self.due),
            lease_until=moment_or_none(self.lease),
            reached_at=moment_or_none(self.reached),
            crashes=self.crashes,
            cancelled=self.cancelled,
        )
