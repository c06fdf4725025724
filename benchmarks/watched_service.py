"""The service, with a watch on its event loop: for how long it stood still, and whether leases were renewed in time.

    python -m benchmarks.watched_service FILE

SIGUSR1 starts the watch and stops it. What was seen is written to FILE at the process's end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from mailculator import config, log
from mailculator.app import Service
from mailculator.cli.service import fast_loop, heed_signals, spare_the_collector
from mailculator.pipelines.leases import Keeper

TICK = 0.002
"""Seconds between two looks at the clock. A stall is seen to this precision: what is left of a tick counts into it."""


class Pulse:
    """A timer that comes back every few milliseconds, and remembers by how much it was late.

    Arguments:
        clock: monotonic seconds.
        later: calls something in so many seconds; the loop's.
    """

    def __init__(self, clock: Callable[[], float], later: Callable[[float, Callable[[], None]], object]) -> None:
        self._clock = clock
        self._later = later
        self._due = 0.0
        self._on = False
        self.stalls: list[float] = []
        """Seconds, the longest ones last."""

    def toggle(self) -> None:
        """Start, or stop."""
        self._on = not self._on
        if self._on:
            self._wait()

    def _wait(self) -> None:
        self._due = self._clock() + TICK
        self._later(TICK, self._tick)

    def _tick(self) -> None:
        if not self._on:
            return
        self.stalls = sorted([*self.stalls, self._clock() - self._due])[-20:]
        self._wait()


class Heartbeats:
    """By how much each renewal began later than it should have, in seconds: a third of a lease after the one before."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ended: dict[int, float] = {}
        self.late: list[float] = []

    def began(self, keeper: int, every: float) -> None:
        """A keeper of leases renews. Its first renewal is measured against nothing."""
        if keeper in self._ended:
            self.late.append(max(self._clock() - self._ended[keeper] - every, 0.0))

    def ended(self, keeper: int) -> None:
        """It has the store's answer, or its refusal."""
        self._ended[keeper] = self._clock()


def watch_renewals(beats: Heartbeats, every: float) -> None:
    """Have every keeper of this process tell when it renews; it should every so many seconds."""
    renew = Keeper.renew

    async def watched(keeper: Keeper) -> None:
        beats.began(id(keeper), every)
        try:
            await renew(keeper)
        finally:
            beats.ended(id(keeper))

    Keeper.renew = watched  # type: ignore[assignment,method-assign]  # it is this process's own


async def serve(found: dict[str, list[float]]) -> int:
    """As `mailculator run`; what was seen is put into `found`."""
    loop = asyncio.get_running_loop()
    pulse, beats = Pulse(loop.time, loop.call_later), Heartbeats(loop.time)
    settings = config.load()
    watch_renewals(beats, settings.timing.renew_every)
    log.configure(settings)
    service = Service(settings, observer=log.LogObserver(settings))
    heed_signals(service, settings)
    spare_the_collector()
    loop.add_signal_handler(signal.SIGUSR1, pulse.toggle)
    code = await service.run()
    found |= {"stalls": pulse.stalls, "late": beats.late}
    return code


def main() -> None:
    found: dict[str, list[float]] = {}
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        code = runner.run(serve(found))
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
    sys.stdout.flush()
    os._exit(code)  # as the service ends: no thread keeps it


if __name__ == "__main__":
    main()
