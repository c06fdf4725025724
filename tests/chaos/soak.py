"""A long run under a steady load with one fault after the other: what a process holds must not grow by them.

Descriptors and tasks are counted twice, each time with nothing in hand and no connection to the relay or the callback:
after the first faults, and when all is over. Memory is judged by its slope, where a run is long enough to have one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import cast

from mailculator.clock import SystemClock
from mailculator.demo.mariadbd import PrivateMariadb
from tests.chaos.fleet import Fleet
from tests.chaos.ground import SqlGround
from tests.chaos.harness import SCALE, SEED, Chaos, patience
from tests.chaos.record import Proof
from tests.chaos.soak_peers import Holdings, NamedFleet, Peers, Relay, holdings
from tests.chaos.verdict import Verdict
from tests.support.outage_bench import until
from tests.support.producer import MariadbProducer

SECONDS = "MAILCULATOR_TEST_CHAOS_SOAK"
RATE = 20.0
"""Mails a second."""
EVERY, LASTING = 60.0, 10.0
"""Seconds from one fault to the next, and for which it lasts, at the most; in a short run they are shorter."""
WARMING = 6
"""One part in so many of all the time comes before anything is measured."""
SAMPLE_EVERY = 10.0
SETTLING = 300.0
"""Seconds until a process with nothing in hand has given its connections back; only a run that fails needs them."""
TREND = 1500.0
"""Seconds for which memory has to be watched before its slope says anything."""
GROWTH = 1.0
"""Megabytes an hour that memory may grow by."""
STILL = 1.0
"""Seconds for which a replica stands still: well within its lease."""
SLOW = 3.0
"""Seconds that a slow relay takes to answer a message, at the most."""
_BEAT = 0.1


@dataclass
class Soak(Chaos):
    """A run of two replicas, of which the first is never killed, and measured.

    Arguments:
        server: the queue's, to be stopped and started.
        seconds: of load.
    """

    server: PrivateMariadb = field(kw_only=True)
    seconds: float = field(kw_only=True)
    samples: list[tuple[float, Holdings]] = field(default_factory=list)
    faults: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        usual: Fleet = self.fleet
        self.fleet: NamedFleet = NamedFleet(usual.ground, usual.variables, usual.journal, usual.names, usual.rng)
        self._turns = itertools.cycle(self._faults())
        self._every = min(EVERY, self.seconds / 10)
        self._lasting = min(LASTING, self._every / 3)

    async def soak(self) -> Proof:
        """Everything. AssertionError, with seed and command, when anything does not hold."""
        begun = time.monotonic()
        with self._explained():
            async with self._at_work():
                await self._storm(self.seconds / WARMING)
                before = await self._settled()
                self.samples.clear()
                await self._storm(self.seconds - self.seconds / WARMING, len(self._faults()))
                after = await self._settled(before)
            verdict, marks = await self._judged()
            proof = self._proof(verdict, before, after, time.monotonic() - begun)
            proof.keep()
            assert not verdict.faults, {name: (len(lines), lines[:5]) for name, lines in verdict.faults.items()}
            assert not self._complaints(marks)
            if self.samples[-1][0] - self.samples[0][0] >= TREND:
                assert self._growth() < GROWTH, f"memory grows by {self._growth():.2f} MB an hour: {proof.figures}"
        return proof

    async def _storm(self, seconds: float, least: int = 0) -> None:
        """Load and faults for so long, and until so many have been; then nothing, until everything has ended."""
        async with self.load.running(), self._beside(self._pace), self._beside(self._watch):
            clock = SystemClock()
            deadline = clock.now() + seconds
            while (left := deadline - clock.now()) > 0 or self.faults < least:
                next_at = clock.now() + min(self._every, left)
                await next(self._turns)()
                self.faults += 1
                await self._pass(max(0.0, next_at - clock.now()))
        await self._ended(patience(len(self.load.promised)))

    @asynccontextmanager
    async def _beside(self, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Until the block ends; what fails there fails here."""
        task = asyncio.ensure_future(work())
        try:
            yield
        finally:
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError), repr(outcome)

    async def _pace(self) -> None:
        begun, there = time.monotonic(), self.load.allowed
        while True:
            self.load.allowed = there + int(RATE * (time.monotonic() - begun))
            await self._pass(_BEAT)

    async def _watch(self) -> None:
        while True:
            self.samples.append((time.monotonic(), await self._measure()))
            self.fleet.forget_lines()
            self.callback.calls.clear()
            await self._pass(min(SAMPLE_EVERY, self._every))

    async def _measure(self) -> Holdings:
        process = self.fleet.running[self.fleet.names[0]]
        peers = Peers(int(str(self.ground.variables["MYSQL_PORT"])), self.sink.port, self.callback.port)
        return await holdings(process.pid, process.port, peers)

    async def _settled(self, before: Holdings | None = None) -> Holdings:
        """With nothing in hand: when no connection is left, and no more of anything than there was before."""

        async def at_rest() -> Holdings | None:
            now = await self._measure()
            calm = not now.others and (before is None or (now.files <= before.files and now.tasks <= before.tasks))
            seen[:] = [now]
            return now if calm else None

        seen: list[Holdings] = []
        try:
            found = await until(at_rest, f"no more than {before}", SETTLING)
        except AssertionError as error:
            error.add_note(f"at last: {seen}")
            raise
        assert found is not None
        return found

    # The faults

    def _faults(self) -> Sequence[Callable[[], Awaitable[None]]]:
        steady, mortal = self.fleet.names
        return (
            self._relay_away,
            self._relay_slow,
            self._relay_cuts,
            self._callback_unwell,
            self._callback_away,
            lambda: self.fleet.pause_one(steady, STILL),
            self._store_away,
            lambda: self.fleet.kill_one(mortal),
            lambda: self.fleet.pause_one(mortal, STILL),
        )

    async def _relay_away(self) -> None:
        relay = cast(Relay, self.sink)
        relay.leave()
        await self._relay_cuts()
        await relay.come_back()

    async def _relay_slow(self) -> None:
        usual, self.moods.dot = self.moods.dot, SLOW
        await self._pass(self._lasting)
        self.moods.dot = usual

    async def _relay_cuts(self) -> None:
        for _ in range(round(self._lasting / _BEAT)):
            cast(Relay, self.sink).cut()
            await self._pass(_BEAT)

    async def _callback_unwell(self) -> None:
        self.callback.status = 503
        await self._pass(self._lasting)
        self.callback.status = 200

    async def _callback_away(self) -> None:
        await self.callback.stop()
        await self._pass(self._lasting)
        await self.callback.start()

    async def _store_away(self) -> None:
        queue = cast(SqlGround, self.ground).queue
        async with cast(SqlGround, self.ground)._session:  # producers wait meanwhile
            await self.server.stop()
            queue.producer.close()
            await self._pass(self._lasting)
            await self.server.start()
            name = str(queue.variables["MYSQL_DATABASE"])
            queue.producer = await asyncio.to_thread(MariadbProducer, port=self.server.port, database=name)

    async def _pass(self, seconds: float) -> None:
        await SystemClock().wait(asyncio.Event(), seconds)

    # What came of it

    def _growth(self) -> float:
        """Megabytes an hour."""
        return slope([(at, float(one.resident)) for at, one in self.samples]) * 3600 / (1 << 20)

    def _proof(self, verdict: Verdict, before: Holdings, after: Holdings, seconds: float) -> Proof:
        outside = {"lost", "stuck", "falsely_final", "set_aside", "doubled_outside"}
        watched = self.samples[-1][0] - self.samples[0][0]
        figures: dict[str, int | float | str] = {
            "mails": len(self.load.promised),
            "faults": self.faults,
            "lost": len(verdict.lost),
            "stuck": len(verdict.stuck),
            "falsely final": len(verdict.falsely_final),
            "set aside": len(verdict.set_aside),
            "doubled in the window": len(verdict.doubled_in_window),
            "doubled after a pause": len(verdict.doubled_after_pause),
            "doubled elsewhere": len(verdict.doubled_outside),
            "other faults": sum(len(lines) for name, lines in verdict.faults.items() if name not in outside),
            "descriptors before and after": f"{before.files} and {after.files}",
            "tasks before and after": f"{before.tasks} and {after.tasks}",
            "memory in MB before and after": f"{_megabytes(before)} and {_megabytes(after)}",
        }
        if watched >= TREND:
            figures["memory, MB an hour"] = f"{self._growth():+.2f} over {watched / 60:.0f} minutes"
        return Proof.of("soak", f"MariaDB, {self.replicas} replicas", [self.seed], seconds, figures)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            given = f"{SECONDS}={self.seconds:g} {SEED}={self.seed}"
            error.add_note(f"seed {self.seed}; again: {given} .venv/bin/pytest tests/chaos/test_chaos_soak.py")
            error.add_note(f"faults: {self.faults}, mails: {len(self.load.promised)}; samples: {self.samples[-5:]}")
            raise


def soak_seconds() -> float:
    """Of load, as the environment says; a minute where it says nothing."""
    return float(os.environ.get(SECONDS, "60"))


def time_scale() -> float:
    """All delays as they are where memory is judged: a replica remembers a day of minutes, and grows until it has one.

    With minutes of 3 seconds that is megabytes an hour, for its first hours.
    """
    return 1.0 if soak_seconds() > TREND else SCALE


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes of all pairs (Theil and Sen), which a third of outliers does not move far.

    Errors: StatisticsError for fewer than two points in time.
    """
    return statistics.median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in itertools.combinations(points, 2)
        if later[0] > earlier[0]
    )


def _megabytes(one: Holdings) -> str:
    return f"{one.resident / (1 << 20):.1f}"
