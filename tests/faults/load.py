"""Load of one pace and one mixture, so that what is done of it in two stretches of time can be compared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mailculator.clock import SystemClock
from tests.chaos.load import Load
from tests.chaos.verdict import Kind

_PAUSE = 0.1
"""Seconds between two groups of new mail."""
USUAL = {Kind.VALID: 8, Kind.REFUSED: 1, Kind.INVALID: 1}
"""Of ten mails in a row."""


@dataclass
class Steady(Load):
    """A producer that does not wait for anybody.

    Arguments:
        pace: mails a second.
        mixture: how many of each kind are in a pack, which is shuffled.
    """

    pace: float = 10.0
    mixture: dict[Kind, int] = field(default_factory=lambda: dict(USUAL))
    _pack: list[Kind] = field(default_factory=list)

    async def begin(self, count: int) -> None:
        """The first mails, all of them valid, however long the service then takes to come up."""
        self._pack += [Kind.VALID] * count
        await self._put(count)

    async def _repeat(self, stop: asyncio.Event) -> None:
        clock = SystemClock()
        begun, there = clock.now(), len(self.promised)
        while not await clock.wait(stop, _PAUSE):
            await self._put(there + int((clock.now() - begun) * self.pace) - len(self.promised))

    def _kind(self) -> Kind:
        if not self._pack:
            self._pack = [kind for kind, count in self.mixture.items() for _ in range(count)]
            self.rng.shuffle(self._pack)
        return self._pack.pop()
