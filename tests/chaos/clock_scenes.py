"""What befalls clocks in a run, and what the replicas' logs must say of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from mailculator.clock import SystemClock
from tests.chaos.clock_faking import MACHINES, OFFSETS, FalseClock, ZonedMariadb, next_change
from tests.chaos.fleet import PATIENCE
from tests.chaos.harness import Chaos
from tests.support.service import Line, ServiceProcess

HOUR = 3600
NIGHTFALL = timedelta(seconds=8)
"""From the start of a server to the moment when its zone goes over to summer time, or back."""
LOOKS = 2
"""For what dead ones hold, while a clock is off: what is in hand then must not be taken for that."""
JUMPS = (HOUR, -HOUR, 0)
OVERDUE = "mailculator_store_op_seconds_count"
WARNING, ALL_CLEAR = "store.clock_off", "store.clock_right"


@dataclass
class Clocks:
    """The replicas' clocks in one run.

    Arguments:
        folder: for the files that say how far they are off.
        rng: which of them are off, by how much, and in which zones their machines are.
        moved: how often one was set while its replica ran.
    """

    chaos: Chaos
    folder: Path
    rng: random.Random
    own: dict[str, FalseClock] = field(default_factory=dict)
    moved: int = 0

    def set_apart(self) -> None:
        """Each is off by another time."""
        offsets = self.rng.sample(sorted(OFFSETS.values()), len(self.chaos.fleet.names))
        for name, off in zip(self.chaos.fleet.names, offsets, strict=True):
            self._give(name, FalseClock(self.folder / f"{name}.clock", off))

    def set_right(self) -> None:
        """Each is right, for now."""
        for name in self.chaos.fleet.names:
            self._give(name, FalseClock(self.folder / f"{name}.clock"))

    def _give(self, name: str, clock: FalseClock) -> None:
        self.own[name] = clock
        self.chaos.fleet.peculiar[name] = clock.variables(self.rng.choice(MACHINES))

    async def warned(self) -> None:
        """Until each replica has said that its clock is off."""
        async with asyncio.timeout(PATIENCE):
            for process in self.chaos.fleet.running.values():
                await process.expect(WARNING)

    async def looked(self) -> None:
        """Until each replica has looked for what dead ones hold."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*map(self._looked, self.chaos.fleet.names))

    async def _looked(self, name: str) -> None:
        wanted = await self._looks(name) + LOOKS
        while await self._looks(name) < wanted:
            await self._pass(0.1)

    async def _looks(self, name: str) -> float:
        """How often it has, by its metrics."""
        process = self.chaos.fleet.running[name]
        await process.expect("service.started")
        port = process.port
        with await asyncio.to_thread(urlopen, f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(one.value for one in found if one.name == OVERDUE and one.labels["op"] == "overdue")

    async def jump(self) -> None:
        """They are set apart by two hours, and the other way round, and right again, while mail is under way."""
        running = self.chaos.fleet.running
        for off in JUMPS:
            await self.chaos.fleet.claiming()
            word = ALL_CLEAR if off == 0 else WARNING
            said = {name: sum(line["event"] == word for line in running[name].lines) for name in running}
            for number, name in enumerate(running):
                self.own[name].set(off if number % 2 else -off)
                self.moved += 1
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(running[name].expect(word, said[name] + 1) for name in running))
            await self.looked()

    async def step(self, moment: float) -> None:
        """The clock of an embedded queue, and so of its one machine, is set ahead and back; then its process is killed.

        In the end it is ahead, or what it put off while it was so would stay put off for that hour.
        """
        (clock,) = self.own.values()
        for off in (HOUR, 0, HOUR, 0):
            await self.chaos.fleet.claiming()
            clock.set(off)
            self.moved += 1
            await self.looked()
        await self.chaos.fleet.kill(moment)
        clock.set(HOUR)

    async def night(self, server: ZonedMariadb, zone: str, after: datetime) -> None:
        """A night in which that zone changes its time falls upon a server that has to start yet, and upon everybody."""
        change = next_change(zone, after)
        off = int((change - NIGHTFALL - datetime.now(UTC)).total_seconds())
        for clock in self.own.values():
            clock.set(off)
        await server.wear(zone, FalseClock(self.folder / "server.clock", off))
        await self._pass((change - datetime.now(UTC)).total_seconds() - off)
        await self.looked()
        # There is mail after the change as well, wherever the machine's speed has put it.
        await self.chaos.fleet.claiming()

    async def _pass(self, seconds: float) -> None:
        await SystemClock().wait(asyncio.Event(), seconds)

    def usurped(self) -> Iterator[Line]:
        """What was taken from holders that lived, or came too late for them."""
        dead = {(blow.replica, email_id) for blow in self.chaos.fleet.blows for email_id in blow.held}
        for line in self._lines():
            rescued = line["event"] == "mail.rescued" and (line["holder"], line["email_id"]) not in dead
            if rescued or line["event"] == "mail.claim_lost":
                yield line

    def warnings(self) -> list[Line]:
        """That a clock is off."""
        return [line for line in self._lines() if line["event"] == WARNING]

    def _lines(self) -> Iterator[Line]:
        for process in self.chaos.fleet.everyone:
            yield from process.lines


def silent(clocks: Clocks) -> list[ServiceProcess]:
    """Processes that worked and never said that their clock was off."""
    return [
        process
        for process in clocks.chaos.fleet.everyone
        if {WARNING, "mail.claimed"} & {line["event"] for line in process.lines} == {"mail.claimed"}
    ]
