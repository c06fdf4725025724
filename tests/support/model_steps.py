"""The steps of which a machine's rules are made: ask the store, tell the model, compare all that stands there."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import note
from hypothesis.errors import HypothesisException
from hypothesis.stateful import RuleBasedStateMachine

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    MOVES,
    REQUEUES,
    SENDER,
    SENT_CALLBACK,
    STAGE_BY_WORKING,
    STAGES,
    UNKNOWN,
    Acknowledged,
    Failed,
    Invalid,
    Move,
    Outcome,
    Park,
    Prepared,
    Release,
    Rescued,
    Retry,
    Sent,
    Stage,
    Wait,
    move,
)
from mailculator.model import Email, Status
from mailculator.stores.base import Overdue, Recorded, Store
from mailculator.stores.sought import Sought
from tests.support.harness import Harness
from tests.support.queue_mail import HOLD, STEP, Mail
from tests.support.queue_model import QueueModel

T = TypeVar("T")

IDS = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(6)]
STORES = 2
EXTENSION = 5.5 * STEP
DOMAIN = "example.com"
VERBS = {"released": "release", "parked": "park", "hastened": "hasten", "cancelled": "cancel"}
"""Of a store, by how the history tells of them."""


@dataclass
class Tally:
    """What has become of the examples so far.

    Arguments:
        held: so many went through to their end, and agreed.
        broken: the first disagreement.
    """

    held: int = 0
    broken: Exception | None = None

    def note(self, error: BaseException | None) -> None:
        """What an example ended with; whatever hypothesis ends one with for reasons of its own is no disagreement."""
        if isinstance(error, Exception) and not isinstance(error, HypothesisException):
            self.broken = self.broken or error


@dataclass(frozen=True, slots=True)
class Bench:
    """One backend, and the loop that it lives on.

    Arguments:
        loop: at rest; each step runs on it for a while.
        kept, prompt, own_tokens: as for QueueModel. Where it is not prompt, an id that has gone does not come
            again: the store remembers for some seconds what it has seen of it.
        tally: of all examples.
        count_every: statuses are counted after so many steps, and in the end; more than one where counting is dear.
    """

    harness: Harness
    loop: asyncio.AbstractEventLoop
    kept: int | None = None
    prompt: bool = True
    own_tokens: bool = False
    count_every: int = 1
    tally: Tally = field(default_factory=Tally)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)


@dataclass(frozen=True, slots=True)
class Held:
    """A claim, whatever has become of it: by which store, and its words, which are nobody else's."""

    email: Email
    by: int
    words: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A move that was asked for, and of which store."""

    move: Move
    by: int


def outcome_of(stage: Stage, kind: int, words: str) -> Outcome:
    """One of all that a pipeline may say at a stage; those that lead on are more often meant."""
    forward: dict[str, list[Outcome]] = {
        INTAKE.name: [Prepared(DOMAIN, words), Invalid(words), Failed(words)],
        SENDER.name: [Sent(words), Failed(words), Invalid(words), Sent(words), Failed(f"{UNKNOWN}: {words}")],
        SENT_CALLBACK.name: [Acknowledged(words)],
        FAILED_CALLBACK.name: [Acknowledged(words)],
    }
    back: list[Outcome] = [
        Retry(words, 0.0),
        Retry(words, 0.5 * STEP),
        Wait(words, 1.5 * STEP),
        Release(words),
        Park(words),
        Park(words),
    ]
    ahead = forward[stage.name]
    return ahead[kind % len(ahead)] if kind < 6 else back[kind - 6]


def verdict_on(found: Overdue, kind: int) -> Outcome:
    """One of all that may turn out to have become of an overdue email; every rescuer has the same words for it."""
    if kind < 3:
        crashed = kind == 1 and found.holder is not None
        return Rescued(f"rescued: {kind}", crashed, error="outcome unknown" if kind == 2 else None)
    stage = STAGE_BY_WORKING[found.email.status]
    return outcome_of(stage, kind, f"found: {kind}")


class QueueSteps(RuleBasedStateMachine):
    """One example: a fresh queue, two Stores on it, and what became of them."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.harness = bench.harness
        self.model = QueueModel(kept=bench.kept, prompt=bench.prompt, own_tokens=bench.own_tokens)
        self.stores: list[Store] = [self.run(self.harness.fresh(service=False)), self.run(self.harness.another())]
        self.claims: list[Held] = []
        self.found: list[tuple[Overdue, int]] = []
        self.recorded: list[Asked] = []
        self.rescues: list[Asked] = []
        self.gone: set[str] = set()
        self.older: set[tuple[str, Status]] = set()
        self.numbers = 0
        self.compared = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.bench.run(work)

    def _compare(self, *touched: str) -> None:
        """All rows, mostly the counts, and of what was touched the history."""
        self.compared += 1
        store = self.stores[self.compared % STORES]
        rows = self.run(store.page(limit=100))
        assert [row.id for row in rows] == self.model.page(Sought(), 100)
        for row in rows:
            self.model.mails[row.id].check_row(row, self.model.now)
        if self.compared % self.bench.count_every == 0:
            self._count()
        for email_id in sorted({one.lower() for one in touched}):
            lines = self.run(store.history(email_id))
            if email_id in self.model.mails:
                assert self.run(store.get(email_id)) == next(row for row in rows if row.id == email_id)
                self.model.mails[email_id].check_history(lines, kept=self.bench.kept)
            else:
                assert self.run(store.get(email_id)) is None
                assert lines == []

    def _count(self) -> None:
        self.model.check_counts(self.run(self.stores[0].counts(terminal=True)))

    # The steps of which rules are made.

    def _claim(self, by: int, stage: Stage, limit: int, lease: float) -> list[Held]:
        holder = f"replica-{by}"
        emails = self.run(self.stores[by].claim(stage, limit, lease=lease, holder=holder))
        note(f"# claimed: {[(email.id, email.version) for email in emails]}")
        self.model.claimed(stage, limit, emails, lease=lease, holder=holder)
        self.numbers += 1
        claims = [Held(email, by, f"said under claim {self.numbers}") for email in emails]
        self.claims += claims
        return claims

    def _move(self, claim: Held, kind: int) -> Move:
        return move(claim.email, outcome_of(STAGE_BY_WORKING[claim.email.status], kind, claim.words))

    def _record(self, asked: Sequence[Asked], *, anew: bool = True) -> None:
        if not asked:
            return self._compare()
        moves = [one.move for one in asked]
        answers = self.run(self.stores[asked[0].by].record(moves))
        note(f"# recorded {[(one.email.id, one.email.version, one.to) for one in moves]}: {answers}")
        for one, answer in zip(moves, answers, strict=True):
            self.model.recorded(one, answer)
        if anew:
            self.recorded += [one for one, answer in zip(asked, answers, strict=True) if answer is Recorded.DONE]
        return self._compare(*(one.email.id for one in moves))

    def _renew(self, claims: Sequence[Held], lease: float) -> None:
        emails = [one.email for one in claims]
        answer = self.run(self.stores[claims[0].by].renew(emails, lease=lease))
        note(f"# renewed: {answer}")
        self.model.renewed(emails, lease, answer)

    def _rescue(self, by: int, moves: Sequence[Move]) -> None:
        answers = self.run(self.stores[by].rescue(moves, foreign_hold=HOLD))
        note(f"# rescued {[(one.email.id, one.email.version, one.to) for one in moves]}: {answers}")
        # A group is one write, and two findings of one email may want the same: the one that stands is written, and the
        # store may say of the other that it is done.
        told = list(zip(moves, answers, strict=True))
        told.sort(key=lambda one: one[1] is Recorded.DONE and not self.model.has_claim(one[0].email))
        for one, answer in told:
            self.model.rescued(one, by, answer)
        self.rescues += [Asked(one, by) for one, answer in zip(moves, answers, strict=True) if answer is Recorded.DONE]
        self._compare(*(one.email.id for one in moves))

    def _look(self, by: int, limit: int) -> None:
        found = self.run(self.stores[by].overdue(limit, foreign_hold=HOLD))
        note(f"# found: {[(one.email.id, one.email.version) for one in found]}")
        self.model.looked(limit, found)
        self.found += [(one, by) for one in found]

    def _requeue(self, by: int, ids: list[str]) -> None:
        answers = self.run(self.stores[by].requeue(ids, who="anna", why="mended", ttl_extension=EXTENSION))
        note(f"# requeued {ids}: {answers}")
        self.model.requeued(ids, "requeued by anna: mended", EXTENSION, answers)
        self._compare(*ids)

    def _mark(self, by: int, past: str, ids: list[str]) -> None:
        answers = self.run(getattr(self.stores[by], VERBS[past])(ids, who="anna", why="mended"))
        note(f"# {past} {ids}: {answers}")
        self.model.marked(past, ids, answers)
        self._compare(*ids)

    def _pass(self, seconds: float) -> None:
        self.run(self.harness.rewind(seconds))
        self.model.pass_time(seconds)

    def _note_gone(self, *ids: str) -> None:
        if not self.bench.prompt:
            self.gone.update(ids)

    # What there is to pick from.

    def _newest(self, things: Sequence[T], pick: int) -> T:
        return things[-1 - pick % len(things)]

    def _live(self) -> list[Held]:
        """Claims that stand."""
        mails = self.model.mails
        return [one for one in self.claims if (mail := mails.get(one.email.id)) and mail.holds(one.email)]

    def _busy(self) -> list[Stage]:
        """Stages with work, though it may not be due."""
        waiting = {mail.status for mail in self.model.mails.values()}
        return [stage for stage in STAGES if stage.waiting in waiting]

    def _missing(self) -> list[str]:
        return [email_id for email_id in IDS if email_id not in {*self.model.mails, *self.gone}]

    def _ids_in(self, statuses: Any) -> list[str]:
        return sorted(mail.id for mail in self.model.mails.values() if mail.status in statuses)

    def _markable(self, past: str) -> list[str]:
        """What an operator's mark would concern."""
        return sorted(mail.id for mail in self.model.mails.values() if mail.is_for(past, self.model.now))

    def _for_older(self) -> list[str]:
        """What the older consumer could move on: it has no requeue, and what we park it has no reason to touch."""
        mails = self.model.mails.values()
        return sorted(
            mail.id
            for mail in mails
            if not mail.parked and mail.status not in set(REQUEUES) - {Status.FAILED} and self._older_ways(mail)
        )

    def _older_ways(self, mail: Mail) -> list[Status]:
        """Where to. It does not give back, and brings nothing to a status twice: a record of that is its only lock."""
        stage = STAGE_BY_WORKING.get(mail.status)
        back = stage.waiting if stage else Status.READY
        return sorted(to for to in MOVES[mail.status] if to is not back and (mail.id, to) not in self.older)

    def _path(self) -> str:
        self.numbers += 1
        return f"/payloads/{self.numbers}.json"

    @staticmethod
    def _epoch(seconds_from_now: float | None) -> int | None:
        return None if seconds_from_now is None else int(time.time() + seconds_from_now)
