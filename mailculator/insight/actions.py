"""What an operator can do to emails: in which statuses and to which of them, whether mail leaves by it, and the doing.

The page and the command line have their own words for somebody who is about to do it, but the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from mailculator.lifecycle import REQUEUE_TTL, REQUEUES, UNSENT, WAITING
from mailculator.model import Row, Status
from mailculator.stores.base import Steered, Store


class Action(StrEnum):
    """The verbs, as operators name them."""

    REQUEUE = "requeue"
    RETRY = "retry"
    PARK = "park"
    RELEASE = "release"
    CANCEL = "cancel"


PAST: Mapping[Action, str] = {
    Action.REQUEUE: "requeued",
    Action.RETRY: "hastened",
    Action.PARK: "parked",
    Action.RELEASE: "released",
    Action.CANCEL: "cancelled",
}
"""As the audit list and an email's history tell it."""

AMONG: Mapping[Action, frozenset[Status]] = {
    Action.REQUEUE: frozenset(REQUEUES),
    Action.RETRY: WAITING,
    Action.PARK: WAITING,
    Action.RELEASE: WAITING,
    Action.CANCEL: UNSENT,
}
"""Where the emails stand that it is for."""


def is_for(action: Action, status: Status, *, parked: bool | None) -> bool:
    """Whether it is an action on emails of that status.

    Arguments:
        parked: None = some of them are, and some are not.
    """
    match action:
        case Action.RETRY | Action.PARK if parked:
            return False
        case Action.RELEASE if parked is not None:
            return parked  # wherever another consumer has brought it
        case _:
            return status in AMONG[action]


def applies(action: Action, row: Row, now: datetime) -> bool:
    """Whether a store would do it.

    Arguments:
        now: UTC, by the store's clock or one near it.
    """
    if not is_for(action, row.status, parked=row.parked):
        return False
    match action:
        case Action.RETRY:
            return row.due_at > now
        case Action.CANCEL:
            return row.cancelled is None
        case _:
            return True


def sends_mail(action: Action, status: Status) -> bool:
    """Whether mail of that status leaves by it, or leaves sooner."""
    match action:
        case Action.REQUEUE:
            return REQUEUES.get(status) in UNSENT
        case Action.RETRY | Action.RELEASE:
            return status in UNSENT
        case _:
            return False


async def would(store: Store, action: Action, email_id: str, now: datetime) -> Steered:
    """What `carry_out` would answer. Errors: StoreError."""
    row = await store.get(email_id)
    if row is None:
        return Steered.MISSING
    return Steered.DONE if applies(action, row, now) else Steered.NOT_APPLICABLE


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
