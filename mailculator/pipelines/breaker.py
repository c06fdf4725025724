"""The breaker: several failures in a row of what a pipeline depends on stop its claims until a probe gets through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mailculator import lifecycle
from mailculator.clock import Clock
from mailculator.events import BreakerChanged, Observer
from mailculator.lifecycle import Outcome

THRESHOLD = 5


class Breaker:
    """Counts failures in a row; shared by every pipeline that depends on the same thing.

    While it is open one email at most is claimed, the probe: it is tried a few times under its lease, so that an outage
    moves few rows to and fro, and then another takes its turn, since the probe itself may be what is refused. The first
    success closes the breaker.

    Arguments:
        name: what it guards, for people: relay, callback.
        probe_every: seconds between two tries of the probe.
        probe_hold: seconds after which the probe is given back and another email takes its turn.
        threshold: failures in a row that open it.
        probes: False where no email need be tried to find out that it works again: somebody else calls `succeeded`.
    """

    def __init__(
        self,
        name: str,
        *,
        observer: Observer,
        clock: Clock,
        probe_every: float,
        probe_hold: float,
        threshold: int = THRESHOLD,
        probes: bool = True,
    ) -> None:
        self.name = name
        self.is_open = False
        self._observer = observer
        self._clock = clock
        self._probe_every = probe_every
        self._probe_hold = probe_hold
        self._threshold = threshold
        self._probes = probes
        self._failures = 0
        self._probing = False
        self._halted = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time it opens or closes, and when a probe ends (runners look again at once)."""
        self._listeners.append(listener)

    def succeeded(self) -> None:
        """What it guards works."""
        self._failures = 0
        if self.is_open:
            self.is_open = False
            self._observer(BreakerChanged(self.name, open=False, reason=""))
            self._tell()

    def failed(self, reason: str) -> None:
        """What it guards failed, through no fault of the mail."""
        self._failures += 1
        if self._failures >= self._threshold and not self.is_open:
            self.is_open = True
            self._observer(BreakerChanged(self.name, open=True, reason=reason))
            self._tell()

    def admits(self, room: int) -> int:
        """How many of `room` emails may be claimed: all while closed; while open one, the next probe, if any."""
        if not self.is_open:
            return room
        return 0 if self._probing or not self._probes else min(room, 1)

    def halt(self) -> None:
        """The process stops: a probe ends with what it has."""
        self._halted.set()

    async def guard(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Make an attempt; where it ends in Wait and the breaker is open, become the probe and go on trying.

        `attempt` itself calls `succeeded` and `failed`.
        """
        outcome = await attempt()
        if not isinstance(outcome, lifecycle.Wait) or not self.is_open or self._probing:
            return outcome
        self._probing = True
        try:
            return await self._probe(attempt, outcome)
        finally:
            self._probing = False
            self._tell()

    async def _probe(self, attempt: Callable[[], Awaitable[Outcome]], outcome: Outcome) -> Outcome:
        until = self._clock.now() + self._probe_hold
        while isinstance(outcome, lifecycle.Wait) and self._clock.now() < until:
            if await self._clock.wait(self._halted, self._probe_every):
                break
            outcome = await attempt()
        return outcome

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
