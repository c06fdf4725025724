"""A run of chaos: rounds of load and blows, after each of which everything ends and every book is held against the
others; in the end a record.

How much there is of it says the environment; without a word it is what fits a run of all tests.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import machine
from mailculator.clock import SystemClock
from tests.chaos import evidence
from tests.chaos.blows import left_before_the_dot, recoveries, rescues
from tests.chaos.evidence import Evidence
from tests.chaos.fleet import Fleet
from tests.chaos.ground import Ground
from tests.chaos.load import Load, Moods, refused
from tests.chaos.parts import PARTS, Part
from tests.chaos.record import Record, percentile
from tests.chaos.verdict import Account, Verdict, judge
from tests.support.counting_sink import CountingCallback, CountingSink
from tests.support.scenario import Variables, delivery

SEED = "MAILCULATOR_TEST_CHAOS_SEED"
MAILS = "MAILCULATOR_TEST_CHAOS_MAILS"
BLOWS = {what: f"MAILCULATOR_TEST_CHAOS_{what.upper()}" for what in ("kills", "freezes", "drains", "server", "clocks")}
"""Where the environment says how many of each there are to be."""
_SPREAD = {"mysql": 0.6, "sqlite": 0.3, "dynamodb": 0.1}
SHARES = {"kills": _SPREAD, "freezes": {"mysql": 1.0, "dynamodb": 0.1}, "drains": _SPREAD}
"""What each store gets of the blows that are asked for."""
MAIL_SHARES = {"mysql": 0.65, "sqlite": 0.3, "dynamodb": 0.05}
"""What it gets of the mails. moto, which stands for DynamoDB, makes some fifty writes a second at its best."""
REPLICAS = {"mysql": 3, "sqlite": 1, "dynamodb": 2}
"""An embedded queue belongs to one process; two replicas are as much as moto can bear."""
SCALE = 0.05
LEASES = {"mysql": 90.0, "sqlite": 90.0, "dynamodb": 250.0}
"""Seconds, before they are scaled. A call to DynamoDB may take a quarter of it, and a busy emulator needs as long."""
USUAL: Variables = {
    "MAILCULATOR_TIME_SCALE": SCALE,
    "MAILCULATOR_SMTP_CONNECTIONS": 10,
    "MAILCULATOR_CALLBACK_CONNECTIONS": 10,
    "MAILCULATOR_CALLBACK_TIMEOUT": 300,
    "MAILCULATOR_LOG_LEVEL": "debug",  # else it does not tell of claims
}
SPARING: Variables = {
    "MAILCULATOR_BATCH_SIZE": 4,
    "MAILCULATOR_DYNAMODB_INTERVAL": 0.2,
    "MAILCULATOR_SMTP_CONNECTIONS": 4,
    "MAILCULATOR_CALLBACK_CONNECTIONS": 4,
}
"""What keeps two replicas from asking an emulator for more than it can do."""
ROUND = 50
"""Blows until everything has to come to its end, and is looked at."""
UNWELL = 10
"""Of a hundred callbacks so many are answered 503."""


def blow_count(what: str, store: str, usual: int) -> int:
    """A store's share of the blows that the environment asks for, or of the usual ones; one at the least."""
    return max(1, round(int(os.environ.get(BLOWS[what], usual)) * SHARES[what][store]))


def mail_count(store: str, usual: int) -> int:
    """The same of mails."""
    return max(1, round(int(os.environ.get(MAILS, usual)) * MAIL_SHARES[store]))


def patience(mails: int) -> float:
    """Seconds for that many mails to end once nothing disturbs them any more; only a run that fails needs them."""
    return 300.0 + mails


def lease(store: str) -> float:
    """Seconds that a claim holds."""
    return LEASES[store] * SCALE


def time_limit(what: str, blows: int, mails: int) -> float:
    """Seconds after which a test has hung, for the usual amounts or those of the environment."""
    blows, mails = int(os.environ.get(BLOWS[what], blows)), int(os.environ.get(MAILS, mails))
    return 300.0 + 30.0 * blows + patience(mails)


def new_seed() -> int:
    """The one that the environment names, or any."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))


@dataclass
class Chaos:
    """One run.

    Arguments:
        what: kills, freezes or drains, or what befalls something else than the replicas.
        replicas: how many work side by side.
        mails: put on the queue in all at the least, while the blows fall.
        variables: of the replicas, beside what leads them to the queue, the relay and the callback.
        seed: of what befalls whom, and of the mails.
        part: which one of those that make up the run side by side.
        per_round: blows until everything has to come to its end.
        keep: told the record, before anything is held against it.
    """

    what: str
    ground: Ground
    callback: CountingCallback
    folder: Path
    replicas: int
    mails: int
    variables: Variables
    moods: Moods
    seed: int
    part: Part = Part()
    per_round: int = ROUND
    keep: Callable[[Record], None] = Record.keep
    fleet: Fleet = field(init=False)
    load: Load = field(init=False)
    sink: CountingSink = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.journal = self.folder / "journal"
        self.journal.mkdir()
        (self.folder / "payloads").mkdir()
        self.sink = self.moods.sink()
        self.load = Load(self.ground, self.folder / "payloads", random.Random(rng.random()))
        names = [f"{self.what}-{number}" for number in range(1, self.replicas + 1)]
        self.fleet = Fleet(self.ground, self.variables, self.journal, names, rng)
        self.callback.script += rng.choices([200, 503], [100 - UNWELL, UNWELL], k=2 * self.mails)

    async def run(self, blow: Callable[[], Awaitable[object]], blows: int) -> Record:
        """Deal out the blows, round by round. AssertionError with seed and command when anything does not hold."""
        begun, where = time.monotonic(), machine()
        with self.explained():
            async with self._at_work():
                for done in range(0, blows, self.per_round):
                    await self._round(blow, done, min(self.per_round, blows - done), blows)
                    verdict, marks = await self._judged()
                    if verdict.faults or self._complaints(marks):
                        break
            verdict, marks = await self._judged()
            where = f"{where.removesuffix('.')}, at its end: {os.getloadavg()[0]:.1f}."
            record = self._record(verdict, marks, time.monotonic() - begun, where)
            self.keep(record)
            complaints = self._complaints(marks)
            assert not verdict.faults, {name: (len(lines), lines[:5]) for name, lines in verdict.faults.items()}
            assert not complaints, complaints[:5]
        return record

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        async with self.sink:
            relay = delivery(self.callback, self.sink.port)
            self.fleet.variables = {**self.ground.variables, **relay, **self.variables}
            async with self.fleet.sailing():
                yield

    async def _round(self, blow: Callable[[], Awaitable[object]], done: int, count: int, blows: int) -> None:
        async with self.load.running():
            for number in range(done + 1, done + count + 1):
                self.load.allowed = self.mails * number // blows
                await blow()
        await self._ended(patience(self.mails * count // blows))

    async def _ended(self, seconds: float) -> None:
        """Until everything has; what has not by then is stuck, which is for the checker to say."""
        clock, never = SystemClock(), asyncio.Event()
        deadline = clock.now() + seconds
        while await self.ground.unfinished() and clock.now() < deadline:
            await clock.wait(never, self.ground.look_every)

    async def _judged(self) -> tuple[Verdict, Evidence]:
        marks = await asyncio.to_thread(evidence.read, self.journal, self.ground.store)
        account = Account(
            promised=dict(self.load.promised),
            emails=await self.ground.standings(),
            accepted=self.sink.accepted,
            refused=refused(self.sink),
            answers=self.callback.answers,
            evidence=marks,
            dots=self.moods.dots,
            ended=frozenset(self.fleet.ended),
            pauses=self.fleet.pauses,
        )
        return judge(account), marks

    def _complaints(self, marks: Evidence) -> list[str]:
        found = [*self.fleet.complaints, *(line for watch in self.fleet.watches for line in watch.writes())]
        if self.what == "drains":
            found += left_before_the_dot(self.fleet.blows, marks)
        return found

    def _record(self, verdict: Verdict, marks: Evidence, seconds: float, where: str) -> Record:
        again = recoveries(self.fleet.blows, marks)
        rescued = rescues(self.fleet.blows, [line for process in self.fleet.everyone for line in process.lines])
        return Record(
            what=self.what,
            store=self.ground.store,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            seeds=(self.seed,),
            machine=where,
            seconds=round(seconds, 1),
            replicas=self.replicas,
            blows=len(self.fleet.blows),
            struck=sum(bool(blow.met) for blow in self.fleet.blows),
            mails={str(kind): count for kind, count in sorted(Counter(self.load.promised.values()).items())},
            lost=len(verdict.lost),
            stuck=len(verdict.stuck),
            falsely_final=len(verdict.falsely_final),
            set_aside=len(verdict.set_aside),
            doubled_in_window=len(verdict.doubled_in_window),
            doubled_after_pause=len(verdict.doubled_after_pause),
            doubled_outside=len(verdict.doubled_outside),
            broken=len(verdict.broken),
            complaints=len(self._complaints(marks)),
            refused_writes=sum(watch.refusals() for watch in self.fleet.watches),
            rescue_p50=percentile(rescued, 0.5),
            rescue_p99=percentile(rescued, 0.99),
            recovery_p50=percentile(again, 0.5),
            recovery_p99=percentile(again, 0.99),
            part=self.part.number,
            parts=self.part.of,
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add to whatever fails how it can be had again: the same blows and mails, the machine's own timing aside."""
        try:
            yield
        except BaseException as error:
            amounts = {name: os.environ[name] for name in (MAILS, PARTS, *BLOWS.values()) if name in os.environ}
            given = " ".join(f"{name}={value}" for name, value in {**amounts, SEED: str(self.seed)}.items())
            test = os.environ.get("PYTEST_CURRENT_TEST", f"tests/chaos/test_chaos_{self.what}.py").partition(" ")[0]
            error.add_note(f"seed {self.seed}; again: {given} .venv/bin/pytest '{test}'")
            error.add_note(f"blows: {len(self.fleet.blows)}, mails: {len(self.load.promised)}")
            raise


def prepare(
    ground: Ground,
    callback: CountingCallback,
    folder: Path,
    what: str,
    mails: int,
    *,
    moods: Moods | None = None,
    part: Part = Part(),  # noqa: B008  # a value, which nobody can change
    **variables: object,
) -> Chaos:
    """A run that has not begun.

    Arguments:
        mails: before the store's share is taken, where the environment asks for nothing else.
        moods: of the relay, if not the usual ones.
        part: which one of the run; it gets its share of the mails.
        variables: of the replicas.
    """
    seed = new_seed()
    special = SPARING if ground.store == "dynamodb" else {}
    return Chaos(
        what=what,
        ground=ground,
        callback=callback,
        folder=folder,
        replicas=REPLICAS[ground.store],
        mails=part.share(mail_count(ground.store, mails)),
        variables={**USUAL, **special, "MAILCULATOR_LEASE": LEASES[ground.store], **variables},
        moods=moods or Moods(),
        seed=seed,
        part=part,
    )


Begin = Callable[..., Chaos]
"""`prepare`, of a queue that is there: what, mails, and the rest."""
