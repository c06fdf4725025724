"""What an open page costs the service that serves it, and MariaDB: see benchmarks/page_open.py.

The page is read as a browser reads it, by its event stream, but not drawn: the browser is the operator's, and on a
machine of its own.

- While mail is sent: one service drains a deep queue, and the page is opened and closed in turn, so that everything
  else is the same. A turn is so many emails without it and as many with it; every other one begins with it, so that
  what only changes with time is no difference.
- At rest: every pipeline is paused, so that what the page makes the two processes use stands out from nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from operator import sub
from pathlib import Path

import aiohttp

from benchmarks.deep_queue import DeepQueue
from benchmarks.depth import WARM, used
from benchmarks.end_to_end import environment, running
from benchmarks.mail_parts import PATIENCE, Peers, peers
from benchmarks.replicas import up
from mailculator.demo.mariadbd import PrivateMariadb

SKIP = 500
"""Acknowledgements after the page was opened or closed that are not measured: what it asks for first is no matter of a
rate."""
REST = 20.0
"""Seconds of rest, without the page and with it."""


@dataclass(frozen=True)
class Window:
    """So many emails that came to their end.

    Arguments:
        cpu, server_cpu: seconds, of the service and of MariaDB.
    """

    emails: int
    seconds: float
    cpu: float
    server_cpu: float

    @property
    def rate(self) -> float:
        """Emails a second."""
        return self.emails / self.seconds

    @property
    def cpu_each(self) -> float:
        """Seconds an email, of both processes."""
        return (self.cpu + self.server_cpu) / self.emails


@dataclass(frozen=True)
class Turn:
    """One window without the page and one with it."""

    closed: Window
    open: Window


@dataclass(frozen=True)
class Rest:
    """CPU that a second of rest takes, in seconds: of the service and of MariaDB, without the page and with it."""

    closed: tuple[float, float]
    open: tuple[float, float]


@asynccontextmanager
async def serving(deep: DeepQueue, around: Peers, directory: Path) -> AsyncIterator[tuple[int, int]]:
    """The service on that queue, its page on a free port. Its process's id, and that port."""
    log = directory / "log.txt"
    variables = environment(directory, deep.queue, around) | {"MAILCULATOR_ADMIN_PORT": "0"}
    async with running(("mailculator", "run"), variables, log) as pid:
        yield pid, int((await up(log))["admin_port"])


@asynccontextmanager
async def open_page(port: int) -> AsyncIterator[None]:
    """Somebody has signed in and looks at the overview. SystemExit when the stream ended, or told nothing."""
    jar, timeout = aiohttp.CookieJar(unsafe=True), aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=jar, timeout=timeout) as client:
        async with client.post("/api/session", json={"name": "anna"}) as answer:
            answer.raise_for_status()
        async with client.get("/api/events", read_bufsize=2**20) as stream:
            stream.raise_for_status()
            told = _Told()
            reading = asyncio.create_task(told.read(stream.content))
            yield
            ended = reading.done()
            reading.cancel()
            await asyncio.wait([reading])
    if ended or told.overviews < 2:
        raise SystemExit(f"the page's stream ended, or told too little: {told.overviews} overviews")


@dataclass
class _Told:
    overviews: int = 0

    async def read(self, lines: AsyncIterable[bytes]) -> None:
        async for line in lines:
            self.overviews += line.startswith(b"data:")


async def drain(deep: DeepQueue, turns: int, emails: int) -> list[Turn]:
    """So many turns of so many emails each way. SystemExit when an email did not do as well as it should."""
    total = WARM + 2 * turns * (SKIP + emails)
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        directory, since = Path(name), deep.queue.last_note()
        async with peers(directory) as around:
            async with serving(deep, around, directory) as (pid, port):
                keeping = asyncio.create_task(deep.keep_up(around, total))
                await around.called_back(WARM)
                spent = [await _spend(deep, around, pid, port, at, emails) for at in starts(turns, emails)]
                await keeping
            if faults := deep.faults(since, around.taken()):
                raise SystemExit("; ".join(faults))
    return turns_of(spent, deep.acknowledged(since), turns, emails)


def starts(turns: int, emails: int) -> list[int]:
    """After how many acknowledgements each window is prepared for."""
    return [WARM + number * (SKIP + emails) for number in range(2 * turns)]


def is_open(number: int) -> bool:
    """Whether the page is open in a window: without it, with it, with it, without it, and so on."""
    return number % 4 in (1, 2)


async def _spend(
    deep: DeepQueue, around: Peers, pid: int, port: int, start: int, emails: int
) -> tuple[float, float, float]:
    """CPU of one window; see `used`."""
    with_page = is_open((start - WARM) // (SKIP + emails))
    async with open_page(port) if with_page else nullcontext():
        await around.called_back(start + SKIP)
        before = used(pid, deep.server)
        await around.called_back(start + SKIP + emails)
        cpu, server_cpu, pages = map(sub, used(pid, deep.server), before)
    print(f"{'with' if with_page else 'without'} the page: {cpu:.2f} s and {server_cpu:.2f} s of CPU", flush=True)
    return cpu, server_cpu, pages


def turns_of(
    spent: Sequence[tuple[float, float, float]], moments: Sequence[float], turns: int, emails: int
) -> list[Turn]:
    """The turns, from what each window has used and from when emails came to their end."""
    closed: list[Window] = []
    opened: list[Window] = []
    for number, (start, (cpu, server_cpu, _)) in enumerate(zip(starts(turns, emails), spent, strict=True)):
        first = start + SKIP - 1
        window = Window(emails, moments[first + emails] - moments[first], cpu, server_cpu)
        (opened if is_open(number) else closed).append(window)
    return [Turn(*pair) for pair in zip(closed, opened, strict=True)]


async def rest(server: PrivateMariadb, pid: int, port: int, turns: int) -> list[Rest]:
    """What a paused service takes in so many turns."""
    found = []
    for _ in range(turns):
        closed = await _resting(server, pid)
        async with open_page(port):
            found.append(Rest(closed, await _resting(server, pid)))
        print(f"at rest: {found[-1]}", flush=True)
    return found


async def _resting(server: PrivateMariadb, pid: int) -> tuple[float, float]:
    before = used(pid, server)
    await asyncio.sleep(REST)
    cpu, server_cpu, _ = map(sub, used(pid, server), before)
    return cpu / REST, server_cpu / REST
