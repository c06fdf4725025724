"""One replica, put together as app.py and equipment.py do it: everything in it is real but what it talks to."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from mailculator import lifecycle
from mailculator.app import ABORT_SHARE
from mailculator.config import Settings
from mailculator.equipment import Equipment
from mailculator.events import BreakerChanged, ClaimLost, Event, Moved, PipelineFailed, Rescued
from mailculator.journal.reader import Journals
from mailculator.journal.writer import Journal
from mailculator.model import Email, Lease
from mailculator.pipelines.budget import ByteBudget
from mailculator.pipelines.crew import Crew, Memory
from mailculator.pipelines.runner import Pace
from mailculator.pipelines.solitude import Solitude
from mailculator.pipelines.surroundings import Surroundings
from mailculator.stores.rescue_name import RescueNames
from mailculator.stores.watched import WatchedStore
from mailculator.timing import Timing
from mailculator.transport.callback_format import CallbackFormat
from mailculator.transport.rate import Rate
from tests.simulation.chronicle import Chronicle, ReplicaClock
from tests.simulation.disk import ReplicaDisk, Share
from tests.simulation.faults import Weather
from tests.simulation.line import FaultyLine
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.peers import Peers, SimulatedCallback, SimulatedRelay
from tests.simulation.queues import Queue
from tests.simulation.scribe import VirtualScribe
from tests.simulation.store import NAME, SimulatedStore

P = ParamSpec("P")
T = TypeVar("T")
JOURNAL = Path("/journal")


class VirtualThreads:
    """Threads that there are not: what they do takes a moment."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See Threads."""
        if self._rng.random() < 0.5:
            await asyncio.sleep(self._rng.uniform(0.0001, 0.02))
        return function(*args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What replicas stand on, and share.

    Arguments:
        renews_together: as for Capabilities.
    """

    loop: VirtualLoop
    rng: random.Random
    settings: Settings
    timing: Timing
    queue: Queue
    share: Share
    weather: Weather
    peers: Peers
    chronicle: Chronicle
    renews_together: bool


class SimulatedEquipment(Equipment):
    """What stores share in one process; its peers and its threads are the world's."""

    def __init__(self, ground: Ground, incarnation: Incarnation, replica: str) -> None:  # it opens nothing real
        clock, process = incarnation.clock, incarnation.process
        self._settings = ground.settings.model_copy(update={"replica": replica})
        self._timing = timing = ground.timing
        self._observer = incarnation.observe
        self._clock = clock
        self._rng = incarnation.rng
        self._relay = SimulatedRelay(ground.peers, process, incarnation.id, process.name, timing)  # type: ignore[assignment]
        self._webhook = SimulatedCallback(ground.peers, process, timing)  # type: ignore[assignment]
        self._format: Any = CallbackFormat({}, "", (), lambda: clock.wall().timestamp())
        self._budget = ByteBudget(self._settings.memory_limit)
        self.rate = Rate(self._settings.smtp_rate, clock=clock.now, on_change=self._paced)
        self._domain_rate = self._rate_of_domains()
        self._breakers = {name: self._breaker(name) for name in ("relay", "callback", "share")}
        self._breakers["journal"] = self._breaker("journal", threshold=1, probes=False)
        self.marks = Journal(
            JOURNAL,
            replica,
            incarnation=incarnation.id,
            patience=timing.journal_patience,
            retry_every=timing.probe_every,
            on_change=self._journalled,
            disk=incarnation.disk,
            clock=clock,
            wall=clock.wall,
        )
        self._journals = Journals(JOURNAL)
        self.solitude = Solitude(clock, timing.solitude)
        threads: Any = VirtualThreads(ground.weather.rng)
        self._threads = {stage.name: threads for stage in (lifecycle.INTAKE, lifecycle.SENDER)}


class Incarnation:
    """One process of a replica.

    Arguments:
        skew: of its wall clock, in seconds.
        unmarked: claims, by email and version, whose reply the journal would not take.
    """

    def __init__(self, ground: Ground, replica: str, number: int) -> None:
        self.rng = random.Random(ground.rng.getrandbits(64))
        self.id = UUID(int=self.rng.getrandbits(128)).hex
        self.replica = replica
        self.process: Process = ground.loop.add(f"{replica}.{number}")
        self.skew = round(self.rng.choice((0.0, 0.0, self.rng.uniform(-4e4, 4e4))))
        self.clock = ReplicaClock(ground.loop.time, self.rng.uniform(0.0, 1e6), self.skew)
        self.disk = ReplicaDisk(ground.share, self.process, lambda: ground.weather.disk(replica), ground.loop.time)
        self.complaints: list[str] = []
        self.unmarked: set[tuple[str, int]] = set()
        self._ground = ground
        self._equipment: SimulatedEquipment | None = None
        self._crew: Crew | None = None
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let it begin."""
        self._begin(self._live())

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self.process.context.run(self._ground.loop.create_task, work)
        task.add_done_callback(self._has_ended)
        return task

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.complaints.append("".join(traceback.format_exception(error)))

    def lease_of(self, email_id: str) -> tuple[Email, Lease] | None:
        """What it believes to hold of an email."""
        held = None if self._crew is None else self._crew._keeper._held.get(email_id)
        return None if held is None or held[0].lease is None else (held[0], held[0].lease)

    @property
    def unwritten(self) -> bytes:
        """Marks that are on their way to the disk."""
        scribe = None if self._equipment is None else self._equipment.marks._scribe
        return scribe.unwritten if isinstance(scribe, VirtualScribe) else b""

    def drain(self, done: Callable[[], None]) -> None:
        """Stop in good order; `done` is called once it has ended."""
        self._begin(self._drain(done))

    async def _drain(self, done: Callable[[], None]) -> None:
        """As app.py does it."""
        if self._work is not None and self._crew is not None and self._equipment is not None:
            self._equipment.halt()
            self._crew.stop()
            grace = self._ground.settings.shutdown_grace
            reserve = min(5.0, ABORT_SHARE * grace)
            _, unfinished = await asyncio.wait({self._work}, timeout=grace - reserve)
            if unfinished:
                self._crew.abort()
                _, unfinished = await asyncio.wait(unfinished, timeout=reserve)
            for task in unfinished:
                task.cancel()
            await asyncio.wait({self._work})
            try:
                async with asyncio.timeout(5.0):
                    await self._equipment.marks.close()
            except TimeoutError:
                pass
        done()

    async def _live(self) -> None:
        equipment = self._equipment = SimulatedEquipment(self._ground, self, self.replica)
        await equipment.marks.open()
        crew = self._crew = self._put_together(equipment)
        self._work = self._begin(crew.run())

    def _put_together(self, equipment: SimulatedEquipment) -> Crew:
        ground, settings = self._ground, self._ground.settings
        names = RescueNames()
        names._mine = UUID(int=self.rng.getrandbits(128))
        line = FaultyLine(ground.loop, self.process, self.replica, ground.weather, ground.timing.store_timeout)
        store = SimulatedStore(ground.queue, line, names, renews_together=ground.renews_together)
        return Crew(
            WatchedStore(store, observer=self.observe, clock=self.clock),
            equipment.pipelines(NAME),
            pace=Pace(self.replica, settings.pipeline_interval, settings.batch_size),
            timing=ground.timing,
            clock=self.clock,
            rng=self.rng,
            observer=self.observe,
            marks=self._watched(equipment.marks),
            solitude=equipment.solitude,
            judge=equipment.judge(NAME),
            memory=Memory(notes=dict, on_learned=lambda minutes, survey: None, utc=self.clock.wall, reach=600.0),
            on_ping=lambda ping: None,
            on_counts=lambda counts: None,
            surroundings=Surroundings(self.clock.now),
            on_death=self._mourn,
        )

    def _mourn(self) -> None:
        if self.process.alive:
            self.complaints.append(f"{self.process.name}: a loop has died")

    def _watched(self, marks: Journal) -> Journal:
        """Note which replies it does not take: of those the promise says nothing."""
        settle = marks._mark

        async def mark(kind: Any, keys: Any, reply: Any = None) -> None:
            try:
                await settle(kind, keys, reply)
            except BaseException:
                if reply is not None:
                    self.unmarked.update((key.email_id, key.version) for key in keys)
                raise

        marks._mark = mark  # type: ignore[method-assign]
        return marks

    def observe(self, event: Event) -> None:
        """What the core tells."""
        write, name = self._ground.chronicle.write, self.process.name
        if not self.process.alive:  # its coroutines are being put away
            return
        match event:
            case Moved():
                write("moved", name, f"{event.email_id} {event.outcome} {event.to} {event.version}")
            case Rescued():
                write("rescued", name, f"{event.email_id} {event.holder} {event.outcome} {event.to}")
            case ClaimLost():
                write("claim lost", name, f"{event.email_id} {event.outcome}")
            case BreakerChanged():
                write("breaker", name, f"{event.name} {event.open}")
            case PipelineFailed():
                self.complaints.append(f"{name}: {event.pipeline}: {event.error}\n{event.traceback}")
