"""Which emails a page is of, as every backend is asked for them."""

from __future__ import annotations

from mailculator.lifecycle import MAY_BE_UNKNOWN, WAITING
from mailculator.model import Status
from mailculator.values import value


@value
class Sought:
    """See Store.page.

    Arguments:
        parked: None = whether or not.
        domain: None = any.
        after: None = from the beginning.
    """

    status: Status | None = None
    parked: bool | None = None
    unknown: bool = False
    domain: str | None = None
    after: str | None = None

    @property
    def among(self) -> frozenset[Status] | None:
        """The statuses where there can be such emails; None = all of them."""
        among = None if self.status is None else frozenset({self.status})
        for some, where in ((self.parked, WAITING), (self.unknown, MAY_BE_UNKNOWN)):
            if some:
                among = where if among is None else among & where
        return among
