"""What the page says of an action to somebody who is about to confirm it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailculator.insight.actions import Action, applies, is_for, sends_mail
from mailculator.lifecycle import is_of_unknown_outcome
from mailculator.model import Row, Status

LABELS = {
    Action.REQUEUE: "Requeue",
    Action.RETRY: "Retry now",
    Action.PARK: "Park",
    Action.RELEASE: "Release",
    Action.CANCEL: "Cancel",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """An action, in words that are as true of one email as of many.

    Arguments:
        sends_mail: a mail leaves because of it.
        warning: what it does.
        undo: how it is taken back; "" where it cannot be.
    """

    action: Action
    sends_mail: bool
    warning: str
    undo: str

    def document(self) -> dict[str, Any]:
        """As the API gives it."""
        return {
            "action": self.action,
            "label": LABELS[self.action],
            "sends_mail": self.sends_mail,
            "warning": self.warning,
            "undo": self.undo,
        }


def offers(row: Row, now: datetime) -> list[Offer]:
    """Those that apply to an email.

    Arguments:
        now: UTC, by the store's clock or one near it.
    """
    unknown = is_of_unknown_outcome(row)
    return [_offer(action, row.status, unknown=unknown) for action in Action if applies(action, row, now)]


def offers_among(status: Status | None, *, parked: bool, unknown: bool) -> list[Offer]:
    """Those that may apply to emails of a list; what one of them does not apply to is left alone.

    Arguments:
        status: all of them stand in it; None = they stand anywhere.
        parked, unknown: all of them are; else some may be.
    """
    among = list(Status) if status is None else [status]
    found: dict[Action, Offer] = {}
    for action in Action:
        told = [_offer(action, one, unknown=unknown) for one in among if is_for(action, one, parked=parked or None)]
        # Of one that sends mail in one status and none in another, what is said is that it does.
        if told:
            found[action] = max(told, key=lambda one: one.sends_mail)
    return list(found.values())


def _offer(action: Action, status: Status, *, unknown: bool) -> Offer:
    sends = sends_mail(action, status)
    match action:
        case Action.REQUEUE if sends:
            undo = "Cancel it before it is sent; what has left cannot be called back."
            return Offer(action, sends, _anew(status, unknown=unknown), undo)
        case Action.REQUEUE:
            return Offer(action, sends, "The producer is told once more that the mail was sent. No mail is sent.", "")
        case Action.RETRY:
            what = "The mail is worked on and sent" if sends else "The callback is made"
            return Offer(action, sends, f"{what} now instead of at its time. Tries and age stay as they are.", "")
        case Action.PARK:
            return Offer(action, sends, "Nobody works on parked mail until it is released.", "Release it.")
        case Action.RELEASE:
            what = "The mail goes on to be sent" if sends else "The callback is made"
            return Offer(action, sends, f"{what} at once, and tries are counted anew.", "Park it again.")
        case Action.CANCEL:
            warning = (
                "The mail will not be sent, and its producer is told that it failed. What is just leaving may be sent "
                "all the same."
            )
            return Offer(action, sends, warning, "Requeue it, once it is FAILED.")


def _anew(status: Status, *, unknown: bool) -> str:
    warning = "The mail is sent anew."
    if status is Status.INVALID:
        warning = "The payload is read anew, and the mail is sent if it can be now."
    if unknown:
        warning += " The relay may have it already: its recipient may get it twice."
    return warning
