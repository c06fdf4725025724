"""The check that the rehearsal of a cutover rests on: it holds for books in order, and notices what it is there for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from mailculator.model import Status
from tests.support.counting_sink import Accepted, Answered
from tests.support.invariants import Note, Standing
from tests.support.two_books import Killed, TwoBooks, sent_again, violations

OLD, NEW = "dynamodb", "mysql"
ONCE, BOTH, AGAIN = "once", "both", "again"

_CALLED = ("CALLING-SENT-CALLBACK", "SENT-ACKNOWLEDGED")
_RESCUED = "rescued: the lease of blue expired"


def copy(email_id: str, *steps: str, reasons: Mapping[str, str] = {}) -> Standing:  # never changed
    notes = [Note(step, version, reasons.get(step)) for version, step in enumerate(("INTAKING", "READY", *steps), 2)]
    return Standing(email_id, Status(steps[-1]), len(notes) + 1, 0, tuple(notes))


def given_up(email_id: str, store: str) -> Standing:
    return copy(email_id, "PROCESSING", "INVALID", reasons={"INVALID": f"duplicate: in {store}"})


def sent(email_id: str) -> Standing:
    return copy(email_id, "PROCESSING", "SENT", *_CALLED)


def rescued(email_id: str) -> Standing:
    steps = ("PROCESSING", "READY", "PROCESSING", "SENT", *_CALLED)
    return copy(email_id, *steps, reasons={"READY": _RESCUED})


def mail(email_id: str) -> Accepted:
    return Accepted(email_id, email_id, "ours", "from@example.com", "to@example.com", "0" * 64)


def called(email_id: str, kind: str = "sent") -> Answered:
    return Answered(email_id, kind, f"{email_id}:{kind}", 200)


ORDER = TwoBooks(
    expected={OLD: frozenset({ONCE, BOTH}), NEW: frozenset({BOTH, AGAIN})},
    copies={OLD: (sent(ONCE), given_up(BOTH, NEW)), NEW: (sent(BOTH), rescued(AGAIN))},
    accepted=(mail(ONCE), mail(BOTH), mail(AGAIN), mail(AGAIN)),
    answers=(called(ONCE), called(BOTH), called(AGAIN)),
    killed=(Killed("blue", {NEW: {AGAIN: Status.PROCESSING}, OLD: {}}),),
)

Change = Callable[[TwoBooks], TwoBooks]


def test_books_in_order_hold() -> None:
    assert violations(ORDER) == []
    assert sent_again(ORDER) == {AGAIN: 1}


def copies(store: str, *standings: Standing) -> Change:
    return lambda books: replace(books, copies={**books.copies, store: standings})


def received(*ids: str) -> Change:
    return lambda books: replace(books, accepted=tuple(mail(email_id) for email_id in ids))


def answers(*found: Answered) -> Change:
    return lambda books: replace(books, answers=found)


def killed(*found: Killed) -> Change:
    return lambda books: replace(books, killed=found)


BROKEN: dict[str, tuple[Change, str]] = {
    "lost": (copies(OLD, given_up(BOTH, NEW)), "dynamodb, all there: once"),
    "left": (copies(OLD, sent(ONCE), copy(BOTH, "PROCESSING")), "dynamodb, terminal once: both"),
    "sent by both": (copies(OLD, sent(ONCE), sent(BOTH)), "sent by one: both"),
    "given up by both": (copies(NEW, given_up(BOTH, OLD), rescued(AGAIN)), "sent by one: both"),
    "given up for nobody": (copies(OLD, given_up(ONCE, NEW), given_up(BOTH, NEW)), "sent by one: once"),
    "given up without a word": (copies(OLD, sent(ONCE), copy(BOTH, "PROCESSING", "INVALID")), "sent by one: both"),
    "not received": (received(ONCE, AGAIN), "received: both"),
    "received twice": (received(ONCE, BOTH, BOTH, AGAIN), "received: both"),
    "received once too often": (received(ONCE, BOTH, AGAIN, AGAIN, AGAIN), "received: again"),
    "received of nobody": (received(ONCE, BOTH, AGAIN, "unknown"), "received: 'unknown'"),
    "its sender was killed over another": (
        killed(Killed("blue", {NEW: {BOTH: Status.PROCESSING}, OLD: {}})),
        "received: again",
    ),
    "its sender was not sending it": (
        killed(Killed("blue", {NEW: {AGAIN: Status.CALLING_SENT_CALLBACK}, OLD: {}})),
        "received: again",
    ),
    "nobody took it up": (
        killed(Killed("green", {NEW: {AGAIN: Status.PROCESSING}, OLD: {}})),
        "received: again",
    ),
    "not called back": (answers(called(ONCE), called(AGAIN)), "called: both 0 times"),
    "called back twice": (answers(called(ONCE), called(BOTH), called(BOTH), called(AGAIN)), "called: both 2 times"),
    "two outcomes": (
        answers(called(ONCE), called(BOTH), called(BOTH, "failed"), called(AGAIN)),
        "called: both as failed",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_violation_is_noticed(name: str) -> None:
    change, expected = BROKEN[name]
    found = violations(change(ORDER))
    assert any(line.startswith(expected) for line in found), found


def test_a_second_call_back_is_right_where_its_caller_was_killed_or_kept_waiting() -> None:
    twice = replace(ORDER, answers=(*ORDER.answers, called(ONCE)))
    assert violations(twice) == ["called: once 2 times, 1 at the most"]
    assert violations(replace(twice, slow=frozenset({ONCE}))) == []
    over_it = Killed("blue", {OLD: {ONCE: Status.CALLING_SENT_CALLBACK}})
    assert violations(replace(twice, killed=(*ORDER.killed, over_it))) == []
