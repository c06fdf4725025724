"""Obedience: what operators have paused in a store is asked for every few seconds, and its pipelines claim nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import Observer, PauseChanged
from mailculator.fleet import Pause
from mailculator.lifecycle import Stage
from mailculator.stores.watched import WatchedStore


class Pausable(Protocol):
    """A runner, as far as this file is concerned."""

    stage: Stage

    def pause(self) -> None:
        """Claim nothing more, and give back what has not begun."""

    def resume(self) -> None:
        """Claim again."""


class Follower:
    """Keeps the pipelines of one store to its pauses.

    Until the store has been asked for the first time everything is paused: a process that starts must not claim what an
    operator has stopped. Later, while the store is away, what it said last stays.

    Arguments:
        every: seconds between two looks.
        on_change: called when another pipeline is paused, or one is no longer.
    """

    def __init__(
        self,
        store: WatchedStore,
        runners: Sequence[Pausable],
        *,
        every: float,
        clock: Clock,
        observer: Observer,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._runners = runners
        self._every = every
        self._clock = clock
        self._observer = observer
        self._on_change = on_change
        self._asked = False
        self._paused: frozenset[str] = frozenset()
        self._stop = asyncio.Event()
        for runner in runners:
            runner.pause()

    @property
    def paused(self) -> tuple[str, ...]:
        """The names of the pipelines that claim nothing because an operator wants it so."""
        return tuple(runner.stage.name for runner in self._runners if runner.stage.name in self._paused)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`."""
        while True:
            with contextlib.suppress(StoreError):  # reported by the store's watcher; what it said last stays
                self.obey(await self._store.control.pauses())
            if await self._clock.wait(self._stop, self._every):
                return

    def obey(self, pauses: Sequence[Pause]) -> None:
        """Pause and resume what these ask for."""
        wanted = {runner.stage.name: one for runner in self._runners for one in pauses if one.stops(runner.stage.name)}
        for runner in self._runners:
            name = runner.stage.name
            if name in wanted and name not in self._paused:
                runner.pause()
                one = wanted[name]
                self._observer(PauseChanged(self._store.name, name, paused=True, who=one.who, why=one.why))
            elif name not in wanted and (name in self._paused or not self._asked):
                runner.resume()
                if name in self._paused:
                    self._observer(PauseChanged(self._store.name, name, paused=False))
        changed = self._paused != frozenset(wanted)
        self._asked, self._paused = True, frozenset(wanted)
        if changed:
            self._on_change()
