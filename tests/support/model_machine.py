"""A store and the model of a queue, side by side through whatever hypothesis thinks of.

Every rule asks the store, tells the model what it has answered, and compares all that stands there. Emails, claims and
findings are picked by a number, the newest first, from what the model knows, so that a falsifying example is short;
what each step did is printed with it.
"""

from __future__ import annotations

import sys

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mailculator.lifecycle import (
    REQUEUES,
    STAGES,
    TERMINAL,
    WORKING,
    Rescued,
    move,
)
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Overdue
from mailculator.stores.sought import Sought
from tests.support.model_steps import DOMAIN, IDS, STORES, VERBS, Asked, QueueSteps, verdict_on
from tests.support.queue_mail import STEP

OLDER_MOVES = 2
"""In one example: the third within a minute would stop the claims of a store that is watched for foreign consumers."""

PICK = st.integers(0, 7)
ID = st.sampled_from(IDS)
BY = st.integers(0, STORES - 1)
LIMIT = st.sampled_from([10, 2, 1, 0])
TTL = st.sampled_from([None, 0.5 * STEP, 4.5 * STEP, -0.5 * STEP])
TERM = st.sampled_from([1.5 * STEP, 0.5 * STEP, 2.5 * STEP])
KIND = st.integers(0, 11)
PICKS = st.lists(st.tuples(PICK, KIND), min_size=1, max_size=3)


class QueueMachine(QueueSteps):
    """One example: a fresh queue, two Stores on it, and what became of them."""

    # What producers do.

    @rule(by=BY, ids=st.lists(ID, min_size=1, max_size=3), ttl=TTL)
    def enqueue(self, by: int, ids: list[str], ttl: float | None) -> None:
        ids = [email_id for email_id in ids if email_id not in self.gone]
        expiry = None if ttl is None else self.model.now + ttl
        emails = [NewEmail(email_id, self._path(), self._epoch(ttl)) for email_id in ids]
        answers = self.run(self.stores[by].enqueue(emails))
        self.model.enqueued(emails, expiry, answers)
        self._compare(*ids)

    @precondition(lambda self: self._missing())
    @rule(pick=PICK, ttl=TTL, noted=st.booleans())
    def produce(self, pick: int, ttl: float | None, noted: bool) -> None:
        email_id, path = self._newest(self._missing(), pick), self._path()
        self.run(self.harness.produce(email_id, path, self._epoch(ttl), note=noted))
        self.model.produced(email_id, path, None if ttl is None else self.model.now + ttl)
        self._compare(email_id)

    # What holders do.

    @rule(by=BY, pick=PICK, limit=LIMIT, lease=TERM)
    def claim(self, by: int, pick: int, limit: int, lease: float) -> None:
        stage = self._newest([*STAGES, *self._busy()], pick)
        self._compare(*(one.email.id for one in self._claim(by, stage, limit, lease)))

    @precondition(lambda self: self._busy())
    @rule(by=BY, pick=PICK, kind=st.integers(0, 5))
    def work(self, by: int, pick: int, kind: int) -> None:
        """A stage goes well for all that is there."""
        claims = self._claim(by, self._newest(self._busy(), pick), 10, 2.5 * STEP)
        self._record([Asked(self._move(one, kind), by) for one in claims])

    @precondition(lambda self: self._live())
    @rule(picks=PICKS)
    def record(self, picks: list[tuple[int, int]]) -> None:
        """One group, in which a claim may come twice."""
        live = self._live()
        chosen = [(self._newest(live, pick), kind) for pick, kind in picks]
        by = chosen[0][0].by
        self._record([Asked(self._move(one, kind), by) for one, kind in chosen])

    @precondition(lambda self: self.claims)
    @rule(picks=PICKS)
    def record_whatever_became_of_it(self, picks: list[tuple[int, int]]) -> None:
        """A holder comes back, from a pause of any length."""
        chosen = [(self._newest(self.claims, pick), kind) for pick, kind in picks]
        by = chosen[0][0].by
        self._record([Asked(self._move(one, kind), by) for one, kind in chosen])

    @precondition(lambda self: self.recorded)
    @rule(pick=PICK)
    def record_again(self, pick: int) -> None:
        """A reply was lost."""
        asked = self._newest(self.recorded, pick)
        self._record([asked], anew=False)

    @precondition(lambda self: self.claims)
    @rule(picks=st.lists(PICK, min_size=1, max_size=3), lease=TERM, live=st.booleans())
    def renew(self, picks: list[int], lease: float, live: bool) -> None:
        claims = (self._live() if live else []) or self.claims
        chosen = {one.email.id: one for one in (self._newest(claims, pick) for pick in picks)}
        self._renew(list(chosen.values()), lease)
        self._compare(*chosen)

    # Time, and what rescuers do.

    @rule(steps=st.sampled_from([1, 2, 3, 5]))
    def time_passes(self, steps: int) -> None:
        """Nobody writes a history meanwhile: each is looked at when its email is touched, and in the end."""
        self._pass(steps * STEP)
        self._compare()

    @precondition(lambda self: self._ids_in(WORKING))
    @rule(by=BY, limit=st.sampled_from([10, 1]))
    def look(self, by: int, limit: int) -> None:
        self._look(by, limit)
        self._compare()

    @precondition(lambda self: self._busy())
    @rule(by=BY, pick=PICK, returns=st.booleans())
    def lapse(self, by: int, pick: int, returns: bool) -> None:
        """A holder is silent for longer than its lease, and both Stores find what it held; it comes back, or not."""
        claims = self._claim(by, self._newest(self._busy(), pick), 10, 0.5 * STEP)
        self._pass(STEP)
        for one in range(STORES):
            self._look(one, 10)
        if returns and claims:
            self._renew(claims, 1.5 * STEP)
            self._rescue(1 - by, [move(one.email, Rescued("rescued: too late")) for one in claims])
        self._compare(*self.model.mails)

    @precondition(lambda self: self.found)
    @rule(picks=PICKS)
    def rescue(self, picks: list[tuple[int, int]]) -> None:
        """Some of what was found; a holder, or another rescuer, may have come first."""
        by = self._newest(self.found, picks[0][0])[1]
        mine = [found for found, finder in self.found if finder == by]
        chosen = [(self._newest(mine, pick), kind) for pick, kind in picks]
        self._rescue(by, [move(found.email, verdict_on(found, kind)) for found, kind in chosen])

    @precondition(lambda self: self.rescues)
    @rule(pick=PICK, by=st.sampled_from([None, 0, 1]))
    def rescue_again(self, pick: int, by: int | None) -> None:
        """A reply was lost; or another rescuer had the very same to say."""
        asked = self._newest(self.rescues, pick)
        self._rescue(asked.by if by is None else by, [asked.move])

    @precondition(lambda self: self._live())
    @rule(pick=PICK, by=BY, kind=KIND)
    def rescue_unseen(self, pick: int, by: int, kind: int) -> None:
        """Whoever holds it may live: the fence is the store's."""
        email = self._newest(self._live(), pick).email
        self._rescue(by, [move(email, verdict_on(Overdue(email, "whoever", email.created_at), kind))])

    # What operators do.

    @rule(by=BY, ids=st.lists(ID, min_size=1, max_size=2))
    def requeue(self, by: int, ids: list[str]) -> None:
        self._requeue(by, ids)

    @precondition(lambda self: self._ids_in(REQUEUES))
    @rule(by=BY, pick=PICK, upper=st.booleans())
    def requeue_what_is_done(self, by: int, pick: int, upper: bool) -> None:
        email_id = self._newest(self._ids_in(REQUEUES), pick)
        self._requeue(by, [email_id.upper() if upper else email_id])

    @rule(by=BY, past=st.sampled_from(sorted(VERBS)), pick=PICK, more=st.lists(ID, max_size=2), upper=st.booleans())
    def mark(self, by: int, past: str, pick: int, more: list[str], upper: bool) -> None:
        """What it concerns, or now and then what is there, and whatever else comes to mind."""
        ids = (self._markable(past) if pick < 4 else []) or sorted(self.model.mails)
        chosen = [self._newest(ids, pick)] if ids else []
        self._mark(by, past, [one.upper() if upper else one for one in (*chosen, *more)])

    @precondition(lambda self: self._ids_in(TERMINAL))
    @rule(by=BY, limit=st.sampled_from([10, 1]))
    def retain(self, by: int, limit: int) -> None:
        count = self.run(self.harness.retain(self.stores[by], limit))
        there = {row.id for row in self.run(self.stores[by].page(limit=100))}
        self._note_gone(*set(self.model.mails) - there)
        self.model.retained(limit, count, there)
        self._compare()

    # What other programs do.

    @precondition(lambda self: len(self.older) < OLDER_MOVES and self._for_older())
    @rule(pick=PICK, way=PICK, noted=st.booleans())
    def move_as_older(self, pick: int, way: int, noted: bool) -> None:
        mail = self.model.mails[self._newest(self._for_older(), pick)]
        ways = self._older_ways(mail)
        target = ways[way % len(ways)]
        self.older.add((mail.id, target))
        note(f"# {mail.id}: {mail.status} -> {target}")
        self.run(self.harness.move_as_older(mail.id, mail.status, target, noted=noted))
        row = self.run(self.stores[0].get(mail.id))
        assert row is not None
        self.model.moved_as_older(mail.id, target, self.harness.older_raises, row.reason)
        self._compare(mail.id)

    @precondition(lambda self: self._live() and self.harness.older_raises)
    @rule(pick=PICK)
    def move_there_and_back(self, pick: int) -> None:
        """As an older consumer would: only the version differs then."""
        email_id = self._newest(self._live(), pick).email.id
        self.run(self.harness.alter(email_id, raise_by=2))
        self.model.overtaken(email_id, 2)
        self._compare(email_id)

    @precondition(lambda self: self._live())
    @rule(pick=PICK)
    def restore_from_a_copy(self, pick: int) -> None:
        """Only the token differs then: somebody has claimed the copy."""
        email_id = self._newest(self._live(), pick).email.id
        self.numbers += 1
        token = f"{self.numbers:032x}"
        self.run(self.harness.alter(email_id, claim_token=token))
        self.model.restored(email_id, token)
        self._compare(email_id)

    @precondition(lambda self: len(self.model.mails) > len(IDS) // 2)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        email_id = self._newest(sorted(self.model.mails), pick)
        note(f"# deleted: {email_id}")
        self.run(self.harness.delete(email_id))
        self._note_gone(email_id)
        self.model.deleted(email_id)
        self._compare(email_id)

    # What operators look at.

    @rule(
        by=BY,
        status=st.sampled_from([None, *Status]),
        parked=st.booleans(),
        domain=st.sampled_from([None, DOMAIN]),
        after=ID,
        limit=LIMIT,
    )
    def page(self, by: int, status: Status | None, parked: bool, domain: str | None, after: str, limit: int) -> None:
        only = True if parked else None
        # Of a domain alone, a store may tell of active emails only.
        domain = domain if status or parked else None
        rows = self.run(self.stores[by].page(status, parked=only, domain=domain, after=after, limit=limit))
        assert [row.id for row in rows] == self.model.page(Sought(status, only, False, domain, after), limit)

    @rule(by=BY, status=st.sampled_from([None, *Status]), parked=st.booleans(), after=ID)
    def page_of_unknown_outcome(self, by: int, status: Status | None, parked: bool, after: str) -> None:
        only, store = True if parked else None, self.stores[by]
        rows = self.run(store.page(status, parked=only, unknown=True, after=after, limit=100))
        # What stands in the row of tries, where another program has moved it on, a store may have forgotten or not.
        told = [row.id for row in rows if not self.model.mails[row.id].foreign]
        right = self.model.page(Sought(status, only, True, None, after), 100)
        ended = TERMINAL if status is None and store.capabilities.looks_are_paid else ()
        mails = (self.model.mails[one] for one in right)
        assert told == [one.id for one in mails if not one.foreign and one.status not in ended]

    def teardown(self) -> None:
        broken = sys.exception()
        self.bench.tally.note(broken)
        if broken is None:
            self._compare(*IDS)
            self._count()
            self.bench.tally.held += 1
