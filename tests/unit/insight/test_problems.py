"""What is wrong with a queue, in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailculator.facts import Said
from mailculator.fleet import WHOLE
from mailculator.insight.problems import CLOCK_OFF, DUE_FOR, UNKNOWN_FOR, Problem, Severity, problems
from mailculator.insight.view import SILENT_AFTER, View
from mailculator.model import Status
from mailculator.stores.base import Ping
from tests.support.views import AT_0312, NOW, away, counted, member, pause, view


def only(seen: View) -> Problem:
    found = problems(seen)
    assert len(found) == 1, found
    return found[0]


def test_a_queue_that_works_has_none() -> None:
    assert problems(view()) == []


def test_a_store_that_is_away_is_all_that_is_told_of_it() -> None:
    found = only(View("mysql", NOW, error="mysql ping: no connection."))
    assert (found.kind, found.severity) == ("store_away", Severity.CRITICAL)
    assert found.text == "MariaDB cannot be looked at: mysql ping: no connection."


def test_a_store_that_takes_no_writes() -> None:
    found = only(view(ping=Ping("MariaDB", True, False, 0.1)))
    assert (found.kind, found.severity, found.text) == ("read_only", Severity.CRITICAL, "MariaDB takes no writes.")


def test_claims_that_the_store_has_stopped() -> None:
    found = only(view(store="dynamodb", stopped="another consumer writes there"))
    assert found.text == "Nothing is claimed from DynamoDB: another consumer writes there."
    assert found.advice == "mailculator dynamodb resume --why …"


@pytest.mark.parametrize(("off", "says"), [(CLOCK_OFF + 1, "61 s ahead of"), (-CLOCK_OFF - 1, "61 s behind")])
def test_a_clock_that_is_off(off: float, says: str) -> None:
    found = only(view(ping=Ping("MariaDB", True, True, 0.1, off)))
    assert (found.kind, found.text) == ("clock_off", f"This machine's clock is {says} that of MariaDB.")
    assert problems(view(ping=Ping("MariaDB", True, True, 0.1, CLOCK_OFF))) == []


@pytest.mark.parametrize(
    ("name", "says", "status"),
    [
        ("relay", "The relay takes no mail, since 03:12:00Z: 421 try later.", Status.READY),
        ("callback", "Callbacks fail, since 03:12:00Z: 421 try later.", Status.SENT),
        ("share", "Payload files cannot be read, since 03:12:00Z: 421 try later.", Status.ACCEPTED),
        (
            "journal",
            "The journal cannot be written, so that nothing is sent, since 03:12:00Z: 421 try later.",
            Status.READY,
        ),
    ],
)
def test_what_mail_depends_on_and_that_is_away(name: str, says: str, status: Status) -> None:
    found = only(view(member(away=away(name)), member("blue-2", away=away(name))))
    assert (found.kind, found.severity, found.text) == (f"{name}_away", Severity.CRITICAL, says)
    assert found.status is status
    assert found.since == NOW - timedelta(minutes=3)


def test_away_for_some_replicas_only_is_a_warning_that_names_them() -> None:
    found = only(view(member(away=away("relay")), member("blue-2")))
    assert (found.severity, found.text) == (
        Severity.WARNING,
        "The relay takes no mail at blue-1, since 03:12:00Z: 421 try later.",
    )


def test_an_outage_of_yesterday_has_its_date() -> None:
    yesterday = (NOW - timedelta(days=1)).timestamp()
    assert "since 2026-11-27 03:15:00Z:" in only(view(member(away=away("relay", since=yesterday)))).text


def test_what_a_silent_replica_said_last_is_no_longer_so() -> None:
    found = problems(view(member(away=away("relay"), age=SILENT_AFTER + 1), member("blue-2")))
    assert [one.kind for one in found] == ["silent"]


def test_a_relay_that_slows_us_down() -> None:
    found = only(view(member(rate=2.5, rate_reason="451 too fast"), member("blue-2", rate=9.0, rate_reason="451")))
    assert found.text == ("The relay slows us down (451 too fast): 2.5 mails a second at the most, at blue-1, blue-2.")


def test_pauses_are_told_with_how_they_end() -> None:
    found = problems(view(pauses=[pause(WHOLE), pause("sender", minutes=30)]))
    assert [(one.kind, one.severity) for one in found] == [("paused", Severity.INFO)] * 2
    assert [one.text for one in found] == [
        "All pipelines paused by ada until somebody resumes it: relay is moved.",
        "Sender paused by ada until 2026-11-28 03:45:00Z: relay is moved.",
    ]
    assert [one.advice for one in found] == [
        "mailculator resume --store mysql --why …",
        "mailculator resume sender --store mysql --why …",
    ]
    assert [one.status for one in found] == [None, Status.READY]


class TestReplicas:
    def test_one_that_fell_silent(self) -> None:
        found = only(view(member(), member("blue-2", age=180)))
        assert (found.kind, found.text) == ("silent", "Replica blue-2 has been silent for 3 min.")

    def test_one_that_ended_in_good_order_is_not_missed(self) -> None:
        assert problems(view(member(), member("blue-2", age=180, stopped=True))) == []

    def test_none_is_worse_where_mail_waits(self) -> None:
        gone = member(stopped=True)
        idle, waiting = only(view(gone)), only(view(gone, counts=counted(Status.READY, 1)))
        assert (idle.severity, idle.text) == (Severity.WARNING, "No replica works on MariaDB.")
        assert (waiting.severity, waiting.text) == (
            Severity.CRITICAL,
            "No replica works on MariaDB, though mail waits there.",
        )

    def test_all_of_them_being_stopped(self) -> None:
        found = only(view(member(draining=True)))
        assert (found.kind, found.text) == (
            "draining",
            "Every replica of MariaDB is being stopped: nothing more is claimed.",
        )
        assert problems(view(member(draining=True), member("blue-2"))) == []


class TestMail:
    def test_parked_mail_is_told_with_its_list(self) -> None:
        found = only(view(counts=counted(Status.SENT, 5, parked=2)))
        assert found.text == "2 emails parked in SENT: nobody works on them until released."
        assert (found.status, found.parked) == (Status.SENT, True)
        one = only(view(counts=counted(Status.SENT, 5, parked=1)))
        assert one.text == "1 email parked in SENT: nobody works on it until released."

    def test_mail_that_is_due_for_long(self) -> None:
        found = only(view(counts=counted(Status.READY, 5, parked=0, oldest_age=DUE_FOR + 60)))
        assert found.text == "5 emails in READY, the oldest due for 3 min."
        assert problems(view(counts=counted(Status.READY, 5, oldest_age=DUE_FOR))) == []

    @pytest.mark.parametrize("pipeline", ["sender", WHOLE])
    def test_mail_that_a_pause_holds_up_is_no_second_problem(self, pipeline: str) -> None:
        found = only(view(counts=counted(Status.READY, 5, oldest_age=600), pauses=[pause(pipeline)]))
        assert found.kind == "paused"

    def test_mail_whose_reply_was_lost_a_short_while_ago(self) -> None:
        lost = member(unknown=Said(AT_0312, "an-id"), unknown_count=3)
        found = only(view(lost))
        assert found.text == "The relay may have 3 emails whose reply was lost, the last at 03:12:00Z."
        assert (found.status, found.unknown) == (None, True)
        long_ago = member(unknown=Said(AT_0312 - UNKNOWN_FOR, "an-id"), unknown_count=3)
        assert problems(view(long_ago)) == []

    def test_records_that_nobody_can_work_on(self) -> None:
        found = only(view(poisoned=("a", "b", "c", "d"), poisoned_count=7))
        assert found.text == "7 records that nobody can work on, among them a, b, c."


def test_the_worst_comes_first() -> None:
    seen = view(
        member(away=away("relay")),
        pauses=[pause("intake")],
        counts=counted(Status.SENT, 1, parked=1),
    )
    assert [one.severity for one in problems(seen)] == [Severity.CRITICAL, Severity.WARNING, Severity.INFO]
