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
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from mailculator.lifecycle import Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores.control import Control


class Enqueued(Enum):
    """The answer to one entry of `enqueue`."""

    CREATED = "created"
    EXISTS = "exists"


class Recorded(Enum):
    """The answer to one move of `record` or `rescue`."""

    DONE = "done"
    LOST = "lost"


class Steered(Enum):
    """The answer to one id of `requeue`, `release`, `park`, `hasten` or `cancel`."""

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
class Overdue:
    """A working row that nobody seems to hold any more.

    Arguments:
        email: as its claim handed it out, by what stands in the row now; the token "" where it has none. Tries, errors
            and crashes are those of its stage: nothing, where another program has brought it there.
        holder: whose lease has expired; None where the row is another program's, or names nobody.
        since: no later than its claim, UTC, on the store's clock: that claim's time, or where the history does not
            tell it when the email was made. Nothing was done under this claim before.
    """

    email: Email
    holder: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Ping:
    """What a live store says of itself.

    Arguments:
        server: kind and version, for people (`MariaDB 10.11.19`).
        tested: False for a kind or version that the contract suite is not run against.
        writable: False while it takes no writes (read-only replica, full disk).
        seconds: how long the answer took.
        clock_off: seconds by which this machine's wall clock is ahead of the store's; None where they are the same.
    """

    server: str
    tested: bool
    writable: bool
    seconds: float
    clock_off: float | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between backends. No flag here may remove a contract test of claim, record, rescue or history."""

    many_processes: bool
    count_every: float = 5.0
    """Seconds between two counts, at the least: where a count is paid for, it is asked for less often."""
    looks_are_paid: bool = False
    """True where each look costs money: what operators ask for is looked at, and told, a third as often."""
    renews_together: bool = True
    """False where each email that is renewed costs a write of its own: fewer are claimed ahead of their handling."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What one replica noted of one store at the end of a minute: the memory that a cutover is judged by.

    Arguments:
        at: when the minute began, UTC, on the store's clock.
        replica: who noted it.
        service: the version of the service that did.
        counts: the active statuses, as counted last; empty where nothing could be counted.
        entered: emails that came in: first claims at intake by this replica, in that minute.
        left: emails that this replica brought to a terminal status in that minute.
        notes: what else a reader should know, by name (a breaker that is open, sending that waits, …).
    """

    at: datetime
    replica: str
    service: str
    counts: Mapping[Status, StatusCount]
    entered: int
    left: int
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a store knows of its own completeness, beyond counts.

    Arguments:
        exact: its counts miss nothing, by its nature; where False, only a sweep tells.
        swept_from, swept_until: when the last full sweep that ended began and ended, UTC; None before the first.
        swept: what that sweep counted, terminal statuses too.
        foreign_write: the last write by another program that was seen there (a producer's new email or requeue, an
            older consumer's move), UTC; None where none was.
        poisoned: ids of records that cannot be worked on, at most twenty of them.
        poisoned_count: how many there are.
        stopped: why nothing is claimed there any more, until an operator resumes; None while claims go on.
    """

    exact: bool
    swept_from: datetime | None = None
    swept_until: datetime | None = None
    swept: Mapping[Status, int] = field(default_factory=dict)
    foreign_write: datetime | None = None
    poisoned: tuple[str, ...] = ()
    poisoned_count: int = 0
    stopped: str | None = None


class Spent(NamedTuple):
    """Request units that a store has been charged, as this process reckons them.

    Arguments:
        op: what they were spent on (claim, record, poll, …).
        kind: `read` or `write`.
    """

    op: str
    kind: str
    units: float


class Store(Protocol):
    """A queue. Opened by its backend's factory, closed by `close`; used by one event loop."""

    name: str
    capabilities: Capabilities
    control: Control

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

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        """Up to `limit` working rows whose lease has expired; they stay as they are, for `rescue` to move.

        A lease is ours only if the version stored with it is the row's; any other working row counts as another
        consumer's until `foreign_hold` seconds after its last update. A row that no move can be written for is left
        for later, with the reason, and is not among them.
        """

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        """Write down what became of overdue emails, one answer per move, in order. As `record`, but for the fence.

        The row must be overdue still when it is written: a holder that came back and renewed its lease wins, and the
        move is LOST, as it is while somebody has the row locked. Its token goes, so that nothing the holder still
        writes can match. One lost or odd row never holds up the others. What this Store wrote is answered DONE when it
        is asked for again, until somebody claims the row; what another rescuer wrote is LOST.

        Arguments:
            moves: upon the emails of `overdue`, to wherever their status allows. A step back from another program's
                stage starts its tries anew, whatever the move says of them.
            foreign_hold: as for `overdue`.
        """

    async def get(self, email_id: str) -> Row | None:
        """One email as it stands, or None."""

    async def history(self, email_id: str) -> list[HistoryEntry]:
        """Its history, oldest first."""

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        """Emails per status; terminal statuses only when asked for (they may be many millions)."""

    async def page(
        self,
        status: Status | None = None,
        *,
        parked: bool | None = None,
        unknown: bool = False,
        domain: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """Emails in the order of their ids, those behind `after`; by key, never by offset.

        Arguments:
            unknown: only mail of unknown outcome: its last error or reason says so, in a status of MAY_BE_UNKNOWN.
                Where looks are paid and no status is named, only what has not ended.
            domain: only those to this recipient domain, in A-label form and lower case; known once intake is done.
        """

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """An operator's requeue along lifecycle.REQUEUES, as a move with its history row naming who and why.

        Tries start anew, parking ends, the generation is raised where mail will be sent anew, and a row past its ttl
        gets a new one, `ttl_extension` seconds from now.
        """

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """End parking: due at once, tries and the time of the first failure start anew. No move; the history gets an
        unversioned note."""

    async def park(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Set waiting emails aside until they are released. No move; the history gets an unversioned note.

        What is being worked on, or has ended, or is parked already is NOT_APPLICABLE.
        """

    async def hasten(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Have waiting emails tried now that were to be tried later. No move, and tries and age stay; the history gets
        an unversioned note. What is due already, is parked, or does not wait is NOT_APPLICABLE."""

    async def cancel(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Have emails not sent that are not sent yet: FAILED, by whoever claims them next, never past a holder.

        Parking ends, and they are due at once. What a holder is just sending may be sent all the same. No move; the
        history gets an unversioned note, and a requeue takes the mark away. What has been sent, has ended or is
        cancelled already is NOT_APPLICABLE.
        """

    async def purge(self, limit: int) -> int:
        """Delete up to `limit` terminal rows past their ttl, and their history. Returns how many."""

    async def remember(self, minute: Minute) -> None:
        """Keep a minute; a second one of the same replica and minute replaces the first. Kept for a week."""

    async def minutes(self, since: datetime) -> list[Minute]:
        """The minutes that began at `since` or later, of every replica, oldest first."""

    async def upkeep(self, replica: str) -> None:
        """Whatever a backend must see to from time to time, beside rescue and retention; long work goes on on its own.

        Asked for again and again, by every replica.
        """

    async def survey(self) -> Survey:
        """How far its counts can be trusted, and what stands out."""

    def spent(self) -> Sequence[Spent]:
        """Request units since it was opened; nothing where a backend charges none."""

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
