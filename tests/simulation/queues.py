"""A queue with everything that the contract asks of one (stores/base.py), in memory, and what it may say of itself.

Each verb is one step of the world, as it is one transaction in life; whose call takes how long, comes twice or is not
answered is not for here. That it does what every store does is shown by test_store_agrees.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import MappingProxyType

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    REQUEUES,
    SENT_CALLBACK,
    STAMPS_REACHED,
    TERMINAL,
    WAITING,
    WORKING,
    Move,
    Stage,
    clean,
    says_unknown,
)
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores.base import Enqueued, Minute, Overdue, Recorded, Renewal, Steered
from mailculator.stores.sought import Sought
from tests.simulation.board import Board
from tests.simulation.marks import MARKS
from tests.simulation.rows import Entry, Line, moment

_WORKING = sorted(WORKING)


class Queue:
    """All rows.

    Arguments:
        now: the store's clock, epoch seconds.
        token: names a claim; never the same twice.
        on_claim, on_rescue: told of each row that is claimed, and that is about to be taken from its holder.
    """

    def __init__(
        self,
        now: Callable[[], float],
        token: Callable[[], str],
        *,
        on_claim: Callable[[Entry], None] = lambda entry: None,
        on_rescue: Callable[[Entry], None] = lambda entry: None,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.remembered: dict[tuple[str, datetime], Minute] = {}
        self.board = Board(now)
        self._standing: dict[Status, dict[str, Entry]] = {status: {} for status in Status}
        self._now = now
        self._token = token
        self._on_claim = on_claim
        self._on_rescue = on_rescue
        self._born = 0
        self._mortal = 0

    # What producers do.

    def enqueue(self, emails: Sequence[NewEmail], note: str | None = "enqueued") -> list[Enqueued]:
        """New rows; what is there is left alone."""
        answers = []
        for email in emails:
            if email.id in self.entries:
                answers.append(Enqueued.EXISTS)
                continue
            at = self._now()
            self._born += 1
            entry = Entry(email.id, email.payload_file_path, self._born, at, email.ttl, at, at)
            self.entries[email.id] = self._standing[Status.ACCEPTED][email.id] = entry
            self._mortal += email.ttl is not None
            if note is not None:
                entry.lines.append(Line(Status.ACCEPTED, None, note, at))
            answers.append(Enqueued.CREATED)
        return answers

    # What holders do.

    def claim(self, stage: Stage, limit: int, lease: float, holder: str) -> list[Email]:
        """Oldest due first."""
        standing = self._standing[stage.waiting]
        if not standing or limit <= 0:
            return []
        at = self._now()
        due = sorted(
            (entry for entry in standing.values() if not entry.parked and entry.due <= at),
            key=lambda entry: (entry.due, entry.number),
        )
        if not due:
            return []
        token, note = self._token(), clean(f"claimed by {holder}")
        claimed = due[:limit]
        for entry in claimed:
            if entry.version not in entry.versions:  # another program brought it here
                entry.forget_tries()
            if stage in (SENT_CALLBACK, FAILED_CALLBACK) and entry.reached is None:
                entry.reached = entry.updated
            self._go(entry, stage.working, note, at)
            entry.token, entry.holder, entry.attempts = token, holder, entry.attempts + 1
            entry.lease, entry.lease_version = at + lease, entry.version
            self._on_claim(entry)
        return [entry.as_email(at) for entry in claimed]

    def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """What the claims' holders say."""
        return [self._record(move) for move in moves]

    def _record(self, move: Move) -> Recorded:
        email = move.email
        entry = self.entries.get(email.id)
        if entry is None:
            return Recorded.LOST
        if self.holds(entry, email):
            entry.closed.add(email.claim_token)
            self._apply(entry, move, self._now())
            return Recorded.DONE
        return self._again(entry, move, None)

    def holds(self, entry: Entry, email: Email) -> bool:
        """Whether that claim stands: the fence of every write."""
        return (entry.status, entry.version, entry.token) == (email.status, email.version, email.claim_token)

    def _again(self, entry: Entry, move: Move, name: str | None) -> Recorded:
        """Whether it was written before: a reply was lost."""
        email = move.email
        line = entry.versions.get(email.version + 1)
        if line is None or (line.status, line.reason) != (move.to, move.note):
            return Recorded.LOST
        if entry.version > email.version + 1:
            return Recorded.DONE if name is None else Recorded.LOST
        return Recorded.DONE if entry.token == (name or email.claim_token) else Recorded.LOST

    def renew(self, emails: Sequence[Email], lease: float) -> Renewal:
        """However late they come."""
        at = self._now()
        held = set()
        for email in emails:
            entry = self.entries.get(email.id)
            if entry is not None and self.holds(entry, email):
                entry.lease, entry.updated = at + lease, at
                held.add(email.id)
        return Renewal(frozenset(held), frozenset(email.id for email in emails if email.id not in held))

    # What rescuers do.

    def overdue(self, limit: int, foreign_hold: float) -> list[Overdue]:
        """What nobody holds any more."""
        at = self._now()
        found = [entry for entry in self._at_work() if self._is_overdue(entry, at, foreign_hold)]
        return [self._overdue(entry, at) for entry in found[: max(limit, 0)]]

    def _at_work(self) -> Iterator[Entry]:
        for status in _WORKING:
            yield from self._standing[status].values()

    def _is_overdue(self, entry: Entry, at: float, foreign_hold: float) -> bool:
        if entry.status not in WORKING:
            return False
        if entry.lease_version == entry.version and entry.lease is not None:
            return entry.lease < at
        return entry.updated < at - foreign_hold

    def _overdue(self, entry: Entry, at: float) -> Overdue:
        ours = entry.lease_version == entry.version
        claim = entry.versions.get(entry.version)
        since = moment(entry.created if claim is None else claim.at)
        return Overdue(entry.as_email(at, known=ours), entry.holder if ours else None, since)

    def rescue(self, moves: Sequence[Move], foreign_hold: float, names: Callable[[Email], str]) -> list[Recorded]:
        """What became of it. `names`: of this rescuer's rescues, for the rows."""
        return [self._rescue(move, foreign_hold, names(move.email)) for move in moves]

    def _rescue(self, move: Move, foreign_hold: float, name: str) -> Recorded:
        email, at = move.email, self._now()
        entry = self.entries.get(email.id)
        if entry is None:
            return Recorded.LOST
        same = (entry.status, entry.version, entry.token or "") == (email.status, email.version, email.claim_token)
        if not same or not self._is_overdue(entry, at, foreign_hold):
            return self._again(entry, move, name)
        self._on_rescue(entry)
        if entry.lease_version != entry.version:
            entry.forget_tries()
        self._apply(entry, move, at)
        entry.token = name
        return Recorded.DONE

    # What operators do.

    def requeue(self, ids: Sequence[str], who: str, why: str, ttl_extension: float) -> list[Steered]:
        """Along REQUEUES."""
        note = clean(f"requeued by {who}: {why}")
        return [self._requeue(self.entries.get(one.lower()), note, ttl_extension) for one in ids]

    def _requeue(self, entry: Entry | None, note: str, ttl_extension: float) -> Steered:
        target = None if entry is None else REQUEUES.get(entry.status)
        if entry is None or target is None:
            return Steered.MISSING if entry is None else Steered.NOT_APPLICABLE
        at = self._now()
        self._go(entry, target, note, at)
        entry.forget_tries()
        entry.due, entry.parked, entry.cancelled = at, False, None
        entry.token, entry.lease, entry.lease_version = None, None, None
        if target in (Status.ACCEPTED, Status.READY):
            entry.generation, entry.reached = entry.generation + 1, None
        if entry.ttl is not None and entry.ttl <= at:
            entry.ttl = int(at + ttl_extension)
        return Steered.DONE

    def mark(self, past: str, ids: Sequence[str], who: str, why: str) -> list[Steered]:
        """What is no move; `past` is one of MARKS."""
        note = clean(f"{past} by {who}: {why}")
        return [self._mark(past, self.entries.get(one.lower()), note, why) for one in ids]

    def _mark(self, past: str, entry: Entry | None, note: str, why: str) -> Steered:
        at = self._now()
        if entry is None or not MARKS[past](entry, at, why):
            return Steered.MISSING if entry is None else Steered.NOT_APPLICABLE
        entry.lines.append(Line(entry.status, None, note, at))
        return Steered.DONE

    def purge(self, limit: int) -> int:
        """What is terminal and past its ttl goes."""
        if not self._mortal:
            return 0
        at = self._now()
        late = [
            entry
            for status in sorted(TERMINAL)
            for entry in self._standing[status].values()
            if entry.ttl is not None and entry.ttl < at
        ]
        for entry in late[:limit]:
            self.delete(entry.id)
        return len(late[:limit])

    def delete(self, email_id: str) -> None:
        """By hand."""
        entry = self.entries.pop(email_id)
        del self._standing[entry.status][email_id]
        self._mortal -= entry.ttl is not None

    # What stands there.

    def counts(self, terminal: bool) -> MappingProxyType[Status, StatusCount]:
        """Per status."""
        at = self._now()
        return MappingProxyType(
            {status: self._count(status, at) for status in Status if terminal or status not in TERMINAL}
        )

    def _count(self, status: Status, at: float) -> StatusCount:
        entries = self._standing[status]
        if not entries:
            return StatusCount(0)
        parked = sum(entry.parked for entry in entries.values())
        due = [entry.due for entry in entries.values() if not entry.parked or status not in WAITING]
        return StatusCount(len(entries), parked, max(0.0, at - min(due)) if due else 0.0)

    def page(self, sought: Sought, limit: int) -> list[Row]:
        """In the order of their ids."""
        found = [
            entry
            for email_id, entry in sorted(self.entries.items())
            if (sought.among is None or entry.status in sought.among)
            and sought.parked in (None, entry.parked)
            and (not sought.unknown or says_unknown(entry.error) or says_unknown(entry.reason))
            and sought.domain in (None, entry.domain)
            and email_id > (sought.after or "")
        ]
        return [entry.as_row() for entry in found[: max(limit, 0)]]

    def get(self, email_id: str) -> Row | None:
        """As it stands."""
        entry = self.entries.get(email_id.lower())
        return None if entry is None else entry.as_row()

    def history(self, email_id: str) -> list[HistoryEntry]:
        """Oldest first."""
        entry = self.entries.get(email_id.lower())
        lines = [] if entry is None else entry.lines
        return [HistoryEntry(line.status, line.version, line.reason, moment(line.at)) for line in lines]

    # How a row changes.

    def put(self, entry: Entry, status: Status) -> None:
        """Stand it elsewhere, and nothing else."""
        del self._standing[entry.status][entry.id]
        self._standing[status][entry.id] = entry
        entry.status = status

    def _go(self, entry: Entry, to: Status, note: str | None, at: float) -> None:
        self.put(entry, to)
        entry.version, entry.updated = entry.version + 1, at
        entry.write(to, note, at)

    def _apply(self, entry: Entry, move: Move, at: float) -> None:
        forward = move.forward
        self._go(entry, move.to, move.note, at)
        if forward:
            entry.attempts, entry.failing, entry.error = 0, None, None
            entry.reached = at if move.to in STAMPS_REACHED else entry.reached
        else:
            entry.attempts = entry.attempts if move.counts else max(entry.attempts - 1, 0)
            entry.failing = at if move.failing and entry.failing is None else entry.failing
            entry.error = entry.error if move.error is None else move.error
        entry.crashes = entry.crashes if move.crashes is None else move.crashes
        entry.reason = entry.reason if move.reason is None else move.reason
        entry.domain = entry.domain if move.domain is None else move.domain
        entry.due = at if forward else at + move.delay
        entry.parked = entry.parked or move.park
        entry.lease = entry.lease_version = None
