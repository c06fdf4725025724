"""Replicas on one queue, and what may befall each of them: `kill -9`, standing still, an order to stop."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailculator.clock import SystemClock
from tests.chaos.blows import Blow, Watch, milliseconds, overtaken
from tests.chaos.evidence import incarnations, unanswered
from tests.chaos.ground import Ground
from tests.chaos.verdict import Pause
from tests.support.scenario import Variables
from tests.support.service import ServiceProcess

PATIENCE = 120.0
"""Seconds that a process may need to start, or to get mail into its hands; only a run that fails comes near it."""
COMING_UP, AT_REST = 0.1, 0.1
"""Which part of all blows strikes a replica then."""
SLOW_MACHINE = 20.0
"""Seconds beyond the grace that a test machine may need to end a process that has decided to end."""


@dataclass
class Fleet:
    """The replicas.

    Arguments:
        variables: of each but its name.
        journal: the directory that all of them share.
        running: who runs under each name now; `everyone`: all who ever did.
        blows: in their order; `pauses` and `ended` are what the checker needs of them.
        watches: on processes that stood still and go on.
        complaints: what a replica did that it must not do.
        peculiar: variables of single replicas.
    """

    ground: Ground
    variables: Variables
    journal: Path
    names: Sequence[str]
    rng: random.Random
    running: dict[str, ServiceProcess] = field(default_factory=dict)
    everyone: list[ServiceProcess] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    watches: list[Watch] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    peculiar: dict[str, Variables] = field(default_factory=dict)
    _known: dict[str, frozenset[str]] = field(default_factory=dict)

    @asynccontextmanager
    async def sailing(self) -> AsyncIterator[None]:
        """All of them run until the block ends; then they are told to stop, and what is left is killed."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._sink)
            for name in self.names:
                await self._start(name)
            await asyncio.gather(*(self._started(name) for name in self.names))
            yield
            await asyncio.gather(*(self._started(name) for name in self.names))
            for name, code in zip(self.names, await asyncio.gather(*map(self._stop, self.names)), strict=True):
                assert code == 0, f"{name} ended with {code}: {self.running[name].errors[-500:]}"

    async def kill(self, moment: float) -> None:
        """`kill -9` of any of them at some time; then it is started again at once. `moment`: seconds, at the most."""
        name = await self._victim()
        await self._pass(self.rng.uniform(0.0, moment))
        process, at = self._alive(name), time.time()
        process.signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL, self._last_words(name)
        await self._buried(name, at)

    async def freeze(self, moment: float, seconds: float) -> None:
        """Stop one of them for so long at some time when it holds mail, and watch what it does afterwards."""
        async with asyncio.timeout(PATIENCE):
            while True:
                name = await self._victim()
                await self._started(name)
                await self._pass(self.rng.uniform(0.0, moment))
                process, since = self._alive(name), time.time()
                process.signal(signal.SIGSTOP)
                if held := await self.ground.held(name):
                    break
                process.signal(signal.SIGCONT)
        await self._pass(seconds)
        gone = overtaken(name, held, await self.ground.standings())
        (incarnation,) = incarnations(self.journal, name) - self._known[name]
        self.blows.append(Blow(name, incarnation, since, held, len(held)))
        open_claims = unanswered(self.journal, name, incarnation, self.ground.store)
        heard, until = len(process.lines), time.time()
        process.signal(signal.SIGCONT)
        self.pauses.append(Pause(incarnation, _client(name), milliseconds(since), milliseconds(until), open_claims))
        self.watches.append(Watch(name, process.lines, heard, gone))

    async def drain(self, moment: float, grace: float) -> float:
        """SIGTERM to any of them at any time; then it is started again. Returns the seconds it took to end."""
        name = await self._victim()
        await self._started(name)
        await self._pass(self.rng.uniform(0.0, moment))
        met = len(await self.ground.held(name))
        process, at = self._alive(name), time.time()
        async with asyncio.timeout(PATIENCE):
            code = await process.stop()
        seconds = time.time() - at
        if code != 0 or seconds > grace + SLOW_MACHINE:
            self.complaints.append(f"{name} ended with {code} after {seconds:.1f} s: {self._last_words(name)}")
        await self._buried(name, at, met)
        return seconds

    async def claiming(self) -> None:
        """Until any of them has claimed mail from now on."""
        async with asyncio.timeout(PATIENCE):
            looks = [asyncio.create_task(self._claims_again(process)) for process in self.running.values()]
            try:
                done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                for look in looks:
                    look.cancel()

    async def _victim(self) -> str:
        """Any of them. Most are struck soon after a claim, with mail in their hands; some at rest; a few as they come
        up, which is when they look for what the last one left."""
        order, mood = self.rng.sample(self.names, len(self.names)), self.rng.random()
        if mood < COMING_UP:
            return order[0]
        name = min(order, key=lambda one: not self._has_started(one))
        await self._started(name)
        if mood < COMING_UP + AT_REST:
            return name
        async with asyncio.timeout(PATIENCE):
            await self._claims_again(self.running[name])
        return name

    async def _claims_again(self, process: ServiceProcess) -> None:
        claims = sum(line["event"] == "mail.claimed" for line in process.lines)
        await process.expect("mail.claimed", claims + 1)

    def _has_started(self, name: str) -> bool:
        return any(line["event"] == "service.started" for line in self.running[name].lines)

    async def _buried(self, name: str, at: float, met: int | None = None) -> None:
        """Write down what the dead one held, and start it again. `met`: where that is not what it had when struck."""
        fresh = incarnations(self.journal, name) - self._known[name]
        # What an earlier one of that name left may still stand there: that is not this one's.
        before = {item for blow in self.blows if blow.replica == name for item in blow.held.items()}
        held = {item for item in (await self.ground.held(name)).items() if item not in before}
        self.blows.append(Blow(name, next(iter(fresh), ""), at, dict(held), len(held) if met is None else met))
        self.ended |= fresh
        await self._start(name)

    async def _start(self, name: str) -> None:
        self._known[name] = incarnations(self.journal, name)
        process = self.running[name] = ServiceProcess(
            {
                **self.variables,
                **self.peculiar.get(name, {}),
                "MAILCULATOR_REPLICA": name,
                "MAILCULATOR_SMTP_HELO": _client(name),
                "MAILCULATOR_JOURNAL_DIR": self.journal,
            }
        )
        self.everyone.append(process)
        await process.start(until_started=False)

    async def _started(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.running[name].expect("service.started")

    async def _stop(self, name: str) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self._alive(name).stop()

    async def _sink(self) -> None:
        for process in self.running.values():
            if process.process.returncode is None:
                process.process.kill()
            await process.wait()

    def _alive(self, name: str) -> ServiceProcess:
        process = self.running[name]
        assert process.process.returncode is None, f"{name} has ended by itself: {self._last_words(name)}"
        return process

    def _last_words(self, name: str) -> str:
        process = self.running[name]
        return f"{process.lines[-4:]} {process.errors[-1000:]}"

    async def _pass(self, seconds: float) -> None:
        await SystemClock().wait(asyncio.Event(), seconds)


def _client(name: str) -> str:
    """What a replica calls itself before the relay."""
    return f"{name}.test"
