"""Everyone who works on one store: four runners, the keeper of their leases, and the housekeeper."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from mailculator.clock import Clock
from mailculator.events import Observer, fan_out
from mailculator.facts import Facts
from mailculator.journal.base import Marks
from mailculator.model import Status, StatusCount
from mailculator.notes import HELD
from mailculator.pipelines.base import Pipeline
from mailculator.pipelines.death import death, watched
from mailculator.pipelines.housekeeping import Housekeeper
from mailculator.pipelines.leases import Keeper
from mailculator.pipelines.ledger import Ledger
from mailculator.pipelines.minutes import MINUTE, Learned, MinuteKeeper, Sources
from mailculator.pipelines.pausing import Follower
from mailculator.pipelines.reporting import Reporter
from mailculator.pipelines.rescue import Judge
from mailculator.pipelines.runner import Pace, Runner
from mailculator.pipelines.solitude import Solitude
from mailculator.pipelines.surroundings import Surroundings
from mailculator.stores.base import Ping
from mailculator.stores.watched import WatchedStore
from mailculator.timing import Timing

RARER = 3
"""So many times less often is looked and told where looks are paid for."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How the minutes of a store are kept.

    Arguments:
        notes: what to note beside the counts.
        utc: the time of day.
        minute, reach, on_learned: as for MinuteKeeper.
    """

    notes: Callable[[], Mapping[str, str]]
    on_learned: Learned
    utc: Callable[[], datetime]
    minute: float = MINUTE
    reach: float = 86_400.0


class Crew:
    """Runs a store's pipelines side by side until it is stopped.

    Arguments:
        marks, solitude: as for Runner.
        judge: as for Housekeeper.
        memory: how the minutes of the store are kept.
        on_ping, on_counts: as for Housekeeper.
        surroundings: what is around the mail of all stores.
        on_death: called when one of the loops ended though nobody had stopped it: a bug, already reported.
    """

    def __init__(
        self,
        store: WatchedStore,
        pipelines: Sequence[Pipeline],
        *,
        pace: Pace,
        timing: Timing,
        clock: Clock,
        rng: random.Random,
        observer: Observer,
        marks: Marks,
        solitude: Solitude,
        judge: Judge,
        memory: Memory,
        on_ping: Callable[[Ping | None], None],
        on_counts: Callable[[Mapping[Status, StatusCount]], None],
        surroundings: Surroundings,
        on_death: Callable[[], None],
    ) -> None:
        self._ledger = Ledger(store.name, epoch=lambda: memory.utc().timestamp())
        observer = fan_out(observer, self._ledger)
        self._store = store
        self._observer = observer
        self._on_death = on_death
        self._keeper = Keeper(store, timing=timing, clock=clock)
        self.runners = [
            Runner(
                store,
                pipeline,
                pace=pace,
                timing=timing,
                keeper=self._keeper,
                marks=marks,
                solitude=solitude,
                clock=clock,
                rng=rng,
                observer=observer,
                wake=self.wake,
                on_death=partial(self._died, pipeline.stage.name),
            )
            for pipeline in pipelines
        ]
        self._wakes = {runner.stage.waiting: runner.wake for runner in self.runners}
        self._housekeeper = Housekeeper(
            store,
            timing=timing,
            clock=clock,
            observer=observer,
            keeper=self._keeper,
            wake=self.wake,
            on_ping=on_ping,
            on_counts=on_counts,
            count_every=store.capabilities.count_every * memory.minute / MINUTE,
            replica=pace.holder,
            judge=judge,
        )
        self._minutes = MinuteKeeper(
            store,
            replica=pace.holder,
            minute=memory.minute,
            reach=memory.reach,
            clock=clock,
            observer=observer,
            ledger=self._ledger,
            sources=Sources(self._housekeeper.counts, partial(self._notes, memory), memory.utc),
            on_learned=memory.on_learned,
        )

        rarer = RARER if store.capabilities.looks_are_paid else 1
        self._surroundings = surroundings
        self._began = memory.utc().timestamp()
        self._draining = False
        self._reporter = Reporter(
            store, replica=pace.holder, every=timing.report_every * rarer, clock=clock, facts=self._facts
        )
        self._follower = Follower(
            store,
            self.runners,
            every=timing.follow_every * rarer,
            clock=clock,
            observer=observer,
            on_change=self._reporter.tell,
        )
        surroundings.on_change(self._reporter.tell)

    def wake(self, status: Status) -> None:
        """Mail has come into this status: whoever claims it looks now."""
        wake = self._wakes.get(status)
        if wake is not None:
            wake()

    def stop(self) -> None:
        """Claim nothing more; `run` ends when what has begun is on record."""
        self._draining = True
        for runner in self.runners:
            runner.stop()

    def abort(self) -> None:
        """Stop, and interrupt what is under way."""
        for runner in self.runners:
            runner.abort()

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            side = {
                "leases": self._keeper.run(),
                "watch": self._housekeeper.watch(),
                "count": self._housekeeper.count(),
                "tend": self._housekeeper.tend(),
                "upkeep": self._housekeeper.upkeep(),
                "minutes": self._minutes.run(),
                "pauses": self._follower.run(),
                "reports": self._reporter.run(),
            }
            for name, loop in side.items():
                self._start(group, name, loop)
            # Leases are kept, and the store is looked after, until the last result is on record.
            async with asyncio.TaskGroup() as runners:
                for runner in self.runners:
                    self._start(runners, runner.stage.name, runner.run())
            self._keeper.stop()
            self._housekeeper.stop()
            self._minutes.stop()
            self._follower.stop()
            self._reporter.stop()

    def _facts(self) -> Facts:
        around = self._surroundings
        return Facts(
            started=self._began,
            draining=self._draining,
            in_flight={runner.stage.name: runner.in_flight for runner in self.runners},
            paused=self._follower.paused,
            totals=self._ledger.totals(),
            away=around.away,
            relay=around.relay,
            callback=self._ledger.callback,
            unknown=self._ledger.unknown,
            unknown_count=self._ledger.unknown_count,
            rate=around.rate,
            rate_reason=around.rate_reason,
        )

    def _notes(self, memory: Memory) -> Mapping[str, str]:
        held = sum(runner.in_flight for runner in self.runners)
        return {**memory.notes(), HELD: str(held)}

    def _start(self, group: asyncio.TaskGroup, name: str, loop: Coroutine[Any, Any, None]) -> None:
        group.create_task(watched(loop, partial(self._died, name)), name=f"{self._store.name}/{name}")

    def _died(self, name: str, error: Exception) -> None:
        self._observer(death(self._store.name, name, error))
        self._on_death()
