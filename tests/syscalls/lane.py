"""A queue on which one process follows another: each ends the mail that the last one was struck over, takes a new one
up, and is struck itself.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailculator.clock import SystemClock
from tests.chaos import evidence
from tests.chaos.evidence import incarnations
from tests.chaos.ground import Ground
from tests.chaos.load import Moods, refused
from tests.chaos.verdict import Account, Kind, Verdict, is_window, judge
from tests.support.counting_sink import CountingCallback, CountingSink
from tests.support.producer import recipient, write_payload
from tests.support.scenario import Variables, delivery
from tests.support.service import ServiceProcess
from tests.syscalls.points import Point
from tests.syscalls.tracing import Seen, World, traced

NAME = "lane"
PATIENCE = 600.0
"""Seconds for a mail to end; only a run that fails comes near it."""
TRIES = 2
"""Lives in which a point is looked for."""
TIMES: Variables = {
    "MAILCULATOR_TIME_SCALE": 0.4,
    "PIPELINE_INTERVAL": 2.0,
    "MAILCULATOR_DYNAMODB_INTERVAL": 2.0,
}
"""With a smaller scale a traced process runs into its timeouts, and its life is no longer that of a mail."""
LEASES = {"mysql": 15.0, "sqlite": 15.0, "dynamodb": 40.0}
"""Seconds, before they are scaled: as short as may be, for most of a run is waiting for the rescue."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A process that was killed over a mail.

    Arguments:
        incarnation: of the process.
        recovered: seconds until the next one had ended the mail.
    """

    point: Point
    email_id: str
    incarnation: str
    recovered: float


@dataclass
class Lane:
    """One queue and everything around it.

    Arguments:
        ports: what listens where, beside relay and callback.
        paths: the store's own files.
        folder: for everything else.
    """

    ground: Ground
    folder: Path
    ports: dict[int, str] = field(default_factory=dict)
    paths: list[tuple[Path, str]] = field(default_factory=list)
    promised: dict[str, Kind] = field(default_factory=dict)
    strikes: list[Strike] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)
    callback: CountingCallback = field(default_factory=CountingCallback)
    sink: CountingSink = field(default_factory=Moods(data=0.0, dot=0.0).sink)
    _process: ServiceProcess | None = None
    _known: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in ("journal", "payloads", "attachments"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "attachments" / "bill.txt").write_text("È tutto pagato.\n" * 100, encoding="utf-8")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Relay and callback are there until the block ends; whoever runs then is told to stop."""
        async with self.sink, self.callback, AsyncExitStack() as stack:
            stack.push_async_callback(self._end)
            yield
            await self.stop()

    async def live(self, kind: Kind) -> Seen:
        """A mail's whole life, undisturbed."""
        _, seen = await self._life(kind, None)
        self._process = None
        return seen

    async def strike(self, point: Point, kind: Kind) -> None:
        """Have a process struck at that point of a mail's life, and the mail ended by the next."""
        for _ in range(TRIES):
            email_id, seen = await self._life(kind, point)
            self._process = None
            if seen.struck is not None:
                await self._recover(point, email_id, seen.struck)
                return
            # It used its connections again, and so had fewer calls to make. Who starts anew has none.
        self.missed.append(point)

    async def judged(self) -> tuple[Verdict, int]:
        """What does not hold, and how many strikes fell between a mail's dot and the relay's reply."""
        marks = await asyncio.to_thread(evidence.read, self._journal, self.ground.store)
        account = Account(
            promised=dict(self.promised),
            emails=await self.ground.standings(),
            accepted=self.sink.accepted,
            refused=refused(self.sink),
            answers=self.callback.answers,
            evidence=marks,
            ended=frozenset(strike.incarnation for strike in self.strikes),
        )
        windows = sum(is_window(claim, account) for claim in marks.claims)
        return judge(account), windows

    async def _life(self, kind: Kind, point: Point | None) -> tuple[str, Seen]:
        process = await self._running()
        async with traced(process.pid, self._world, point) as tracer:
            email_id = await self._put(kind)
            ended = asyncio.create_task(_ended(process, email_id))
            try:
                async with asyncio.timeout(PATIENCE):
                    await asyncio.wait([ended, tracer.report], return_when=asyncio.FIRST_COMPLETED)
                seen = await tracer.finish()
                if seen.struck is None:
                    await ended  # a process that has died of something else fails here
            finally:
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)
        assert await process.wait() == -signal.SIGKILL, process.errors[-1000:]
        return email_id, seen

    async def _put(self, kind: Kind) -> str:
        email_id = str(uuid.uuid4())
        to = f"{'nobody-' if kind is Kind.REFUSED else ''}{recipient(email_id)}"
        path = write_payload(self.folder / "payloads" / f"{email_id}.json", to=to, attachments=["bill.txt"])
        await self.ground.put({email_id: path})
        self.promised[email_id] = kind
        return email_id

    async def _recover(self, point: Point, email_id: str, struck: float) -> None:
        (incarnation,) = incarnations(self._journal, NAME) - self._known
        await self._running()
        clock, never = SystemClock(), asyncio.Event()
        latest = clock.now() + PATIENCE
        while await self.ground.unfinished():
            assert clock.now() < latest, f"{email_id}, struck before {point}, has not ended"
            await clock.wait(never, self.ground.look_every)
        self.strikes.append(Strike(point, email_id, incarnation, time.time() - struck))

    async def _running(self) -> ServiceProcess:
        """Who is to be struck next."""
        if self._process is None:
            self._known = incarnations(self._journal, NAME)
            self._process = ServiceProcess(self._variables, module="tests.syscalls.victim")
            await self._process.start(until_started=False)
            async with asyncio.timeout(PATIENCE):
                await self._process.expect("service.started")
        return self._process

    async def stop(self) -> None:
        """Let whoever runs end in good order."""
        process, self._process = self._process, None
        if process is not None:
            async with asyncio.timeout(PATIENCE):
                assert await process.stop() == 0, process.errors[-1000:]

    async def _end(self) -> None:
        if self._process is not None:
            if self._process.process.returncode is None:
                self._process.process.kill()
            await self._process.wait()

    @property
    def _journal(self) -> Path:
        return self.folder / "journal"

    @property
    def _variables(self) -> Variables:
        return {
            **self.ground.variables,
            **delivery(self.callback, self.sink.port),
            **TIMES,
            "MAILCULATOR_LEASE": LEASES[self.ground.store],
            "MAILCULATOR_REPLICA": NAME,
            "MAILCULATOR_JOURNAL_DIR": self._journal,
            "ATTACHMENTS_BASE_PATH": self.folder / "attachments",
        }

    @property
    def _world(self) -> World:
        ports = {**self.ports, self.sink.port: "relay", self.callback.port: "callback"}
        files = [(self.folder / name, "file") for name in ("payloads", "attachments")]
        return World(ports, [*self.paths, (self._journal, "journal"), *files])


async def _ended(process: ServiceProcess, email_id: str) -> None:
    await process.expect("mail.acknowledged", where=lambda line: line["email_id"] == email_id)
