"""Why an email stands where it stands, in sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailculator.fleet import WHOLE
from mailculator.insight.view import View
from mailculator.insight.why import why
from mailculator.lifecycle import TERMINAL
from mailculator.model import HistoryEntry, Row, Status
from tests.support.views import NOW, away, counted, member, pause, row, view

ENDED_A_MINUTE_AGO = NOW - timedelta(minutes=1)


def told(about: Row, seen: View | None = None, *past: str) -> list[str]:
    history = [HistoryEntry(about.status, None, text, NOW) for text in past]
    return why(about, history, seen or view(), NOW)


@pytest.mark.parametrize("status", list(Status))
def test_there_is_an_answer_in_every_status(status: Status) -> None:
    for about in (row(status), row(status, parked=True), row(status, lease_until=NOW, claimed_by="blue-1")):
        sentences = told(about)
        assert sentences
        assert all(one[0].isupper() and one.endswith(".") for one in sentences)
        assert all(".." not in one for one in sentences)


@pytest.mark.parametrize(
    ("status", "reason", "says", "then"),
    [
        (Status.SENT_ACKNOWLEDGED, None, "the relay took it", "repeat the callback, and send no mail"),
        (
            Status.FAILED_ACKNOWLEDGED,
            "rcpt: 550.",
            "it was not sent, and its producer was told why: rcpt: 550.",
            "anew",
        ),
        (Status.INVALID, "no body", "cannot be sent as it is: no body.", "A requeue would send it anew."),
    ],
)
def test_what_has_ended_says_how_and_what_a_requeue_would_do(
    status: Status, reason: str | None, says: str, then: str
) -> None:
    first, second = told(row(status, reason=reason))
    assert says in first
    assert then in second


class TestWaiting:
    def test_its_turn_has_come(self) -> None:
        seen = view(counts=counted(Status.READY, 12, parked=2))
        assert told(row(Status.READY), seen) == [
            "It has been due at sender for 60 s, one of 10 emails that wait there, and will be taken in its turn."
        ]

    def test_a_later_try_says_when_and_after_what(self) -> None:
        later = row(Status.READY, due_at=NOW + timedelta(minutes=5), attempts=3, last_error="rcpt: 451 greylisted.")
        assert told(later) == [
            "Its next try at sender is due in 5 min, after try 3.",
            "Its last error: rcpt: 451 greylisted.",
        ]

    def test_parked_says_who_did_it(self) -> None:
        assert told(row(Status.SENT, parked=True), None, "parked by ada: wait for them") == [
            "It is parked, and nobody works on it until it is released (parked by ada: wait for them)."
        ]

    @pytest.mark.parametrize(
        ("seen", "because"),
        [
            (view(pauses=[pause("sender", minutes=30)]), "ada has paused sender until 2026-11-28 03:45:00Z: relay is"),
            (view(pauses=[pause(WHOLE)]), "ada has paused all pipelines: relay is moved."),
            (view(stopped="an older consumer writes"), "nothing is claimed from MariaDB: an older consumer writes."),
            (view(member(stopped=True)), "no replica works on MariaDB."),
            (view(member(age=600)), "no replica works on MariaDB."),
            (view(member(draining=True)), "every replica of MariaDB is being stopped."),
            (view(member(away=away("relay"))), "the relay takes no mail: 421 try later."),
            (view(member(away=away("journal", "disk full"))), "the journal cannot be written: disk full."),
            (view(member(away=away("share", ""))), "payload files cannot be read: no reason given."),
        ],
    )
    def test_what_holds_it_up_comes_first(self, seen: View, because: str) -> None:
        first, second = told(row(Status.READY), seen)
        assert first.startswith(f"It waits, because {because}")
        assert second == "It has been due at sender for 60 s."

    @pytest.mark.parametrize(
        "seen",
        [
            view(pauses=[pause("intake")]),
            view(member(away=away("callback"))),
            view(member(away=away("relay")), member("blue-2")),
            view(member(draining=True), member("blue-2")),
        ],
    )
    def test_what_concerns_another_pipeline_or_some_replicas_holds_up_nothing(self, seen: View) -> None:
        (only,) = told(row(Status.READY), seen)
        assert only.endswith("will be taken in its turn.")

    def test_a_relay_that_slows_us_down_is_told_to_mail_for_it_alone(self) -> None:
        slow = view(member(rate=1.0, rate_reason="451"))
        assert told(row(Status.READY), slow)[-1] == "The relay slows us down meanwhile."
        assert len(told(row(Status.SENT), slow)) == 1


class TestHeld:
    def held(self, **changes: Any) -> Row:
        return row(Status.PROCESSING, **{"claimed_by": "blue-1", "lease_until": NOW + timedelta(seconds=40), **changes})

    def test_by_whom_and_for_how_long(self) -> None:
        assert told(self.held()) == ["It is in the hands of blue-1 (sender), whose lease lasts for 40 s more."]

    def test_a_holder_that_fell_silent(self) -> None:
        first, second = told(self.held(), view(member(age=600)))
        assert "in the hands of blue-1" in first
        assert second == "That replica has been silent for 10 min: when the lease is over, the email is taken up again."

    def test_a_lease_that_is_over(self) -> None:
        over = self.held(lease_until=ENDED_A_MINUTE_AGO)
        (here,), (alone,) = told(over), told(over, view(member(age=600)))
        assert (
            here
            == "It was in the hands of blue-1 (sender), whose lease ended 60 s ago: the next scan takes it up again."
        )
        assert alone.endswith("it is taken up again when a replica is there.")

    def test_another_programs_row(self) -> None:
        (only,) = told(self.held(claimed_by=None, lease_until=None))
        assert only.startswith("Another program works on it, at sender")


class TestBesides:
    def test_a_cancelled_email(self) -> None:
        about = row(Status.READY, cancelled="wrong list")
        assert told(about)[-1].startswith("It is cancelled (wrong list): whoever takes it up next makes it FAILED")
        assert len(told(row(Status.SENT, cancelled="wrong list"))) == 1

    def test_an_email_that_was_not_sent_says_why_until_its_producer_knows(self) -> None:
        assert (
            told(row(Status.FAILED, reason="rcpt: 550 no such user"))[-1] == "It was not sent: rcpt: 550 no such user."
        )

    @pytest.mark.parametrize("field", ["last_error", "reason"])
    def test_an_outcome_that_nobody_knows(self, field: str) -> None:
        about = row(Status.READY, **{field: "outcome unknown: link lost"})
        assert told(about)[-1] == "The relay may have it: the reply to an earlier try was lost."

    @pytest.mark.parametrize(("crashes", "times"), [(1, "once"), (3, "3 times in a row")])
    def test_processes_that_died_of_it(self, crashes: int, times: str) -> None:
        about = row(Status.READY, crashes=crashes)
        assert told(about)[-1] == f"A process that worked on it has died {times}; it is tried alone."

    def test_the_last_error_of_what_has_ended_is_no_news(self) -> None:
        assert TERMINAL
        for status in TERMINAL:
            assert not any("last error" in one for one in told(row(status, last_error="451")))
