"""Composition and lifetime: the only file that sees concrete classes.

Everything is built from Settings here, and runs with a crew per store, so that one store's outage leaves the other's
pipelines running. What stores share is shared here too: the relay's connections, the callback client, the breakers,
the rate, and the memory for messages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from prometheus_client import CollectorRegistry

from mailculator import __version__, config_checks, lifecycle
from mailculator.clock import Clock, SystemClock
from mailculator.config import Settings
from mailculator.cutover.watch import Watch
from mailculator.errors import ConfigError, StoreError
from mailculator.events import Lifetime, Observer, RateChanged, StoreCalled, fan_out
from mailculator.metrics import MetricsObserver
from mailculator.model import Status, StatusCount
from mailculator.notes import GUARD, STORES
from mailculator.pipelines.base import Pipeline
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.budget import ByteBudget
from mailculator.pipelines.callback import Callback
from mailculator.pipelines.crew import Crew, Memory
from mailculator.pipelines.intake import Intake
from mailculator.pipelines.minutes import MINUTE
from mailculator.pipelines.runner import Pace
from mailculator.pipelines.sender import Sender
from mailculator.pipelines.threads import Threads
from mailculator.pipelines.watchdog import Watchdog
from mailculator.stores import guard, registry
from mailculator.stores.base import Ping
from mailculator.stores.guard import DuplicateGuard
from mailculator.stores.watched import WatchedStore
from mailculator.transport.callback_format import callback_format
from mailculator.transport.rate import Rate
from mailculator.transport.relay_settings import relay_settings
from mailculator.transport.smtp import SmtpRelay
from mailculator.transport.webhook import WebhookClient, callback_settings
from mailculator.web import server
from mailculator.web.health import Health, Limits

ABORT_SHARE = 0.2
"""The part of the time to stop that is kept for writing down how far interrupted work came; 5 seconds at the most."""


LEAST_SILENCE = 5.0
"""Seconds for which a loop may stand still however short leases are: a machine may just be busy."""
FILE_THREADS = 16
"""Threads that look at files for intake, and as many for the sender."""


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
        self._observer = fan_out(self._metrics, self._health, observer)
        self._crews: list[Crew] = []
        self._stopping = asyncio.Event()
        self._died = False
        self._refusal: ConfigError | None = None
        self._relay = SmtpRelay(relay_settings(settings), self._timing)
        self._webhook = WebhookClient(callback_settings(settings))
        self._format = callback_format(settings)
        self._budget = ByteBudget(settings.memory_limit)
        self._rate = Rate(settings.smtp_rate, on_change=self._paced)
        self._metrics.watch_rate(lambda: self._rate.limit)
        self._breakers = {name: self._breaker(name) for name in ("relay", "callback", "share")}
        self._guard = _guard(settings, self._stores, self._observer, self._clock)
        self._watch = Watch(
            self._stores,
            service=__version__,
            guard=settings.duplicate_guard,
            quiet=timedelta(seconds=settings.cutover_quiet),
            minute=timedelta(seconds=MINUTE * settings.time_scale),
            utc=_utc,
            tell=self._metrics.cutover.show,
        )
        self._threads = {
            stage.name: Threads(FILE_THREADS, stage.name) for stage in (lifecycle.INTAKE, lifecycle.SENDER)
        }

        self._watchdog = Watchdog(self._timing.lease, busiest=[threads.busiest for threads in self._threads.values()])

    def stop(self) -> None:
        """Drain: claim nothing more, give back what has not begun, finish what has, then end `run`."""
        self._stopping.set()

    async def run(self) -> int:
        """Until `stop`. Returns the exit code: 0, or 1 when a pipeline's loop had died.

        Errors: ConfigError when the health port is taken, or when a store's schema refuses this version.
        """
        web, port = await server.start(self._health, self._registry, port=self._settings.http_port)
        self._watchdog.start()
        beating = asyncio.create_task(self._beat(), name="beat")
        try:
            self._tell("started", version=__version__, stores=",".join(self._stores), http_port=port)
            await self._work()
            await self._relay.close()
            await self._webhook.close()
        finally:
            for threads in self._threads.values():
                threads.close()
            await web.cleanup()
            beating.cancel()
            self._watchdog.stop()
        self._tell("stopped")
        if self._refusal is not None:
            raise self._refusal
        return 1 if self._died else 0

    async def _beat(self) -> None:
        """A loop that turns says so, to the end: what hangs while it stops would hang for ever."""
        never = asyncio.Event()
        while True:
            self._watchdog.beat()
            await self._clock.wait(never, self._watchdog.every)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self._serve(name), name=name) for name in self._stores]
            await self._stopping.wait()
            self._tell("stopping")
            for breaker in self._breakers.values():
                breaker.halt()
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
                await self._clock.wait(self._stopping, self._timing.store_backoff.delay(tries, self._rng))
            else:
                self._observer(StoreCalled(name, "open", self._clock.now() - started))
                if self._guard is not None:
                    self._guard.joined(name, store)
                return WatchedStore(store, observer=self._observer, clock=self._clock)
        return None

    def _crew(self, name: str, store: WatchedStore) -> Crew:
        settings = self._settings
        crew = Crew(
            store,
            self._pipelines(),
            pace=Pace(settings.replica, self._interval(name), settings.batch_size),
            timing=self._timing,
            clock=self._clock,
            rng=self._rng,
            observer=self._observer,
            memory=Memory(
                notes=self._notes,
                on_learned=partial(self._watch.learned, name),
                utc=_utc,
                minute=MINUTE * settings.time_scale,
                reach=self._watch.reach.total_seconds(),
            ),
            on_ping=partial(self._pinged, name),
            on_counts=partial(self._counted, name),
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
        away = {name: "away" for name, breaker in self._breakers.items() if breaker.is_open}
        guarded = "on" if self._settings.duplicate_guard else "off"
        return {STORES: ",".join(self._stores), GUARD: guarded, **away}

    def _pipelines(self) -> list[Pipeline]:
        settings, timing, rng = self._settings, self._timing, self._rng
        sender = Sender(
            settings,
            timing,
            relay=self._relay,
            breaker=self._breakers["relay"],
            share=self._breakers["share"],
            threads=self._threads[lifecycle.SENDER.name],
            rate=self._rate.take,
            slowed=self._rate.slowed,
            budget=self._budget,
            clock=self._clock,
            rng=rng,
            observer=self._observer,
            concurrency=settings.smtp_connections,
        )
        callbacks = [
            Callback(
                stage,
                timing,
                client=self._webhook,
                wording=self._format,
                breaker=self._breakers["callback"],
                clock=self._clock,
                rng=rng,
                observer=self._observer,
                concurrency=settings.callback_connections,
            )
            for stage in (lifecycle.SENT_CALLBACK, lifecycle.FAILED_CALLBACK)
        ]
        intake = Intake(
            settings,
            timing,
            share=self._breakers["share"],
            threads=self._threads[lifecycle.INTAKE.name],
            rng=rng,
            concurrency=FILE_THREADS,
        )
        return [intake, sender, *callbacks]

    def _breaker(self, name: str) -> Breaker:
        return Breaker(
            name,
            observer=self._observer,
            clock=self._clock,
            probe_every=self._timing.probe_every,
            probe_hold=self._timing.probe_hold,
        )

    def _pinged(self, name: str, ping: Ping | None) -> None:
        if ping is None:
            self._health.store_silent(name)
        else:
            self._health.store_answered(name, seconds=ping.seconds, writable=ping.writable)

    def _counted(self, name: str, counts: Mapping[Status, StatusCount]) -> None:
        self._metrics.set_counts(name, counts)
        self._watch.counted(name, counts)

    def _paced(self, per_second: float, reason: str) -> None:
        self._observer(RateChanged(per_second, reason))

    def _mourn(self) -> None:
        self._died = True
        self.stop()

    def _tell(self, name: str, **fields: str | int | float | bool | None) -> None:
        self._observer(Lifetime(name, tuple(fields.items())))


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
