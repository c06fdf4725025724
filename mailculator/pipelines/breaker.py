"""The breaker: several failures in a row of what a pipeline depends on stop its claims until a probe gets through."""

from __future__ import annotations

from collections.abc import Callable

from mailculator.events import BreakerChanged, Observer


class Breaker:
    """Counts failures in a row; shared by every pipeline that depends on the same thing.

    While it is open nothing new is claimed but one email, the probe, which is tried again and again under its lease
    (its handler enlists): so an outage of days moves no rows to and fro. The first success closes it.

    Arguments:
        name: what it guards, for people: relay, callback.
        observer: told of every change.
        threshold: failures in a row that open it.
    """

    def __init__(self, name: str, observer: Observer, *, threshold: int = 5) -> None:
        self.name = name
        self.reason = ""
        self.is_open = False
        self._observer = observer
        self._threshold = threshold
        self._failures = 0
        self._probing = False
        self._listeners: list[Callable[[], None]] = []

    def on_close(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time it closes (runners claim again at once)."""
        self._listeners.append(listener)

    def succeeded(self) -> None:
        """What it guards works."""
        self._failures = 0
        if self.is_open:
            self.is_open = False
            self._observer(BreakerChanged(self.name, open=False, reason=""))
            for listener in self._listeners:
                listener()

    def failed(self, reason: str) -> None:
        """What it guards failed, through no fault of the mail."""
        self._failures += 1
        self.reason = reason
        if self._failures >= self._threshold and not self.is_open:
            self.is_open = True
            self._observer(BreakerChanged(self.name, open=True, reason=reason))

    def admits(self, room: int) -> int:
        """How many of `room` emails may be claimed: all while closed, one while open and nobody probes, else none."""
        if not self.is_open:
            return room
        return 0 if self._probing else min(room, 1)

    def enlist(self) -> bool:
        """Become the probe. False when the breaker is closed or another email probes already."""
        if not self.is_open or self._probing:
            return False
        self._probing = True
        return True

    def dismiss(self) -> None:
        """Stop being the probe."""
        self._probing = False
