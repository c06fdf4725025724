"""A queue in a dictionary, for tests of what drives a store. Tests of stores themselves use real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mailculator.errors import StoreUnavailable
from mailculator.fleet import Pause
from mailculator.lifecycle import WORKING, Move, Stage
from mailculator.model import Email, Row, Status, StatusCount
from mailculator.stores.base import Capabilities, Minute, Overdue, Ping, Recorded, Renewal, Spent, Survey
from tests.support.clock import FakeClock


@dataclass
class Entry:
    """One email in the dictionary."""

    email: Email
    due: float = 0.0
    parked: bool = False


def email(email_id: str, status: Status = Status.ACCEPTED, **changes: object) -> Email:
    """An email with nothing special about it."""
    plain = Email(
        id=email_id,
        status=status,
        version=1,
        claim_token="",
        payload_file_path=f"/payloads/{email_id}.json",
        eml_file_path=None,
        reason=None,
        attempts=0,
        generation=0,
        failing_for=0.0,
        expired=False,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        reached_at=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # a test names real fields


class MemoryControl:
    """Pauses that tests set, and what was reported. Reads fail with the store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.standing: list[Pause] = []
        self.reports: list[tuple[str, str, Mapping[str, Any]]] = []

    async def pauses(self) -> list[Pause]:
        self._store.called("pauses")
        return list(self.standing)

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        self._store.called("report")
        self.reports.append((replica, service, facts))


class MemoryStore:
    """The verbs that runners, recorders, keepers and housekeepers use.

    `away` makes every verb raise StoreUnavailable; `calls` counts verbs; `groups` keeps the size of each record.
    A renewal cannot tell anything about what is `locked`.
    """

    name = "memory"
    capabilities = Capabilities(many_processes=False)

    def __init__(self, clock: FakeClock) -> None:
        self.entries: dict[str, Entry] = {}
        self.away = False
        self.calls: dict[str, int] = {}
        self.groups: list[int] = []
        self.claims: list[tuple[int, int]] = []
        self.lose_next_reply = False
        self.locked: set[str] = set()
        self.remembered: dict[tuple[str, datetime], Minute] = {}
        self.surveyed = Survey(exact=True)
        self.charged: list[Spent] = []
        self._clock = clock
        self._tokens = 0
        self.control = MemoryControl(self)

    def add(self, *ids: str, status: Status = Status.ACCEPTED) -> None:
        for one in ids:
            self.entries[one] = Entry(email(one, status))

    def statuses(self) -> list[Status]:
        return [entry.email.status for entry in self.entries.values()]

    def steal(self, email_id: str) -> None:
        """Somebody else has rescued and claimed it."""
        entry = self.entries[email_id]
        entry.email = replace(entry.email, version=entry.email.version + 2, claim_token="other")

    def called(self, op: str) -> None:
        self.calls[op] = self.calls.get(op, 0) + 1
        if self.away:
            raise StoreUnavailable(self.name, op, "away")

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        self.called("claim")
        self._tokens += 1
        claimed: list[Email] = []
        for entry in self.entries.values():
            free = entry.email.status == stage.waiting and not entry.parked and entry.due <= self._clock.now()
            if free and len(claimed) < limit:
                entry.email = replace(
                    entry.email,
                    status=stage.working,
                    version=entry.email.version + 1,
                    claim_token=f"t{self._tokens}",
                    attempts=entry.email.attempts + 1,
                )
                claimed.append(entry.email)
        self.claims.append((limit, len(claimed)))
        return claimed

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        self.called("record")
        self.groups.append(len(moves))
        answers = [self._apply(move) for move in moves]
        if self.lose_next_reply:
            self.lose_next_reply = False
            raise StoreUnavailable(self.name, "record", "reply lost")
        return answers

    def _apply(self, move: Move) -> Recorded:
        entry = self.entries.get(move.email.id)
        if entry is None:
            return Recorded.LOST
        now = entry.email
        if (now.version, now.status, now.claim_token) == (move.email.version + 1, move.to, move.email.claim_token):
            return Recorded.DONE
        if (now.version, now.claim_token) != (move.email.version, move.email.claim_token):
            return Recorded.LOST
        attempts = 0 if move.forward else now.attempts - (not move.counts)
        crashes = now.crashes if move.crashes is None else move.crashes
        entry.email = replace(now, status=move.to, version=now.version + 1, attempts=attempts, crashes=crashes)
        entry.due = self._clock.now() + move.delay
        entry.parked = move.park
        return Recorded.DONE

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        self.called("renew")
        seen = [one for one in emails if one.id not in self.locked]
        held = frozenset(
            one.id
            for one in seen
            if one.id in self.entries
            and (self.entries[one.id].email.version, self.entries[one.id].email.claim_token)
            == (one.version, one.claim_token)
        )
        return Renewal(held, frozenset(one.id for one in seen) - held)

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        self.called("overdue")
        working = [entry.email for entry in self.entries.values() if entry.email.status in WORKING]
        return [Overdue(one, "gone", one.created_at) for one in working[:limit]]

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        self.called("rescue")
        answers = [self._apply(move) for move in moves]
        for move, answer in zip(moves, answers, strict=True):
            if answer is Recorded.DONE:
                entry = self.entries[move.email.id]
                entry.email = replace(entry.email, claim_token="")
        return answers

    async def purge(self, limit: int) -> int:
        self.called("purge")
        return 0

    async def ping(self) -> Ping:
        self.called("ping")
        return Ping("memory", tested=True, writable=True, seconds=0.0)

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        self.called("counts")
        return {status: StatusCount(self.statuses().count(status)) for status in Status}

    async def remember(self, minute: Minute) -> None:
        self.called("remember")
        self.remembered[minute.replica, minute.at] = minute

    async def minutes(self, since: datetime) -> list[Minute]:
        self.called("minutes")
        return sorted((one for one in self.remembered.values() if one.at >= since), key=lambda one: one.at)

    async def upkeep(self, replica: str) -> None:
        self.called("upkeep")

    async def survey(self) -> Survey:
        self.called("survey")
        return self.surveyed

    def spent(self) -> Sequence[Spent]:
        return self.charged

    async def get(self, email_id: str) -> Row | None:
        raise NotImplementedError

    async def close(self) -> None:
        return None
