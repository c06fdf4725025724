"""One cell gone through once: a service under load that does not stop, the fault, the healing, the end, the verdict."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailculator.clock import SystemClock
from tests.chaos import evidence
from tests.chaos.evidence import Evidence
from tests.chaos.ground import Ground
from tests.chaos.load import Moods, refused
from tests.chaos.verdict import Account, Kind, Verdict, judge
from tests.faults.cells import Cell, Dependency
from tests.faults.circumstances import CIRCUMSTANCES, FORWARD, is_large, of_the_others, of_the_sick
from tests.faults.load import Steady
from tests.faults.proxy import FaultProxy
from tests.faults.relay_talk import RelayTalk
from tests.support.counting_sink import CountingCallback
from tests.support.scenario import Variables, delivery
from tests.support.service import Line, ServiceProcess

PATIENCE = 120.0
"""Seconds that anything may need on a busy machine; only a run that fails comes near it."""
FIRST = 3
"""Mails that have to be through before anything is measured."""
BEFORE, AFTER = 0.7, 0.5
"""Seconds of load before the fault and after it."""
RAMP, BEFORE_LARGE = 1.5, 3.0
"""Where rates are compared: until the last stage has as much to do as the first, and then before the fault."""
STEPS = 20
"""Steps ahead of what is not ill that have to be made before it heals."""
PACE_BESIDE = 8.0
"""Mails a second on the queue beside one that falls ill."""
DOT = 0.2
"""Seconds that the relay takes for a message, at the most: there is nearly always one between its dot and the reply."""
_ADDRESS = re.compile(r"r-[0-9a-f-]{36}@")
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. Seconds.

    Arguments:
        moving: from the healing to the first step ahead through what was ill.
        ended: from the healing to the end of the last email.
        share: what the others did while it was ill, as part of what they did before; None when that says nothing.
        complaints: what the service did that it must not do, beside what became of the mail.
    """

    cell: Cell
    mails: int
    verdict: Verdict
    moving: float
    ended: float
    share: float | None
    complaints: tuple[str, ...]

    @property
    def wrong(self) -> list[str]:
        """In words; empty when all is as it should be."""
        faults = [f"{name}: {len(lines)}, first {lines[:3]}" for name, lines in self.verdict.faults.items()]
        return [*faults, *self.complaints]


@dataclass
class Trial:
    """One run.

    Arguments:
        grounds: the queues of the service; the first is the one that falls ill, if any does.
        folder: its own.
        port: of the dependency, if that is a queue.
        through: the variables that lead the service to that queue by another port.
    """

    cell: Cell
    grounds: Sequence[Ground]
    rng: random.Random
    folder: Path
    port: int = 0
    through: Callable[[int], Variables] = lambda _: {}
    moods: Moods = field(default_factory=lambda: Moods(dot=DOT))
    callback: CountingCallback = field(default_factory=CountingCallback)
    talk: RelayTalk = field(default_factory=RelayTalk)

    def __post_init__(self) -> None:
        self.given = CIRCUMSTANCES[self.cell.dependency]
        self.sink = self.moods.sink()
        self.journal = self.folder / "journal"
        self.journal.mkdir()
        self.loads = [self._load(number, ground) for number, ground in enumerate(self.grounds)]

    async def run(self) -> Outcome:
        """Go through it. AssertionError when the service ends by itself, or the others stand still."""
        async with self._at_work() as (service, proxy):
            for load in self.loads:
                await load.begin(FIRST)
            await self._until(service, lambda: self._warm(service), "the first mails are called back")
            async with AsyncExitStack() as stack:
                for load in self.loads:
                    await stack.enter_async_context(load.running())
                await _pass(RAMP if is_large() else 0.0)
                begun = time.time()
                await _pass(BEFORE_LARGE if is_large() else BEFORE)
                sick = time.time()
                await proxy.sicken(self.cell.phase, self.cell.toxic(self.given.scale, self.rng))
                await _pass(self.given.lasts(self.cell))
                if self.cell.is_seen:
                    await self._until(service, proxy.met.is_set, "the fault meets a connection")
                await self._until(
                    service,
                    lambda: len(self._steps(service, sick, time.time())) >= STEPS,
                    f"{STEPS} steps of what is not ill",
                )
                healed = time.time()
                await proxy.heal()
                await _pass(AFTER)
            ended = await self._ended(service) - healed
            complaints = await self._stopped(service)
        before, during = self._steps(service, begun, sick), self._steps(service, sick, healed)
        return Outcome(
            self.cell,
            sum(len(load.promised) for load in self.loads),
            judge(await self._account()),
            min((at - healed for at in self._moves(service) if at >= healed), default=ended),
            ended,
            (len(during) / (healed - sick)) / (len(before) / (sick - begun)) if before else None,
            tuple(complaints),
        )

    def _load(self, number: int, ground: Ground) -> Steady:
        folder = self.folder / f"payloads-{number}"
        folder.mkdir()
        pace = self.given.pace if number == 0 else PACE_BESIDE
        return Steady(ground, folder, random.Random(self.rng.random()), pace=pace, mixture=dict(self.given.mixture))

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[tuple[ServiceProcess, FaultProxy]]:
        async with self.sink, self.callback:
            targets = {Dependency.RELAY: self.sink.port, Dependency.CALLBACK: self.callback.port}
            listener = self.talk if self.cell.dependency is Dependency.RELAY else None
            target = targets.get(self.cell.dependency, self.port)
            async with (
                FaultProxy(target, listener) as proxy,
                ServiceProcess(self._variables(proxy.port)) as service,
            ):
                yield service, proxy

    def _variables(self, port: int) -> Variables:
        queues = {name: value for ground in self.grounds for name, value in ground.variables.items()}
        by_proxy: dict[Dependency, Variables] = {
            Dependency.RELAY: {"SMTP_PORT": port},
            Dependency.CALLBACK: {"PIPELINE_CALLBACK_URL": f"http://127.0.0.1:{port}/callback"},
        }
        return {
            **queues,
            **delivery(self.callback, self.sink.port),
            "MAILCULATOR_TIME_SCALE": self.given.scale,
            "MAILCULATOR_SMTP_CONNECTIONS": 6,
            "MAILCULATOR_CALLBACK_CONNECTIONS": 6,
            "MAILCULATOR_LOG_LEVEL": "debug",
            "MAILCULATOR_REPLICA": "patient",
            "MAILCULATOR_SMTP_HELO": "patient.test",
            "MAILCULATOR_JOURNAL_DIR": self.journal,
            **self.given.variables,
            **by_proxy.get(self.cell.dependency, self.through(port)),
        }

    def _kind(self, email_id: str) -> Kind | None:
        return next((load.promised[email_id] for load in self.loads if email_id in load.promised), None)

    def _warm(self, service: ServiceProcess) -> bool:
        done = {line["store"] for line in service.lines if line["event"] == "mail.acknowledged"}
        return done >= {ground.store for ground in self.grounds}

    def _steps(self, service: ServiceProcess, since: float, until: float) -> list[float]:
        """When what does not depend on the sick made its steps, within that time."""
        return [
            at
            for at, line in _forward(service)
            if since <= at < until and of_the_others(self.cell.dependency, line, self._kind(line["email_id"]))
        ]

    def _moves(self, service: ServiceProcess) -> list[float]:
        return [at for at, line in _forward(service) if of_the_sick(self.cell.dependency, line)]

    async def _until(self, service: ServiceProcess, reached: Callable[[], bool], what: str) -> None:
        clock, never = SystemClock(), asyncio.Event()
        deadline = clock.now() + PATIENCE
        while not reached():
            assert service.process.returncode is None, f"the service has ended by itself: {service.errors[-1000:]}"
            assert clock.now() < deadline, f"not within {PATIENCE:g} s: {what}"
            await clock.wait(never, _LOOK)

    async def _ended(self, service: ServiceProcess) -> float:
        """When everything had; what has not in time is stuck, which is for the checker to say."""
        clock, never = SystemClock(), asyncio.Event()
        deadline = clock.now() + PATIENCE
        for ground in self.grounds:
            while await ground.unfinished() and clock.now() < deadline and service.process.returncode is None:
                await clock.wait(never, _LOOK)
        return time.time()

    async def _stopped(self, service: ServiceProcess) -> list[str]:
        by_itself = service.process.returncode is not None
        code = await (service.wait() if by_itself else service.stop())
        found = [f"it ended with {code}: {service.errors[-1000:]}"] if by_itself or code != 0 else []
        found += [f"a bug: {line}" for line in service.lines if _is_bug(line)]
        return found + [f"an address in the log: {line}" for line in service.lines if _ADDRESS.search(str(line))]

    async def _account(self) -> Account:
        read = [await asyncio.to_thread(evidence.read, self.journal, ground.store) for ground in self.grounds]
        promised = {email_id: kind for load in self.loads for email_id, kind in load.promised.items()}
        told = frozenset[str]()
        if "MAILCULATOR_INVALID_CALLBACK" in self.given.variables:
            # It is FAILED before the relay hears of it, and called back, as if the relay had refused it.
            told = frozenset(email_id for email_id, kind in promised.items() if kind is Kind.INVALID)
            promised |= dict.fromkeys(told, Kind.REFUSED)
        return Account(
            promised=promised,
            emails=[email for ground in self.grounds for email in await ground.standings()],
            accepted=self.sink.accepted,
            refused=refused(self.sink) | told,
            answers=self.callback.answers,
            evidence=Evidence(
                [claim for one in read for claim in one.claims],
                list(dict.fromkeys(line for one in read for line in one.damage)),
            ),
            dots=self.moods.dots,
            cut=self.talk.unanswered,
            torn=self.talk.torn,
        )


def _forward(service: ServiceProcess) -> list[tuple[float, Line]]:
    """Each step ahead, and when it was on record."""
    ahead = [line for line in service.lines if line["event"] in FORWARD and "pipeline" in line]
    return [(datetime.fromisoformat(line["timestamp"]).timestamp(), line) for line in ahead]


def _is_bug(line: Line) -> bool:
    return line["event"].startswith("pipeline.") or line.get("logger") == "asyncio" or "traceback" in line


async def _pass(seconds: float) -> None:
    await SystemClock().wait(asyncio.Event(), seconds)
