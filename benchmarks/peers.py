"""The service beside others that do such work, in turn: Postfix, Celery with Redis, procrastinate with PostgreSQL.

    python -m benchmarks.peers            measures, and writes the figures into docs/performance.md
    python -m benchmarks.peers --check    measures, and fails when a target is missed

- Celery and procrastinate do the same three steps (benchmarks/peer_steps.py) on the same MariaDB tables, with the same
  moves and history, beside their own broker; eight of them at once. All jobs are queued before the first one begins.
  Emails a second by the history's own times, as the service's.
- Postfix relays mails of the same size, which smtp-source brings over a few connections, to smtp-sink: from the first
  connection to the last delivery. It writes no status and calls nobody back.

The packages go into an environment of their own under .cache (benchmarks/peers-requirements.txt). Exit code 69 when a
program is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import end_to_end, mail_queues, peer_servers, report
from benchmarks.end_to_end import WARM, Contender
from benchmarks.mail_parts import PATIENCE, SENDER, Letter, Peers, peers, write_letters
from benchmarks.mail_queues import Queue, mariadb_queue
from benchmarks.peer_servers import program, started
from benchmarks.report import ROOT
from benchmarks.startup import compile_all
from mailculator.demo.mariadbd import PrivateMariadb

MARK = "peers"
MISSING = 69
ROUNDS = 5
EMAILS = 2000
AT_ONCE = 8
"""Emails that a task queue works on at one time."""
FEEDERS = 4
"""Connections over which Postfix is fed."""
SIZE = 4096
"""Bytes of those mails, about what the letters are."""
NEEDED = {
    "postfix": ("postfix", "smtp-source"),
    "celery": ("redis-server",),
    "procrastinate": ("initdb",),
}
CELERY = (
    *("--pool", "prefork", "--concurrency", str(AT_ONCE), "-O", "fair", "--loglevel", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)

Measure = Callable[[Sequence[Letter]], Awaitable[float]]
"""One round with these letters, the first WARM of them not counted; emails a second."""


@dataclass(frozen=True)
class Ground:
    """Where a task queue's round takes place."""

    directory: Path
    python: Path
    queue: Queue
    around: Peers
    variables: Mapping[str, str]

    def ids(self, letters: Sequence[Letter]) -> str:
        """A file with their ids."""
        path = self.directory / "ids.txt"
        path.write_text("\n".join(one.email_id for one in letters), encoding="utf-8")
        return str(path)

    async def run(self, module: str, *arguments: str) -> None:
        """One command in the peers' environment, to its end."""
        command = [str(self.python), "-m", f"benchmarks.{module}", *arguments]
        await peer_servers.run(command, self.variables, self.directory / "log.txt")

    async def done(self, count: int) -> None:
        """Until so many emails are, all in all."""
        await self.around.called_back(count)
        await self.queue.finished()


@dataclass
class Peer:
    """One that is measured; its rates, round by round.

    Arguments:
        target: how many times as fast the service has to be, at least.
    """

    name: str
    measure: Measure
    target: float = 1.0
    rates: list[float] = field(default_factory=list)


@asynccontextmanager
async def ground(server: PrivateMariadb, python: Path, letters: Sequence[Letter], **more: str) -> AsyncIterator[Ground]:
    """A new queue, a new relay, a new callback server."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        directory = Path(name)
        async with mariadb_queue(server) as queue, peers(directory) as around:
            variables = {one: os.environ[one] for one in ("PATH", "HOME", "LANG") if one in os.environ}
            variables |= {"PYTHONPATH": str(ROOT), "PEER_LETTERS": str(letters[0].path.parent), **more}
            yield Ground(directory, python, queue, around, variables | dict(around.variables) | dict(queue.variables))


async def celery(server: PrivateMariadb, python: Path, letters: Sequence[Letter]) -> float:
    """The workers are paused while the chains are queued."""
    async with peer_servers.redis() as port, AsyncExitStack() as stack:
        broker = f"redis://127.0.0.1:{port}/0"
        here = await stack.enter_async_context(ground(server, python, letters, PEER_BROKER=broker))
        command = [str(python), "-m", "celery", "--app", "benchmarks.peer_celery", "worker", *CELERY]
        await stack.enter_async_context(started(command, here.variables, here.directory / "worker.txt"))
        _lay(here, letters[:WARM])
        await here.run("peer_celery", here.ids(letters[:WARM]))
        await here.done(WARM)
        await here.run("peer_celery", "pause")
        _lay(here, letters[WARM:])
        await here.run("peer_celery", here.ids(letters[WARM:]))
        since = here.queue.last_note()
        await here.run("peer_celery", "resume")
        await here.done(len(letters))
        return _rate(here, letters, since)


async def procrastinate(server: PrivateMariadb, python: Path, letters: Sequence[Letter]) -> float:
    """All jobs become visible by one commit, to two workers."""
    async with peer_servers.postgres() as database, AsyncExitStack() as stack:
        here = await stack.enter_async_context(ground(server, python, letters, PEER_DATABASE=database))
        await here.run("peer_procrastinate", "schema")
        command = [str(python), "-m", "benchmarks.peer_procrastinate", "work", str(AT_ONCE // 2)]
        for _ in range(2):
            await stack.enter_async_context(started(command, here.variables, here.directory / "worker.txt"))
        _lay(here, letters[:WARM])
        await here.run("peer_procrastinate", here.ids(letters[:WARM]))
        await here.done(WARM)
        _lay(here, letters[WARM:])
        since = here.queue.last_note()
        await here.run("peer_procrastinate", here.ids(letters[WARM:]))
        await here.done(len(letters))
        return _rate(here, letters, since)


def _lay(here: Ground, letters: Sequence[Letter]) -> None:
    here.queue.lay(letters)
    here.queue.open_gate()


def _rate(here: Ground, letters: Sequence[Letter], since: int) -> float:
    """SystemExit when not every email came to its end."""
    if faults := here.queue.faults(len(letters)):
        raise SystemExit("; ".join(faults))
    return (len(letters) - WARM) / here.queue.seconds(since)


async def postfix(letters: Sequence[Letter]) -> float:
    """As many mails as letters; a few before them."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        async with peers(Path(name)) as around, peer_servers.postfix(around.sink_port) as port:
            await _feed(Path(name), port, around, WARM, WARM)
            began = time.monotonic()
            await _feed(Path(name), port, around, len(letters) - WARM, len(letters))
            return (len(letters) - WARM) / (time.monotonic() - began)


async def _feed(directory: Path, port: int, around: Peers, count: int, total: int) -> None:
    """Bring it so many mails, and wait until the sink has all."""
    command = [str(program("smtp-source")), "-s", str(FEEDERS), "-m", str(count), "-l", str(SIZE)]
    command += ["-f", SENDER, "-t", "customer@example.org", f"127.0.0.1:{port}"]
    await peer_servers.run(command, os.environ, directory / "source.txt")
    async with asyncio.timeout(PATIENCE):
        while around.taken() < total:  # noqa: ASYNC110  # it announces nothing
            await asyncio.sleep(0.01)


async def run(names: Sequence[str], rounds: int, emails: int) -> list[Peer]:
    """Measure the service and these, in turn; the service is the first."""
    python = await asyncio.to_thread(peer_servers.interpreter)
    async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server:

        def opened(_: Path) -> AbstractAsyncContextManager[Queue]:
            return mariadb_queue(server)

        async def service(letters: Sequence[Letter]) -> float:
            one = await end_to_end.measure(Contender("service", ("mailculator", "run"), opened, emails), letters)
            return one.rate

        known = {
            "celery": Peer("Celery, Redis", lambda letters: celery(server, python, letters), target=10),
            "procrastinate": Peer(
                "procrastinate, PostgreSQL", lambda letters: procrastinate(server, python, letters), target=8
            ),
            "postfix": Peer("Postfix, relaying alone", postfix, target=2.5),
        }
        all_of_them = [Peer("service, MariaDB", service), *(known[name] for name in names)]
        with tempfile.TemporaryDirectory(prefix="letters-") as name:
            letters = write_letters(Path(name), WARM + emails)
            for turn in range(1, rounds + 1):
                for one in all_of_them:
                    one.rates.append(await one.measure(letters))
                    print(f"{one.name}, round {turn}: {one.rates[-1]:,.0f} a second", flush=True)
    return all_of_them


def ratio(service: Peer, peer: Peer) -> float:
    """How many times as fast the service was in the same turn; the median of all turns."""
    return statistics.median(ours / its for ours, its in zip(service.rates, peer.rates, strict=True))


def table(measured: Sequence[Peer]) -> str:
    service, *others = measured
    lines = ["| | emails/s | from … to | service, times as fast | target |", "|---|---:|---:|---:|---:|"]
    lines.append(_line(service, "", ""))
    lines += [_line(one, f"{ratio(service, one):.2f}", f"at least {one.target:g}") for one in others]
    return "\n".join(lines)


def _line(one: Peer, times: str, target: str) -> str:
    span = f"{min(one.rates):,.0f} … {max(one.rates):,.0f}"
    return f"| {one.name} | {statistics.median(one.rates):,.0f} | {span} | {times} | {target} |"


def plot(measured: Sequence[Peer]) -> str:
    """Their rates, drawn."""
    return report.plot("Beside others", "emails/s", {one.name: statistics.median(one.rates) for one in measured})


def settings() -> str:
    """Of all that takes part, in words."""
    tuned = ", ".join(f"{key}={value}" for key, value in peer_servers.POSTFIX.items())
    redis = " ".join(one or "''" for one in peer_servers.REDIS)
    return (
        f"Service: every setting at its default. Celery: `{' '.join(CELERY)}`, task_acks_late, prefetch 1, no results;"
        f" Redis: `{redis}`. procrastinate: 2 workers of {AT_ONCE // 2} jobs, finished ones deleted; PostgreSQL:"
        f" {', '.join(peer_servers.POSTGRES)}. Postfix: {tuned}; fed by `smtp-source -s {FEEDERS}`. MariaDB:"
        f" innodb_flush_log_at_trx_commit=1, {' '.join(mail_queues.SERVER)}. Every process on this machine."
    )


def failures(measured: Sequence[Peer]) -> list[str]:
    """What misses its target."""
    service, *others = measured
    return [
        f"{one.name}: {ratio(service, one):.2f} times is less than {one.target:g}"
        for one in others
        if ratio(service, one) < one.target
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peer", action="append", choices=tuple(NEEDED), help="default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each (default: {ROUNDS})")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"in a round (default: {EMAILS:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    names = options.peer or list(NEEDED)
    wanted = ["mariadbd", "smtp-sink", *(one for name in names for one in NEEDED[name])]
    if packages := peer_servers.missing(wanted):
        print(f"missing: apt-get install {' '.join(packages)}", file=sys.stderr)
        return MISSING
    if "postfix" in names and os.geteuid() != 0:
        print("Postfix starts for root alone: leave it out with --peer celery --peer procrastinate", file=sys.stderr)
        return MISSING
    compile_all()
    where = report.machine(f"{options.rounds} rounds of {options.emails:,} emails each, in turn")
    measured = asyncio.run(run(names, options.rounds, options.emails))
    text = f"{where} {settings()}\n\n{table(measured)}\n\n{plot(measured)}"
    return report.conclude(MARK, text, failures(measured), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
