"""What an operator can do to an email as it stands, and what that means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mailculator.lifecycle import REQUEUE_TTL, REQUEUES, UNSENT, WAITING, is_of_unknown_outcome
from mailculator.model import Row, Status
from mailculator.stores.base import Steered, Store


class Action(StrEnum):
    """The verbs, as the page and its API name them."""

    REQUEUE = "requeue"
    RETRY = "retry"
    PARK = "park"
    RELEASE = "release"
    CANCEL = "cancel"


LABELS = {
    Action.REQUEUE: "Requeue",
    Action.RETRY: "Retry now",
    Action.PARK: "Park",
    Action.RELEASE: "Release",
    Action.CANCEL: "Cancel",
}
PAST = {
    Action.REQUEUE: "requeued",
    Action.RETRY: "hastened",
    Action.PARK: "parked",
    Action.RELEASE: "released",
    Action.CANCEL: "cancelled",
}
"""As the audit list tells it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An action, in words that are as true of one email as of many: for somebody who is about to confirm it.

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


def applies(action: Action, row: Row, now: datetime) -> bool:
    """Whether a store would do it.

    Arguments:
        now: UTC, by the store's clock or one near it.
    """
    if not _is_for(action, row.status, parked=row.parked):
        return False
    match action:
        case Action.RETRY:
            return row.due_at > now
        case Action.CANCEL:
            return row.cancelled is None
        case _:
            return True


def offers(row: Row, now: datetime) -> list[Offer]:
    """Those that apply to an email."""
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
        told = [_offer(action, one, unknown=unknown) for one in among if _is_for(action, one, parked=parked or None)]
        # Of one that sends mail in one status and none in another, what is said is that it does.
        if told:
            found[action] = max(told, key=lambda one: one.sends_mail)
    return list(found.values())


async def carry_out(action: Action, store: Store, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
    """Do it. One answer per id, in order. Errors: StoreError."""
    match action:
        case Action.REQUEUE:
            return await store.requeue(ids, who=who, why=why, ttl_extension=REQUEUE_TTL)
        case Action.RETRY:
            return await store.hasten(ids, who=who, why=why)
        case Action.PARK:
            return await store.park(ids, who=who, why=why)
        case Action.RELEASE:
            return await store.release(ids, who=who, why=why)
        case Action.CANCEL:
            return await store.cancel(ids, who=who, why=why)


def _is_for(action: Action, status: Status, *, parked: bool | None) -> bool:
    """Whether it is an action on emails of that status; `parked` None = some of them are, and some are not."""
    match action:
        case Action.REQUEUE:
            return status in REQUEUES
        case Action.RETRY | Action.PARK:
            return status in WAITING and parked is not True
        case Action.RELEASE:
            return status in WAITING if parked is None else parked
        case Action.CANCEL:
            return status in UNSENT


def _offer(action: Action, status: Status, *, unknown: bool) -> Offer:
    unsent = status in UNSENT
    match action:
        case Action.REQUEUE:
            return _requeue(status, unknown=unknown)
        case Action.RETRY:
            what = "The mail is worked on and sent" if unsent else "The callback is made"
            return Offer(action, unsent, f"{what} now instead of at its time. Tries and age stay as they are.", "")
        case Action.PARK:
            return Offer(action, False, "Nobody works on parked mail until it is released.", "Release it.")
        case Action.RELEASE:
            what = "The mail goes on to be sent" if unsent else "The callback is made"
            return Offer(action, unsent, f"{what} at once, and tries are counted anew.", "Park it again.")
        case Action.CANCEL:
            warning = (
                "The mail will not be sent, and its producer is told that it failed. What is just leaving may be sent "
                "all the same."
            )
            return Offer(action, False, warning, "Requeue it, once it is FAILED.")


def _requeue(status: Status, *, unknown: bool) -> Offer:
    if REQUEUES[status] not in UNSENT:
        warning = "The producer is told once more that the mail was sent. No mail is sent."
        return Offer(Action.REQUEUE, False, warning, "")
    warning = "The mail is sent anew."
    if status is Status.INVALID:
        warning = "The payload is read anew, and the mail is sent if it can be now."
    if unknown:
        warning += " The relay may have it already: its recipient may get it twice."
    return Offer(Action.REQUEUE, True, warning, "Cancel it before it is sent; what has left cannot be called back.")
