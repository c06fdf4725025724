"""What is around the mail of all stores of this process: what is away, what the relay said last, and how fast
it takes mail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from mailculator.events import BreakerChanged, Event, RateChanged, SmtpAttempted
from mailculator.facts import Away, Said


class Surroundings:
    """Follows the core's events.

    Arguments:
        epoch: the time of day, in seconds.
    """

    heeds: Collection[type[Event]] = (SmtpAttempted, BreakerChanged, RateChanged)

    def __init__(self, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._away: dict[str, Away] = {}
        self._listeners: list[Callable[[], None]] = []
        self._relay: tuple[float, str] | None = None
        self.rate = 0.0
        self.rate_reason = ""

    @property
    def away(self) -> Mapping[str, Away]:
        """By the breaker's name, what is not there now."""
        return dict(self._away)

    @property
    def relay(self) -> Said | None:
        """How the last try at it ended; None before the first."""
        return None if self._relay is None else Said(*self._relay)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time something goes away or comes back."""
        self._listeners.append(listener)

    def __call__(self, event: Event) -> None:
        """Follow one event."""
        if type(event) is SmtpAttempted:
            self._relay = (self._epoch(), event.reply)
        elif type(event) is BreakerChanged:
            if event.open:
                self._away[event.name] = Away(self._epoch(), event.reason)
            else:
                self._away.pop(event.name, None)
            for listener in self._listeners:
                listener()
        elif type(event) is RateChanged:
            self.rate, self.rate_reason = event.per_second, event.reason
