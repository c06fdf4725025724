"""Outcomes become moves, and only moves of the diagram."""

from __future__ import annotations

import pytest

from mailculator import lifecycle
from mailculator.lifecycle import Outcome
from mailculator.model import Status
from tests.support.memory_store import email

PREPARED = lifecycle.Prepared("example.com", "note")
INVALID = lifecycle.Invalid("why")
SENT = lifecycle.Sent("250 ok")
FAILED = lifecycle.Failed("why")
ACKNOWLEDGED = lifecycle.Acknowledged("200")
RETRY = lifecycle.Retry("later", 5.0)
WAIT = lifecycle.Wait("away", 1.0)
RELEASE = lifecycle.Release("stopping")
PARK = lifecycle.Park("given up")
RESCUED = lifecycle.Rescued("rescued: the lease of me expired")
CRASHED = lifecycle.Rescued("rescued: it died of it", crashed=True, error="outcome\nunknown")

BACK: tuple[Outcome, ...] = (RETRY, WAIT, RELEASE, PARK, RESCUED, CRASHED)


def leads(back: Status, forward: dict[Outcome, Status]) -> dict[Outcome, Status]:
    return forward | dict.fromkeys(BACK, back)


ALLOWED: dict[Status, dict[Outcome, Status]] = {
    Status.INTAKING: leads(Status.ACCEPTED, {PREPARED: Status.READY, INVALID: Status.INVALID, FAILED: Status.FAILED}),
    Status.PROCESSING: leads(Status.READY, {SENT: Status.SENT, FAILED: Status.FAILED, INVALID: Status.INVALID}),
    Status.CALLING_SENT_CALLBACK: leads(Status.SENT, {ACKNOWLEDGED: Status.SENT_ACKNOWLEDGED}),
    Status.CALLING_FAILED_CALLBACK: leads(Status.FAILED, {ACKNOWLEDGED: Status.FAILED_ACKNOWLEDGED}),
}
EVERY: tuple[Outcome, ...] = (PREPARED, INVALID, SENT, FAILED, ACKNOWLEDGED, *BACK)


@pytest.mark.parametrize("working", sorted(lifecycle.WORKING))
@pytest.mark.parametrize("outcome", EVERY, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_is_the_one_allowed_move_or_a_bug(working: Status, outcome: Outcome) -> None:
    held = email("a", working)
    if outcome in ALLOWED[working]:
        assert lifecycle.move(held, outcome).to is ALLOWED[working][outcome]
    else:
        with pytest.raises(ValueError, match="cannot follow"):
            lifecycle.move(held, outcome)


def test_every_status_is_waiting_working_or_terminal() -> None:
    assert set(Status) == lifecycle.WAITING | lifecycle.WORKING | lifecycle.TERMINAL
    assert len(lifecycle.WAITING) + len(lifecycle.WORKING) + len(lifecycle.TERMINAL) == len(Status) == 11


def test_only_failures_tell_the_producer_a_reason() -> None:
    held = email("a", Status.PROCESSING)
    assert lifecycle.move(held, FAILED).reason == "why"
    assert [lifecycle.move(held, outcome).reason for outcome in (SENT, *BACK)] == [None] * 7


def test_what_counts_as_a_try() -> None:
    held = email("a", Status.PROCESSING)
    assert [lifecycle.move(held, outcome).counts for outcome in BACK] == [True, False, False, True, True, True]


def test_a_rescue_is_due_at_once_and_ages_no_mail() -> None:
    for outcome in (RESCUED, CRASHED):
        moved = lifecycle.move(email("a", Status.PROCESSING), outcome)
        assert (moved.delay, moved.failing, moved.park, moved.reason) == (0.0, False, False, None)


def test_a_rescue_keeps_the_last_error_unless_it_knows_of_another() -> None:
    held = email("a", Status.PROCESSING, last_error="451 later")
    assert [lifecycle.move(held, outcome).error for outcome in (RESCUED, CRASHED)] == [None, "outcome unknown"]


def test_whatever_ends_a_try_ends_the_count_of_crashes() -> None:
    held = email("a", Status.PROCESSING, crashes=2)
    ended: tuple[Outcome, ...] = (SENT, FAILED, INVALID, RETRY, WAIT, PARK)
    assert [lifecycle.move(held, outcome).crashes for outcome in ended] == [0] * 6
    assert [lifecycle.move(held, outcome).crashes for outcome in (RELEASE, RESCUED)] == [None, None]
    assert lifecycle.move(held, CRASHED).crashes == 3


def test_a_relay_that_is_away_ages_no_mail_but_a_callback_does() -> None:
    assert not lifecycle.move(email("a", Status.PROCESSING), WAIT).failing
    assert lifecycle.move(email("a", Status.CALLING_SENT_CALLBACK), WAIT).failing


def test_reasons_are_one_printable_line_of_bounded_length() -> None:
    dirty = "550 no\r\nsuch\x00 user\x1b[31m " + "x" * 5000
    cleaned = lifecycle.clean(dirty)
    assert cleaned.startswith("550 no such user [31m xxx")
    assert len(cleaned) == lifecycle.REASON_LIMIT
    assert cleaned.isprintable()
