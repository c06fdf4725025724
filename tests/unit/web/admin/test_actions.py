"""What is said of what can be done to an email, and to a list of them: the same words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailculator.insight.actions import Action
from mailculator.lifecycle import REQUEUES, UNKNOWN, UNSENT, WAITING
from mailculator.model import Row, Status
from mailculator.web.admin.actions import Offer, offers, offers_among
from tests.support.views import NOW, row


def a_list(status: Status, *, parked: bool, unknown: bool) -> list[Row]:
    """Whatever may stand on it, as far as it matters here."""
    return [
        row(status, parked=aside, due_at=due, cancelled=cancelled, reason=f"{UNKNOWN}: lost" if unknown else None)
        for aside in {parked, parked or status in WAITING}
        for due in (NOW, NOW + timedelta(hours=1))
        for cancelled in (None, "wrong list")
    ]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("parked", [True, False])
@pytest.mark.parametrize("unknown", [True, False])
def test_of_a_list_is_offered_what_may_apply_to_one_of_it_in_the_same_words(
    status: Status, parked: bool, unknown: bool
) -> None:
    single = {offer for one in a_list(status, parked=parked, unknown=unknown) for offer in offers(one, NOW)}
    assert set(offers_among(status, parked=parked, unknown=unknown)) == single


def test_of_a_list_of_any_status_is_said_that_an_action_sends_mail_where_one_does() -> None:
    found = {one.action: one for one in offers_among(None, parked=False, unknown=False)}
    assert list(found) == list(Action)
    assert {action for action, one in found.items() if one.sends_mail} == {"requeue", "retry", "release"}
    assert "sent" in found[Action.RETRY].warning


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.INVALID, "The payload is read anew"),
        (Status.FAILED, "The mail is sent anew."),
        (Status.FAILED_ACKNOWLEDGED, "The mail is sent anew."),
        (Status.SENT_ACKNOWLEDGED, "No mail is sent."),
    ],
)
def test_a_requeue_says_what_it_does(status: Status, words: str) -> None:
    [plain] = _requeues(offers_among(status, parked=False, unknown=False))
    [risky] = _requeues(offers_among(status, parked=False, unknown=True))
    assert words in plain.warning
    assert plain.sends_mail == (REQUEUES[status] in UNSENT)
    assert ("may get it twice" in risky.warning) == plain.sends_mail
    assert bool(plain.undo) == plain.sends_mail


def _requeues(found: list[Offer]) -> list[Offer]:
    return [one for one in found if one.action is Action.REQUEUE]
