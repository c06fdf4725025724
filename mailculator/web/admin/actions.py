"""What an operator can do to an email as it stands, and what that means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailculator.lifecycle import REQUEUE_TTL, REQUEUES, UNSENT, WAITING, says_unknown
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
    """An action on one email.

    Arguments:
        sends_mail: a mail leaves because of it.
        warning: what it does, for somebody who is about to confirm it.
        undo: how it is taken back; "" where it cannot be.
    """

    action: Action
    sends_mail: bool
    warning: str
    undo: str


def applies(action: Action, row: Row, now: datetime) -> bool:
    """Whether a store would do it.

    Arguments:
        now: UTC, by the store's clock or one near it.
    """
    match action:
        case Action.REQUEUE:
            return row.status in REQUEUES
        case Action.RETRY:
            return row.status in WAITING and not row.parked and row.due_at > now
        case Action.PARK:
            return row.status in WAITING and not row.parked
        case Action.RELEASE:
            return row.parked
        case Action.CANCEL:
            return row.status in UNSENT and row.cancelled is None


def offers(row: Row, now: datetime) -> list[Offer]:
    """Those that apply."""
    return [_offer(action, row) for action in Action if applies(action, row, now)]


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


def _offer(action: Action, row: Row) -> Offer:
    unsent = row.status in UNSENT
    match action:
        case Action.REQUEUE:
            return _requeue(row)
        case Action.RETRY:
            what = (
                "It is sent" if row.status is Status.READY else "It is worked on" if unsent else "Its callback is made"
            )
            return Offer(action, unsent, f"{what} now instead of at its time. Its tries and its age stay.", "")
        case Action.PARK:
            return Offer(action, False, "Nobody works on it until it is released.", "Release it.")
        case Action.RELEASE:
            what = "It goes on to be sent" if unsent else "Its callback is made"
            return Offer(action, unsent, f"{what} at once, and its tries are counted anew.", "Park it again.")
        case Action.CANCEL:
            warning = (
                "It will not be sent, and its producer is told that it failed. What is just leaving may be sent all "
                "the same."
            )
            return Offer(action, False, warning, "Requeue it, once it is FAILED.")


def _requeue(row: Row) -> Offer:
    if REQUEUES[row.status] not in UNSENT:
        warning = "Its producer is told once more that it was sent. No mail is sent."
        return Offer(Action.REQUEUE, False, warning, "")
    warning = "It is sent anew."
    if row.status is Status.INVALID:
        warning = "Its payload is read anew, and it is sent if it can be now."
    if says_unknown(row.last_error) or says_unknown(row.reason):
        warning += " The relay may have it already: its recipient may get it twice."
    return Offer(Action.REQUEUE, True, warning, "Cancel it before it is sent; what has left cannot be called back.")
