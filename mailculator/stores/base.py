"""The one interface to a queue. Drawn at meaning: nothing here says SQL, and no method of one backend leaks.

What every backend promises, and the contract suite (tests/contract) holds it to:

- `claim` and `record` are each one transaction for the whole group (or the nearest a backend has), history included.
- Every write after a claim is a compare-and-set on (id, status, version, claim token). A lost race is an answer,
  not an error.
- Every move raises `version` by one and writes its history row under that version, in the same transaction.
- Times are the store's own clock in UTC, whatever its or the session's time zone.
- A write whose reply was lost may be asked for again: what was applied the first time is answered DONE.
- StoreUnavailable: away, try again. StoreRejected: will never work. Nothing else of a driver leaves its file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mailculator.lifecycle import Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount


class Enqueued(Enum):
    """The answer to one entry of `enqueue`."""

    CREATED = "created"
    EXISTS = "exists"


class Recorded(Enum):
    """The answer to one move of `record`."""

    DONE = "done"
    LOST = "lost"


class Steered(Enum):
    """The answer to one id of `requeue` or `release`."""

    DONE = "done"
    NOT_APPLICABLE = "not applicable"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to `renew`, by ids.

    Arguments:
        held: renewed.
        lost: not ours any more: moved, claimed by another, or gone.

    What is in neither could not be told: somebody else has locked the row for longer than we wait. Its lease goes on as
    it was.
    """

    held: frozenset[str]
    lost: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rescue:
    """A row that went back one step because its holder's lease had expired."""

    id: str
    origin: Status
    to: Status
    holder: str | None


@dataclass(frozen=True, slots=True)
class Ping:
    """What a live store says of itself.

    Arguments:
        server: kind and version, for people (`MariaDB 10.11.19`).
        tested: False for a kind or version that the contract suite is not run against.
        writable: False while it takes no writes (read-only replica, full disk).
        seconds: how long the answer took.
    """

    server: str
    tested: bool
    writable: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between backends. No flag here may remove a contract test of claim, record, rescue or history."""

    many_processes: bool


class Store(Protocol):
    """A queue. Opened by its backend's factory, closed by `close`; used by one event loop."""

    name: str
    capabilities: Capabilities

    async def enqueue(self, emails: Sequence[NewEmail]) -> list[Enqueued]:
        """Insert emails as ACCEPTED, version 1, each with an unversioned history note. One answer per entry, in order.

        An id that is there already is left alone.
        """

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """Take up to `limit` due, unparked emails of `stage`, oldest due first, and hold them for `lease` seconds.

        Each counts a try and goes to `stage.working`; the history note is `claimed by <holder>`. Rows held by another
        claim are skipped, never waited for. Emails past their ttl are claimed as well, with `expired` set.

        Arguments:
            holder: the replica's name, kept in the row for people.
        """

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """Write results down, one answer per move, in order. One lost or odd row never holds up the others."""

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        """Hold these for `lease` seconds from now; version stays as it is."""

    async def rescue(self, limit: int, *, foreign_hold: float) -> list[Rescue]:
        """Move up to `limit` working rows whose lease has expired one step back, due at once, their reason kept.

        A lease is ours only if the version stored with it is the row's; any other working row counts as another
        consumer's until `foreign_hold` seconds after its last update.
        """

    async def get(self, email_id: str) -> Row | None:
        """One email as it stands, or None."""

    async def history(self, email_id: str) -> list[HistoryEntry]:
        """Its history, oldest first."""

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        """Emails per status; terminal statuses only when asked for (they may be many millions)."""

    async def page(
        self, status: Status | None = None, *, parked: bool | None = None, after: str | None = None, limit: int = 50
    ) -> list[Row]:
        """Emails in the order of their ids, those behind `after`; by key, never by offset."""

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """An operator's requeue along lifecycle.REQUEUES, as a move with its history row naming who and why.

        Tries start anew, parking ends, the generation is raised where mail will be sent anew, and a row past its ttl
        gets a new one, `ttl_extension` seconds from now.
        """

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """End parking: due at once, tries and the time of the first failure start anew. No move; the history gets an
        unversioned note."""

    async def purge(self, limit: int) -> int:
        """Delete up to `limit` terminal rows past their ttl, and their history. Returns how many."""

    async def ping(self) -> Ping:
        """Ask the server, not the pool."""

    async def close(self) -> None:
        """Give everything back. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """How a database's schema compares with this program.

    Arguments:
        applied: names of the schema files on record there, oldest first.
        pending: names of those it still lacks.
        oldest_service: the oldest service version that the schema serves; None when there is no schema yet.
        differences: what does not match in words, one line each (a missing column or index).
        refusal: why this version of the service must not start on it, and what to do; None when it may.
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    oldest_service: str | None
    differences: tuple[str, ...]
    refusal: str | None


class Schema(Protocol):
    """The schema of one database."""

    async def state(self) -> SchemaState:
        """Look, change nothing. StoreUnavailable when the database is away."""

    async def apply(self, progress: Callable[[str], None]) -> tuple[str, ...]:
        """Bring it to the current schema; any number of times, by any number of processes. Returns what was applied.

        `progress` is told each step before it starts.
        """
