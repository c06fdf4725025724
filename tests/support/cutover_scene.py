"""A cutover with live processes: two replicas on two queues, and an operator who restarts them and asks."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from mailculator.clock import SystemClock
from mailculator.cutover.evidence import NEW, OLD
from mailculator.model import Status
from tests.support.counting_sink import CountingCallback
from tests.support.outage_bench import until
from tests.support.scenario import Variables
from tests.support.service import Line, ServiceProcess, command, environment
from tests.support.two_books import Killed
from tests.support.two_queues import TwoQueues

REPLICAS = ("blue", "green")
FLAGS = {OLD: "DYNAMODB_PIPELINES_ENABLED", NEW: "MYSQL_PIPELINES_ENABLED"}
PATIENCE = 300.0
"""Seconds that a state may take to come; only a rehearsal that fails comes near it."""
AWAY = 69
"""Exit code where a store could not be looked at."""
LOOK_EVERY = 3.0
"""Seconds between two runs of `cutover status`."""
Stands = tuple[str, int]
"""A phase and the exit code: 0 where the next step is safe, 3 where it is not."""


@dataclass
class PatientCallback(CountingCallback):
    """A callback receiver that answers about some emails when it is told to, and not before."""

    kept: dict[str, asyncio.Event] = field(default_factory=dict)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        for email_id in json.loads(await request.read())["message_ids"]:
            if email_id in self.kept:
                await self.kept[email_id].wait()
        return await super()._answer(request)


@dataclass
class Rehearsal:
    """Two replicas, and an operator with their environment.

    Arguments:
        variables: all settings but the queues' switches.
        processes: everyone that ever ran; the stack ends them.
    """

    variables: Variables
    queues: TwoQueues
    stack: AsyncExitStack
    flags: Variables = field(default_factory=dict)
    running: dict[str, ServiceProcess] = field(default_factory=dict)
    processes: list[ServiceProcess] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)
    seen: list[Stands] = field(default_factory=list)

    def switch(self, **stores: bool) -> None:
        """Change the switches in the environment; whoever is started from now on has them."""
        self.flags |= {FLAGS[name]: str(on).lower() for name, on in stores.items()}

    async def start(self, name: str) -> None:
        process = ServiceProcess(self.variables | self.flags | {"MAILCULATOR_REPLICA": name})
        self.processes.append(process)
        self.running[name] = await self.stack.enter_async_context(process)

    async def stop(self, name: str) -> None:
        assert await self.running.pop(name).stop() == 0

    async def roll(self, **stores: bool) -> None:
        """Restart one replica after the other with changed switches."""
        self.switch(**stores)
        for name in REPLICAS:
            if name in self.running:
                await self.stop(name)
            await self.start(name)

    async def kill(self, name: str, store: str) -> None:
        """`kill -9` when it is sending mail of that store; then it is started again."""
        process = self.running.pop(name)
        async with asyncio.timeout(PATIENCE):
            at_work = await self._stopped_at_work(name, process, store)
        process.signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        self.killed.append(Killed(name, at_work))
        await self.start(name)

    async def _stopped_at_work(self, name: str, process: ServiceProcess, store: str) -> dict[str, dict[str, Status]]:
        """Freeze it at a moment when it sends; what it holds then, by store."""

        def claims(line: Line) -> bool:
            return bool(line["pipeline"] == "sender" and line["store"] == store)

        known = sum(line["event"] == "mail.claimed" and claims(line) for line in process.lines)
        while True:
            known = len(await process.expect("mail.claimed", known + 1, claims))
            process.signal(signal.SIGSTOP)
            held = {one: await self.queues.held(one, name) for one in FLAGS if self.flags[FLAGS[one]] == "true"}
            if Status.PROCESSING in held[store].values():
                return held
            process.signal(signal.SIGCONT)

    async def mailculator(self, *arguments: str) -> tuple[int, str, str]:
        """A command in the service's environment."""
        return await command(*arguments, environ=environment(**self.variables, **self.flags))

    async def applies_schema(self, store: str) -> None:
        """`schema apply` for one queue."""
        code, out, err = await self.mailculator("schema", "apply", "--store", store)
        assert code == 0, out + err

    async def status(self) -> tuple[Stands, dict[str, Any]]:
        """What `cutover status` says, and its exit code."""
        code, out, err = await self.mailculator("cutover", "status", "--json")
        assert code in (0, 3, AWAY), f"{code}: {out}{err}"
        document: dict[str, Any] = json.loads(out)
        assert code == AWAY or document["next"]["safe"] is (code == 0)
        stands = (document["phase"]["id"], code)
        self.seen.append(stands)
        return stands, document

    async def reaches(self, phase: str, code: int, *, by: Iterable[Stands] = ()) -> dict[str, Any]:
        """Ask until that is the answer; any other one on the way must be one of `by`.

        On a machine that is busy enough a store may seem to be away for once; then it is asked again.
        """
        clock, never = SystemClock(), asyncio.Event()
        deadline = clock.now() + PATIENCE
        while True:
            stands, document = await self.status()
            if stands == (phase, code):
                return document
            what = f"{stands} on the way to {(phase, code)}: {document['phase']}, {unmet(document)}"
            assert stands in by or stands[1] == AWAY, what
            assert clock.now() < deadline, what
            self.complain()
            await clock.wait(never, LOOK_EVERY)

    async def given_up(self, store: str, ids: Collection[str]) -> None:
        """Until these emails of a queue are INVALID."""

        async def so() -> bool:
            statuses = await self.queues.statuses(store)
            return all(statuses[email_id] is Status.INVALID for email_id in ids)

        await until(so, f"{len(ids)} emails of {store} are given up")

    async def finished(self) -> None:
        """Until nothing is active in either store."""

        async def ended() -> bool:
            self.complain()
            return not await self.queues.active()

        try:
            await until(ended, "nothing is left in either store", PATIENCE)
        except AssertionError as error:
            error.add_note(str((await self.queues.active())[:10]))
            raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add to what fails within the block what was seen, and what the replicas said of themselves."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"seen: {self.seen[-10:]}; killed: {[one.replica for one in self.killed]}")
            for process in self.processes:
                lines = [line for line in process.lines if not line["event"].startswith("mail.")]
                error.add_note(
                    f"{process.pid}: {len(process.lines)} lines, the last: {lines[-6:]} {process.errors[-500:]}"
                )
            raise

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of that kind in all their logs."""
        return [line for process in self.processes for line in process.lines if line["event"] == event]

    def complain(self) -> None:
        """AssertionError when a replica has ended unasked, or says what no rehearsal should bring about."""
        for name, process in self.running.items():
            assert process.process.returncode is None, f"{name} has ended: {process.lines[-5:]} {process.errors}"
        grave = [line for process in self.processes for line in process.lines if line["level"] in ("error", "critical")]
        assert not grave, grave[:3]


def unmet(document: Mapping[str, Any]) -> dict[str, str]:
    """The prerequisites that are a no, with their evidence."""
    return {one["name"]: one["evidence"] for one in document["next"]["prerequisites"] if not one["met"]}
