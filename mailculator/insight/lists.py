"""Which lists of a store are gone through for what an operator looks for."""

from __future__ import annotations

from collections.abc import Sequence

from mailculator.lifecycle import MAY_BE_UNKNOWN, TERMINAL
from mailculator.model import Status
from mailculator.stores.base import Store


def lists(store: Store, status: Status | None, *, unknown: bool, ended: bool) -> Sequence[Status | None]:
    """The statuses to ask `Store.page` for, one after the other; None = all of them at once.

    Arguments:
        status: the only one that is wanted; None = any.
        unknown: only mail that the relay may have is wanted.
        ended: what has ended is wanted as well. Asked for all at once, a store whose looks are paid leaves it out.
    """
    if status is None and unknown and store.capabilities.looks_are_paid:
        return sorted(MAY_BE_UNKNOWN if ended else MAY_BE_UNKNOWN - TERMINAL)
    return (status,)
