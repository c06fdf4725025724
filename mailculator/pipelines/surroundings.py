"""What is around the mail of all stores of this process: what is away, and how fast the relay takes mail."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailculator.events import BreakerChanged, Event, RateChanged
from mailculator.facts import Away


class Surroundings:
    """Follows the core's events.

    Arguments:
        epoch: the time of day, in seconds.
    """

    def __init__(self, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._away: dict[str, Away] = {}
        self._listeners: list[Callable[[], None]] = []
        self.rate = 0.0
        self.rate_reason = ""

    @property
    def away(self) -> Mapping[str, Away]:
        """By the breaker's name, what is not there now."""
        return dict(self._away)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time something goes away or comes back."""
        self._listeners.append(listener)

    def __call__(self, event: Event) -> None:
        """Follow one event."""
        if type(event) is BreakerChanged:
            if event.open:
                self._away[event.name] = Away(self._epoch(), event.reason)
            else:
                self._away.pop(event.name, None)
            for listener in self._listeners:
                listener()
        elif type(event) is RateChanged:
            self.rate, self.rate_reason = event.per_second, event.reason
