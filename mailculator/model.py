"""The nouns: an email as the queue knows it, its statuses and its history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mailculator.values import value


class Status(StrEnum):
    """The eleven statuses. Producers and operators read these very strings in every store."""

    ACCEPTED = "ACCEPTED"
    INTAKING = "INTAKING"
    READY = "READY"
    PROCESSING = "PROCESSING"
    SENT = "SENT"
    FAILED = "FAILED"
    INVALID = "INVALID"
    CALLING_SENT_CALLBACK = "CALLING-SENT-CALLBACK"
    CALLING_FAILED_CALLBACK = "CALLING-FAILED-CALLBACK"
    SENT_ACKNOWLEDGED = "SENT-ACKNOWLEDGED"
    FAILED_ACKNOWLEDGED = "FAILED-ACKNOWLEDGED"


@dataclass(slots=True)
class Lease:
    """How long a claim is ours, on this process's monotonic clock.

    Renewing it moves `expires_at`; losing it (another holder, or a row that is gone) sets `lost`.

    Arguments:
        expires_at: monotonic seconds; counted from before the claim was asked for, so it never outlives the store's.
        clock: the monotonic clock it is compared with.
        refresh: renews the lease it is given if its last renewal is overdue; never fails, but it may be lost or old as
            before afterwards. It refers to none itself: an email should leave no ring of objects behind.
    """

    expires_at: float
    clock: Callable[[], float]
    lost: bool = False
    refresh: Callable[[Lease], Awaitable[None]] | None = None

    def holds(self, margin: float = 0.0) -> bool:
        """Whether it is still ours for `margin` more seconds."""
        return not self.lost and self.clock() + margin < self.expires_at


@value
class Email:
    """One claimed email, as `Store.claim` hands it out. It stands in a working status.

    Arguments:
        version: the row's version after the claim; every write names it.
        claim_token: names this claim; a write under another token is refused.
        reason: the row's own reason: why it FAILED, what its producer will be told.
        attempts: tries at this stage, this one included.
        generation: 0, raised by one with every requeue that will send anew.
        failing_for: seconds since the first failure at this stage that counts towards giving up; 0 before it.
        expired: its ttl has passed, on the store's clock.
        created_at: UTC.
        reached_at: when it was sent or failed, UTC, on the store's clock; None before that.
        last_error: what the last try at this stage ended with, if it failed.
        expires_in: seconds from the claim until its ttl passes, on the store's clock; None where it has no ttl.
        expires_at: the same as a moment of this process's monotonic clock; set together with the lease.
        lease: how long the claim holds; None only where no runner is involved (tests).
        duplicate_in: another store that has the same id to send; this copy must not be sent.
        crashes: how many times in a row the process that worked on it died of it, at this stage.
        cancelled: why an operator does not want it sent; None where nobody said so.
    """

    id: str
    status: Status
    version: int
    claim_token: str
    payload_file_path: str | None
    eml_file_path: str | None
    reason: str | None
    attempts: int
    generation: int
    failing_for: float
    expired: bool
    created_at: datetime
    reached_at: datetime | None
    last_error: str | None = None
    expires_in: float | None = None
    expires_at: float | None = field(default=None, compare=False)
    lease: Lease | None = field(default=None, compare=False, repr=False)
    duplicate_in: str | None = None
    crashes: int = 0
    cancelled: str | None = None


@dataclass(frozen=True, slots=True)
class NewEmail:
    """What a producer puts on the queue.

    Arguments:
        id: a UUID in its canonical, lower-case form.
        ttl: epoch seconds after which it is not sent any more and may be deleted once terminal; None = keep.
    """

    id: str
    payload_file_path: str
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An email as an operator looks at it: everything the store keeps in its row, times in UTC."""

    id: str
    status: Status
    version: int
    payload_file_path: str | None
    eml_file_path: str | None
    reason: str | None
    last_error: str | None
    recipient_domain: str | None
    attempts: int
    generation: int
    parked: bool
    claimed_by: str | None
    claim_token: str | None
    ttl: int | None
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    lease_until: datetime | None
    reached_at: datetime | None
    crashes: int = 0
    cancelled: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of an email's history.

    Arguments:
        version: the version the row had after this move; None for notes of the producer or of an older consumer.
    """

    status: str
    version: int | None
    reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many emails stand in a status, and for how many seconds the oldest of them has been due there.

    Arguments:
        parked: how many of `count` are parked.
        oldest_age: seconds, 0 when none is due.
    """

    count: int
    parked: int = 0
    oldest_age: float = 0.0
