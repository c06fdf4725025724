"""How many emails a runner may claim ahead where each that it holds costs the store a write in every renewal."""

from __future__ import annotations

from collections import deque

from mailculator.clock import Clock


class Headway:
    """As many as ended within the last `window` seconds: at that pace they begin before they must be renewed.

    Nothing at first. It doubles with every round of claims that ends, and shrinks by itself when emails take longer.

    Arguments:
        window: seconds; the time between two renewals.
        most: no more than that is ever claimed ahead.
    """

    def __init__(self, clock: Clock, *, window: float, most: int) -> None:
        self._clock = clock
        self._window = window
        self._ends: deque[float] = deque(maxlen=most)

    def ended(self, count: int) -> None:
        """The handling of so many emails has ended, and made room for others."""
        self._ends.extend([self._clock.now()] * count)

    def allowed(self) -> int:
        """How many may be claimed ahead now, those that are already among them."""
        horizon = self._clock.now() - self._window
        while self._ends and self._ends[0] <= horizon:
            self._ends.popleft()
        return len(self._ends)
