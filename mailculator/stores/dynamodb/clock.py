"""The service's time, learnt from its answers.

What a record says of time is compared by every replica, so it must come from one clock; that of a machine may be
wrong by hours, and be set while we run. An HTTP answer carries the server's time in whole seconds (`Date`, RFC 9110
section 6.6.1). An answer dated d, asked for at the monotonic moment s and received at r, says that at some moment
between s and r the server's time was in [d, d + 1). So the difference between the two clocks lies in [d - r, d + 1 -
s), and what is left after many answers is narrow: about the time of a round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from mailculator.errors import StoreUnavailable
from mailculator.events import Observer, StoreNoticed, ignore
from mailculator.stores.dynamodb.errors import NAME

DRIFT = 50e-6
"""By how much, in seconds a second, the two clocks may part. Crystals are good for 20e-6 each."""

SKEW = 0.05
"""Seconds by which the servers behind one endpoint may differ without being taken for a clock that was set."""


class ServerClock:
    """Epoch seconds on the service's clock, between answers carried on by the monotonic clock.

    Arguments:
        monotonic: seconds.
        wall: this machine's epoch seconds; counted on only where an endpoint sends no `Date`, which the observer is
            told.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        observer: Observer = ignore,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._observer = observer
        self._lower = 0.0
        self._upper = 0.0
        self._since: float | None = None
        self._dated = False
        self._date = ""
        self._date_epoch = 0.0
        self._latest = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was heard yet."""
        return self._since is not None

    @property
    def error(self) -> float:
        """By how many seconds `now` may be wrong."""
        return (self._upper - self._lower) / 2

    def now(self) -> float:
        """Epoch seconds. Never less than before, unless the service's clock was set back.

        Errors: StoreUnavailable before the first answer.
        """
        if self._since is None:
            raise StoreUnavailable(NAME, "clock", "no answer yet that tells the time")
        self._latest = max(self._latest, self._monotonic() + (self._lower + self._upper) / 2)
        return self._latest

    @property
    def off(self) -> float:
        """Seconds by which this machine's own clock is ahead. Errors: as `now`."""
        return self._wall() - self.now()

    def heard(self, date: str | None, sent: float, received: float) -> None:
        """Learn from an answer.

        Arguments:
            date: its `Date`.
            sent, received: monotonic seconds just before the request and just after the answer.
        """
        epoch = self._epoch(date) if date else None
        if epoch is None:
            self._fall_back(received)
            return
        lower = epoch - received - SKEW
        upper = epoch + 1.0 - sent + SKEW
        if self._since is not None and self._dated:
            drift = (received - self._since) * DRIFT if received > self._since else 0.0
            narrowed_lower = max(lower, self._lower - drift)
            narrowed_upper = min(upper, self._upper + drift)
            if narrowed_lower <= narrowed_upper:
                lower, upper = narrowed_lower, narrowed_upper
            else:
                # The service's clock was set, or another server answered: the newest answer counts.
                self._latest = 0.0
        else:
            self._latest = 0.0
        self._lower, self._upper, self._since, self._dated = lower, upper, received, True

    def _epoch(self, date: str) -> float | None:
        if date != self._date:
            try:
                self._date_epoch = parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()
            except ValueError:
                return None
            self._date = date
        return self._date_epoch

    def _fall_back(self, received: float) -> None:
        if self._since is not None:
            return
        self._lower = self._upper = self._wall() - received
        self._since = received
        self._observer(StoreNoticed(NAME, "clock", detail="answers carry no date: this machine's own clock is used"))
