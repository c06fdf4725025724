"""What operators can do: the same rules, and the same words for what was done, as the stores'."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailculator.insight.actions import AMONG, PAST, Action, applies, is_for, sends_mail
from mailculator.lifecycle import WAITING
from mailculator.model import Status
from mailculator.stores import sqlite_steering
from tests.support.views import NOW, row

MARKS = {
    Action.RETRY: sqlite_steering.HASTEN,
    Action.PARK: sqlite_steering.PARK,
    Action.RELEASE: sqlite_steering.RELEASE,
    Action.CANCEL: sqlite_steering.CANCEL,
}


def test_what_was_done_is_told_as_an_emails_history_tells_it() -> None:
    assert {Action.REQUEUE: "requeued", **{action: mark.past for action, mark in MARKS.items()}} == PAST


@pytest.mark.parametrize("status", Status)
def test_an_action_is_for_the_statuses_in_which_a_store_does_it(status: Status) -> None:
    later = NOW + timedelta(hours=1)
    for action, mark in MARKS.items():
        one = row(status, parked=action is Action.RELEASE, due_at=later)
        assert applies(action, one, NOW) == (status in mark.among), action


def test_what_is_parked_is_released_whatever_status_it_was_brought_to() -> None:
    assert applies(Action.RELEASE, row(Status.PROCESSING, parked=True), NOW)
    assert not applies(Action.RELEASE, row(Status.READY), NOW)


def test_among_mail_of_which_some_may_be_parked_an_action_is_for_where_it_waits() -> None:
    for action in (Action.RETRY, Action.PARK, Action.RELEASE):
        assert {status for status in Status if is_for(action, status, parked=None)} == WAITING == AMONG[action]
    assert not is_for(Action.PARK, Status.READY, parked=True)


def test_what_is_due_is_not_tried_sooner_and_what_is_cancelled_not_cancelled_again() -> None:
    assert not applies(Action.RETRY, row(Status.READY, due_at=NOW), NOW)
    assert not applies(Action.CANCEL, row(Status.READY, cancelled="wrong list"), NOW)


@pytest.mark.parametrize(
    ("action", "among"),
    [
        (Action.REQUEUE, {Status.INVALID, Status.FAILED, Status.FAILED_ACKNOWLEDGED}),
        (Action.RETRY, {Status.ACCEPTED, Status.READY}),
        (Action.RELEASE, {Status.ACCEPTED, Status.READY}),
        (Action.PARK, set()),
        (Action.CANCEL, set()),
    ],
)
def test_mail_leaves_by_what_brings_it_to_the_relay(action: Action, among: set[Status]) -> None:
    assert {status for status in AMONG[action] if sends_mail(action, status)} == among
