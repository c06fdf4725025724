"""Composition and lifetime: with `equipment` the only file that sees concrete classes.

Everything is built from Settings here and in `equipment`, which has what stores share, and runs with a crew per store,
so that one store's outage leaves the other's pipelines running.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from prometheus_client import CollectorRegistry

from mailculator import __version__, config_checks
from mailculator.clock import Clock, SystemClock
from mailculator.config import Settings
from mailculator.cutover.assessment import Assessment
from mailculator.cutover.evidence import Situation
from mailculator.cutover.watch import Watch
from mailculator.equipment import Equipment
from mailculator.errors import ConfigError, StoreError
from mailculator.events import Lifetime, Observer, StoreCalled, fan_out
from mailculator.metrics import MetricsObserver
from mailculator.model import Status, StatusCount
from mailculator.notes import GUARD, STORES
from mailculator.pipelines.crew import Crew, Memory
from mailculator.pipelines.minutes import MINUTE
from mailculator.pipelines.runner import Pace
from mailculator.pipelines.surroundings import Surroundings
from mailculator.stores import guard, registry
from mailculator.stores.base import Ping
from mailculator.stores.guard import DuplicateGuard
from mailculator.stores.watched import WatchedStore
from mailculator.web import server
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.page import Page, Terms
from mailculator.web.health import Health, Limits

ABORT_SHARE = 0.2
"""The part of the time to stop that is kept for writing down how far interrupted work came; 5 seconds at the most."""


class Service:
    """The four pipelines over every enabled store, with health and metrics beside them.

    Arguments:
        observer: told of every event, beside the metrics and the health page: the log, or the demo's table.
    """

    def __init__(self, settings: Settings, *, observer: Observer, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._rng = random.Random()
        self._timing = settings.timing
        self._stores = registry.enabled(settings)
        self._registry = CollectorRegistry()
        self._metrics = MetricsObserver(self._registry)
        self._health = Health(
            __version__,
            Limits.of(self._timing, interval=settings.pipeline_interval, time_scale=settings.time_scale),
            stores=self._stores,
            warnings=[warning.variable for warning in config_checks.warnings(settings)],
        )
        self._surroundings = Surroundings(epoch=time.time)
        self._observer = fan_out(self._metrics, self._health, self._surroundings, observer)
        self._crews: list[Crew] = []
        self._stopping = asyncio.Event()
        self._died = False
        self._refusal: ConfigError | None = None
        self._equipment = Equipment(
            settings, observer=self._observer, clock=self._clock, rng=self._rng, on_death=self._mourn
        )
        self._metrics.watch_rate(lambda: self._equipment.rate.limit)
        self._guard = _guard(settings, self._stores, self._observer, self._clock)
        self._watch = Watch(
            self._stores,
            service=__version__,
            guard=settings.duplicate_guard,
            quiet=timedelta(seconds=settings.cutover_quiet),
            minute=timedelta(seconds=MINUTE * settings.time_scale),
            utc=_utc,
            tell=self._assessed,
        )
        self._desk = Desk(self._stores, version=__version__, replica=settings.replica)
        self._page = Page(_terms(settings), self._desk, clock=self._clock, observer=self._observer)

    def stop(self) -> None:
        """Drain: claim nothing more, give back what has not begun, finish what has, then end `run`."""
        self._stopping.set()

    async def reload(self) -> None:
        """Take secrets anew from their files."""
        await self._equipment.reload()
        self._tell("reloaded")

    async def run(self) -> int:
        """Until `stop`. Returns the exit code: 0, or 1 when a pipeline's loop, or the journal's thread, had died.

        Errors: ConfigError when the health port is taken, or the page's where one was chosen, when the journal's
        directory cannot be used, or when a store's schema refuses this version.
        """
        web, port = await server.start(self._health, self._registry, port=self._settings.http_port)
        try:
            await self._equipment.open()
            ports = {"http_port": port, "admin_port": await self._page.open()}
            self._tell("started", version=__version__, stores=",".join(self._stores), **ports)
            await self._work()
        finally:
            await self._page.close()
            await self._equipment.close()
            await web.cleanup()
        self._tell("stopped")
        if self._refusal is not None:
            raise self._refusal
        return 1 if self._died else 0

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self._serve(name), name=name) for name in self._stores]
            await self._stopping.wait()
            self._tell("stopping")
            self._equipment.halt()
            self._page.halt()
            for crew in self._crews:
                crew.stop()
            grace = self._settings.shutdown_grace
            reserve = min(5.0, ABORT_SHARE * grace)
            if await _unfinished(work, grace - reserve):
                for crew in self._crews:
                    crew.abort()
            for task in await _unfinished(work, reserve):
                # What is not on record by now is taken up again when its lease has expired.
                task.cancel()

    async def _serve(self, name: str) -> None:
        try:
            store = await self._open(name)
        except ConfigError as error:
            self._refusal = error
            self.stop()
            return
        if store is None:
            return
        try:
            crew = self._crew(name, store)
            if not self._stopping.is_set():
                await crew.run()
        finally:
            if self._guard is not None:
                self._guard.left(name)
            self._desk.left(name)
            await store.close()

    async def _open(self, name: str) -> WatchedStore | None:
        """The store, as soon as it answers; None when the process stops before that. Errors: ConfigError."""
        tries = 0
        while not self._stopping.is_set():
            started = self._clock.now()
            try:
                store = await registry.backend(name).open_store(
                    self._settings, service=True, observer=self._observer, guard=self._guard
                )
            except StoreError as error:
                tries += 1
                self._observer(StoreCalled(name, "open", self._clock.now() - started, str(error)))
                self._health.store_silent(name)
                self._desk.failed(name, str(error))
                await self._clock.wait(self._stopping, self._timing.store_backoff.delay(tries, self._rng))
            else:
                self._observer(StoreCalled(name, "open", self._clock.now() - started))
                if self._guard is not None:
                    self._guard.joined(name, store)
                watched = WatchedStore(store, observer=self._observer, clock=self._clock)
                self._desk.joined(watched)
                return watched
        return None

    def _crew(self, name: str, store: WatchedStore) -> Crew:
        settings = self._settings
        crew = Crew(
            store,
            self._equipment.pipelines(name),
            pace=Pace(settings.replica, self._interval(name), settings.batch_size),
            timing=self._timing,
            clock=self._clock,
            rng=self._rng,
            observer=self._observer,
            marks=self._equipment.marks,
            solitude=self._equipment.solitude,
            judge=self._equipment.judge(name),
            memory=Memory(
                notes=self._notes,
                on_learned=partial(self._watch.learned, name),
                utc=_utc,
                minute=MINUTE * settings.time_scale,
                reach=self._watch.reach.total_seconds(),
            ),
            on_ping=partial(self._pinged, name),
            on_counts=partial(self._counted, name),
            surroundings=self._surroundings,
            on_death=self._mourn,
        )
        for runner in crew.runners:
            self._health.register(name, runner.stage.name, partial(getattr, runner, "last_turn"))
            self._metrics.watch(name, runner.stage.name, partial(getattr, runner, "in_flight"))
        self._metrics.charge(store.spent)
        self._crews.append(crew)
        return crew

    def _interval(self, name: str) -> float:
        """Looking costs money on DynamoDB, so that an idle queue is looked at less often there."""
        interval = self._settings.pipeline_interval
        return max(interval, self._settings.dynamodb_interval) if name == guard.OTHER else interval

    def _notes(self) -> dict[str, str]:
        """What a minute says beside the counts. Open breakers explain a store that does not drain."""
        guarded = "on" if self._settings.duplicate_guard else "off"
        return {STORES: ",".join(self._stores), GUARD: guarded, **self._equipment.away()}

    def _pinged(self, name: str, ping: Ping | None) -> None:
        if ping is None:
            self._health.store_silent(name)
        else:
            self._health.store_answered(name, seconds=ping.seconds, writable=ping.writable)
            self._metrics.set_clock(name, ping.clock_off)

    def _counted(self, name: str, counts: Mapping[Status, StatusCount]) -> None:
        self._metrics.set_counts(name, counts)
        self._desk.counted(name, counts)
        self._watch.counted(name, counts)

    def _assessed(self, assessment: Assessment, situation: Situation) -> None:
        self._metrics.cutover.show(assessment, situation)
        self._desk.assessment = assessment

    def _mourn(self) -> None:
        self._died = True
        self.stop()

    def _tell(self, name: str, **fields: str | int | float | bool | None) -> None:
        self._observer(Lifetime(name, tuple(fields.items())))


def _terms(settings: Settings) -> Terms:
    return Terms(
        settings.admin_port,
        wanted="admin_port" in settings.model_fields_set,
        token=settings.admin_token.get_secret_value(),
        addresses=settings.admin_addresses,
    )


def _utc() -> datetime:
    return datetime.now(UTC)


def _guard(settings: Settings, stores: Collection[str], observer: Observer, clock: Clock) -> DuplicateGuard | None:
    """Where both stores are in use, and unless it is turned off."""
    if not settings.duplicate_guard or not {guard.KEEPER, guard.OTHER} <= set(stores):
        return None
    timeout = settings.timing.store_timeout
    return DuplicateGuard(observer=observer, clock=clock, patience=min(2.0, timeout / 2), pause=timeout)


async def _unfinished(tasks: list[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
    """Those of `tasks` that have not ended after so many seconds."""
    waiting = {task for task in tasks if not task.done()}
    if not waiting:
        return set()
    _, waiting = await asyncio.wait(waiting, timeout=max(seconds, 0.0))
    return waiting
