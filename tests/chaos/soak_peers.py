"""What a soak strikes and measures: a relay that goes and comes back, two replicas, and what a process holds."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import aiohttp

from mailculator.metrics import TASKS
from tests.chaos.blows import milliseconds
from tests.chaos.evidence import incarnations
from tests.chaos.fleet import Fleet
from tests.chaos.load import Moods
from tests.chaos.verdict import Pause
from tests.support.counting_sink import CountingSink, _Talk

NOTHING_KEPT_BACK = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"}
"""For replicas whose memory is judged: what they give back is not kept for the thread that had it.

glibc keeps up to seven pieces of each of 64 sizes, up to 1032 octets, for every thread, and an arena of its own for
most. With forty threads both fill up for tens of thousands of mails, ever more slowly: that is no leak, and would
hide one of the size that is looked for. Other C libraries do not heed it.
"""
_KEPT = 20
"""Lines of a log that are kept for its last words: that of an hour is too much."""
_RESIDENT = "process_resident_memory_bytes"
_TIMEOUT = aiohttp.ClientTimeout(total=120)


class Relay(CountingSink):
    """One that goes away, comes back, and cuts connections; never one that may have its client's dot on the way."""

    def cut(self) -> None:
        """End every session that is between two mails, or amid the commands of one."""
        for talk in list(self._talks):
            if talk._waiting is None and not talk._in_data:
                talk.end()

    def leave(self) -> None:
        """Take no more connections."""
        assert self._server is not None
        self._server.close()

    async def come_back(self) -> None:
        """Take them again, on the same port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Talk(self), "127.0.0.1", self.port)


class RelayMoods(Moods):
    """Those of such a relay."""

    def sink(self) -> Relay:
        usual = super().sink()
        return Relay(delay=usual.delay, refuse=usual.refuse)


class NamedFleet(Fleet):
    """One that is struck by name."""

    async def kill_one(self, name: str) -> None:
        """`kill -9`, and start it again."""
        await self._started(name)
        process, at = self._alive(name), time.time()
        process.signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL, self._last_words(name)
        await self._buried(name, at)
        await self._started(name)

    async def pause_one(self, name: str, seconds: float) -> None:
        """Let it stand still for so long: shorter than its lease, so that nobody takes anything over."""
        await self._started(name)
        (incarnation,) = incarnations(self.journal, name) - self._known[name]
        process, since = self._alive(name), time.time()
        process.signal(signal.SIGSTOP)
        await self._pass(seconds)
        until = time.time()
        process.signal(signal.SIGCONT)
        client = f"{name}.test"
        self.pauses.append(Pause(incarnation, client, milliseconds(since), milliseconds(until)))

    def forget_lines(self) -> None:
        """All that the replicas said, but that they have started, and their last words."""
        for process in self.everyone:
            started = [line for line in process.lines[:-_KEPT] if line["event"] == "service.started"]
            process.lines[:] = [*started, *process.lines[-_KEPT:]]


@dataclass(frozen=True, slots=True)
class Peers:
    """Ports on this machine that a replica connects to."""

    store: int
    relay: int
    callback: int


class Holdings(NamedTuple):
    """What a process holds.

    Arguments:
        files: open descriptors, but for those of connections to the store: a pool keeps what it once needed.
        tasks: of its loop.
        resident: bytes of memory.
        store: connections to the store.
        others: connections to the relay and to the callback.
    """

    files: int
    tasks: int
    resident: int
    store: int
    others: int


async def holdings(pid: int, port: int, peers: Peers) -> Holdings:
    """Of the process with that health port, now."""
    # A connection of its own for each look: one that is kept open would count, or not, by how long ago the last was.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        told = dict(
            line.split(" ") for line in (await response.text()).splitlines() if line.startswith((TASKS, _RESIDENT))
        )
        files, ports = _open_files(pid)
    return Holdings(
        files=files - ports[peers.store],
        tasks=int(float(told[TASKS])),
        resident=int(float(told[_RESIDENT])),
        store=ports[peers.store],
        others=ports[peers.relay] + ports[peers.callback],
    )


def _open_files(pid: int) -> tuple[int, Counter[int]]:
    """Open descriptors, and how many of them are TCP connections to each port (proc(5))."""
    remote: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            remote[f"socket:[{fields[9]}]"] = int(fields[2].rpartition(":")[2], 16)
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets.append(str(link.readlink()))
        except FileNotFoundError:  # closed since
            continue
    return len(targets), Counter(remote[target] for target in targets if target in remote)
