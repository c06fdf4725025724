"""One email of the model: what the contract says of it alone, and what a store tells of it compared with that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from mailculator.lifecycle import MOVES, STAMPS_REACHED, UNSENT, WAITING, WORKING, Move
from mailculator.model import Email, HistoryEntry, Row, Status

STEP = 1000.0
"""Seconds; time passes by multiples of it, and every term is an odd number of its halves."""
HOLD = 2.5 * STEP
"""Seconds for which another program's working row is left alone."""
OPERATOR = "by anna: mended"
"""How every note of an operator ends."""
SLACK = 0.4 * STEP
"""Seconds by which what a store tells of a time may differ: an example must not take longer."""


def in_model_time(moment: datetime | float, now: float) -> float:
    """A store's time, or epoch seconds, in the model's, where it is `now`."""
    stamp = moment.timestamp() if isinstance(moment, datetime) else moment
    return now - (datetime.now(UTC).timestamp() - stamp)


class Broken(AssertionError):
    """A store did what the contract does not allow."""


def insist(truth: bool, *what: object) -> None:
    """Errors: Broken, with `what`."""
    if not truth:
        raise Broken(" ".join(str(part) for part in what))


class Span(NamedTuple):
    """A moment that is known to lie between two; mostly they are one."""

    first: float
    last: float

    def passed(self, now: float) -> bool | None:
        """Whether it has; None where nobody can tell."""
        if self.last <= now:
            return True
        return False if self.first > now else None


def at(moment: float) -> Span:
    """A moment that is known."""
    return Span(moment, moment)


class Rescue(NamedTuple):
    """What a rescuer wrote last."""

    by: int
    version: int
    to: Status
    note: str | None


@dataclass
class Mail:
    """One email.

    Arguments:
        born, moved: when it came in; when somebody last wrote to it.
        foreign: another program has moved it since we did. What stands in the row of tries is an earlier stage's.
        until: when its lease ends, as the row tells (first), and as whoever watches it may reckon (last).
        raised: by how much another program has raised the version.
        lines: the history's versioned lines.
        marks: what operators have set without a move, as the history tells of it.
        written: what holders have recorded, by version and token of the claim.
        rescued: until the next claim.
        reached_unsure: another program has brought it to a callback's stage, and the store may have written down when.
        left: the token that stands in the row, whoever has moved it since; None where only the store knows.
    """

    id: str
    path: str
    born: float
    ttl: float | None
    due: Span
    moved: Span
    status: Status = Status.ACCEPTED
    version: int = 1
    parked: bool = False
    cancelled: str | None = None
    attempts: int = 0
    crashes: int = 0
    generation: int = 0
    error: str | None = None
    reason: str | None = None
    domain: str | None = None
    failing: float | None = None
    reached: Span | None = None
    token: str | None = None
    holder: str | None = None
    claimed: float = 0.0
    lease: float = 0.0
    until: Span | None = None
    foreign: bool = False
    raised: int = 0
    lines: list[tuple[int, Status, str | None]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    written: dict[tuple[int, str], tuple[Status, str | None]] = field(default_factory=dict)
    rescued: Rescue | None = None
    reached_unsure: bool = False
    left: str | None = ""

    @property
    def is_unknown(self) -> bool:
        """Whether the relay may have it, and nobody knows."""
        says = [one for one in (self.error, self.reason) if one is not None and one.startswith("outcome unknown")]
        failed = (Status.FAILED, Status.CALLING_FAILED_CALLBACK, Status.FAILED_ACKNOWLEDGED)
        return bool(says) and self.status in (Status.READY, Status.PROCESSING, *failed)

    def go(self, to: Status, note: str | None, now: float) -> None:
        """One of our moves: a version and a line."""
        assert to in MOVES[self.status], f"the model itself is wrong: {self.status} -> {to}"
        self.status, self.version, self.moved = to, self.version + 1, at(now)
        self.lines.append((self.version, to, note))

    def forget_tries(self) -> None:
        """They start anew."""
        self.attempts, self.crashes, self.failing, self.error = 0, 0, None, None

    def is_for(self, past: str, now: float) -> bool | None:
        """Whether an operator's mark concerns it; None where nobody can tell."""
        match past:
            case "released":
                return self.parked
            case "cancelled":
                return self.status in UNSENT and self.cancelled is None
        waits = self.status in WAITING and not self.parked
        if past == "parked" or not waits:
            return waits
        due = self.due.passed(now)
        return None if due is None else not due

    def mark(self, past: str, now: float) -> None:
        """No move: what an operator's mark leaves in the row."""
        self.marks.append(f"{past} {OPERATOR}")
        if past == "parked":
            self.parked = True
            return
        self.parked, self.due = False, at(now)
        if past == "released":
            self.attempts, self.crashes, self.failing = 0, 0, None
        if past == "cancelled":
            self.cancelled = "mended"
        if self.foreign:
            # Whether that counts as a write, for which another program is waited for anew, is the store's to say.
            self.moved = Span(self.moved.first, now)

    def stands(self, email: Email) -> bool:
        """Whether a claim is the one that holds it. Another program's row has whatever token was left in it.

        But not one of an email that had its id before: that is another email.
        """
        same = (self.status, self.version) == (email.status, email.version)
        token = self.left if self.foreign else self.token or ""
        return same and (token is None or token == email.claim_token)

    def holds(self, email: Email) -> bool:
        """Whether that claim is ours to write under."""
        return not self.foreign and self.stands(email)

    def apply(self, move: Move, now: float) -> None:
        """One of our moves from a working status: what it leaves in the row."""
        self.go(move.to, move.note, now)
        if move.forward:
            self.attempts, self.failing, self.error = 0, None, None
            if move.to in STAMPS_REACHED:
                self.reached, self.reached_unsure = at(now), False
        else:
            self.attempts = self.attempts if move.counts else max(self.attempts - 1, 0)
            self.failing = now if move.failing and self.failing is None else self.failing
            self.error = self.error if move.error is None else move.error
        self.crashes = self.crashes if move.crashes is None else move.crashes
        self.reason = self.reason if move.reason is None else move.reason
        self.domain = self.domain if move.domain is None else move.domain
        self.due, self.parked, self.until, self.left = at(now + move.delay), move.park, None, None

    def check_email(self, email: Email, now: float) -> None:
        """What a claim hands out, or `overdue`, is what stands there."""
        tries = (0, 0, None) if self.foreign else (self.attempts, self.crashes, self.error)
        right = (self.status, self.version, self.generation, self.path, self.reason, self.cancelled, tries)
        told = (email.status, email.version, email.generation, email.payload_file_path, email.reason, email.cancelled)
        told_tries = (email.attempts, email.crashes, email.last_error)
        insist((*told, told_tries) == right, self.id, "should be", right, "and is", (*told, told_tries))
        insist(email.expired == (self.ttl is not None and self.ttl <= now), self.id, "expired:", email.expired)
        failing = 0.0 if self.failing is None or self.foreign else now - self.failing
        insist(abs(email.failing_for - failing) < SLACK, self.id, "failing for", email.failing_for, "not", failing)
        insist((email.expires_in is None) == (self.ttl is None), self.id, "expires in", email.expires_in)
        if email.expires_in is not None and self.ttl is not None:
            insist(abs(now + email.expires_in - self.ttl) < SLACK, self.id, "expires in", email.expires_in)

    def check_row(self, row: Row, now: float) -> None:
        """A row as `get` and `page` tell of it."""
        right: list[object] = [self.status, self.version, self.generation, self.path, self.reason]
        told: list[object] = [row.status, row.version, row.generation, row.payload_file_path, row.reason]
        right += [self.parked, self.cancelled]
        told += [row.parked, row.cancelled]
        if not self.foreign:
            right += [self.attempts, self.crashes, self.error, self.domain]
            told += [row.attempts, row.crashes, row.last_error, row.recipient_domain]
            if self.status in WORKING:
                right += [self.token, self.holder]
                told += [row.claim_token, row.claimed_by]
        insist(told == right, row.id, "should be", right, "and is", told)
        self._check_times(row, now)

    def _check_times(self, row: Row, now: float) -> None:
        times: list[tuple[str, Span | None, datetime | float | None]] = [
            ("created", at(self.born), row.created_at),
            ("ttl", None if self.ttl is None else at(self.ttl), row.ttl),
        ]
        if self.status in WAITING and not self.parked:
            times.append(("due", self.due, row.due_at))
        if not self.foreign:
            times.append(("lease", self.until, row.lease_until))
        if not self.foreign and not self.reached_unsure:
            times.append(("reached", self.reached, row.reached_at))
        for name, right, told in times:
            insist((right is None) == (told is None), self.id, name, "should be", right, "and is", told)
            if right is not None and told is not None:
                moment = in_model_time(told, now)
                last = right.first if name == "lease" else right.last
                insist(right.first - SLACK < moment < last + SLACK, self.id, name, "is", moment, "and not", right)

    def check_history(self, lines: Sequence[HistoryEntry], *, kept: int | None) -> None:
        """Every version once, in order, along MOVES, with its note."""
        insist(self.version == 1 + len(self.lines) + self.raised, self.id, "has version", self.version)
        told = [(line.version, line.status, line.reason) for line in lines if line.version is not None]
        whole = [(version, status.value, note) for version, status, note in self.lines]
        if kept is None:
            insist(told == whole, self.id, "has the history", told, "and not", whole)
            marks = [line.reason for line in lines if line.version is None and OPERATOR in (line.reason or "")]
            insist(marks == self.marks, self.id, "was marked", self.marks, "and has", marks)
        else:
            insist(told == whole[len(whole) - len(told) :], self.id, "has the history", told, "and not", whole)
            insist(len(told) == len(whole) or len(lines) >= kept, self.id, "has but", told, "of", whole)
