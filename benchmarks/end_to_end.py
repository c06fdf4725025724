"""How many emails a second, and how much CPU for each: the whole service beside the floor, in turn.

    python -m benchmarks.end_to_end            measures, and writes the figures into docs/performance.md
    python -m benchmarks.end_to_end --check    measures, and fails when a figure is over three times off its target

Each round has a new queue, a new smtp-sink and a new callback server. The process that is measured starts, brings a few
emails to their end, and waits; then all others become visible at one moment.

- Emails a second: by the history's own times, from the first claim to the last acknowledgement. Not a part of that: the
  stages overlap, intake runs ahead, and a window would count what was done before it opened.
- CPU an email: user and system time of the process, from before that moment until all is done.
- The ratio: of each round to the floor's round just before it; the median of these.

After each round every email stands at its last status, the history has each step at its version, and sink and callback
server have counted as many as there were; else there is no figure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import floor, mail_queues, report
from benchmarks.mail_parts import PATIENCE, Letter, Peers, cpu_seconds, peers, write_letters
from benchmarks.mail_queues import Queue, mariadb_queue, sqlite_queue
from benchmarks.report import ROOT
from benchmarks.startup import compile_all, need_mariadbd
from mailculator.demo.mariadbd import PrivateMariadb

MARK = "end-to-end"
ROUNDS = 5
WARM = 200
"""Emails that a process brings to their end before it is measured: connections, imports, caches."""
TRIAL = 1000
"""Emails of the first round of each, by which the number of the others is chosen."""
AIM = 8.0
"""Seconds that a round should take."""
LEAST, MOST = 1000, 20_000
"""Emails in a round."""
TOLERANCE = 3.0
"""A figure may be so many times off its target before the check fails: machines differ, and have other work."""
RATIO = 0.6
"""Of the floor, at least."""
CPU = 300.0
"""Microseconds of CPU an email, at most."""

Opened = Callable[[Path], AbstractAsyncContextManager[Queue]]


@dataclass(frozen=True)
class Round:
    """What one round gave."""

    emails: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Emails a second."""
        return self.emails / self.seconds

    @property
    def cpu_each(self) -> float:
        """Microseconds an email."""
        return self.cpu / self.emails * 1_000_000


@dataclass
class Contender:
    """A process that does the work, and what it was measured at.

    Arguments:
        module: what is run, with its arguments.
        opened: makes an empty queue.
    """

    name: str
    module: Sequence[str]
    opened: Opened
    emails: int = TRIAL
    rounds: list[Round] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [one.rate for one in self.rounds]

    @property
    def cpus(self) -> list[float]:
        return [one.cpu_each for one in self.rounds]


def environment(directory: Path, queue: Queue, around: Peers) -> dict[str, str]:
    """As an operator's: nothing of this machine's settings comes in, and all that may stay at its default does."""
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ours = {
        "PYTHONPATH": str(ROOT),
        "MAILCULATOR_HTTP_PORT": "0",
        "MAILCULATOR_JOURNAL_DIR": str(directory / "journal"),
    }
    return base | ours | dict(around.variables) | dict(queue.variables)


@asynccontextmanager
async def running(module: Sequence[str], variables: Mapping[str, str], log: Path) -> AsyncIterator[int]:
    """The process, its log in a file; its id. It ends with SIGTERM, as operators end it."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, env=dict(variables), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            yield process.pid
        except TimeoutError as error:
            raise SystemExit(f"{module[0]} did not come to the end; its last words: {_tail(log)}") from error
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), PATIENCE / 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def measure(
    contender: Contender, letters: Sequence[Letter], *, at_gate: Callable[[int], object] = lambda _: None
) -> Round:
    """One round. SystemExit when not every email came to its end, or one more did.

    Arguments:
        at_gate: told the process's id before the emails become visible, and again when all are done.
    """
    warm, rest = letters[:WARM], letters[WARM : WARM + contender.emails]
    with tempfile.TemporaryDirectory(prefix="mail-bench-") as name:
        directory = Path(name)
        async with contender.opened(directory) as queue, peers(directory) as around:
            log = directory / "log.txt"
            async with running(contender.module, environment(directory, queue, around), log) as pid:
                queue.lay(warm)
                await _pass(queue, around, len(warm))
                queue.lay(rest)
                at_gate(pid)
                since, before = queue.last_note(), cpu_seconds(pid)
                await _pass(queue, around, len(warm) + len(rest))
                cpu = cpu_seconds(pid) - before
                at_gate(pid)
            _insist(contender.name, queue, around, len(warm) + len(rest), log)
            return Round(len(rest), queue.seconds(since), cpu)


async def _pass(queue: Queue, around: Peers, total: int) -> None:
    """Let through what was laid, and wait until all are done."""
    queue.open_gate()
    await around.called_back(total)
    await queue.finished()


def _insist(name: str, queue: Queue, around: Peers, count: int, log: Path) -> None:
    faults = queue.faults(count)
    if (taken := around.taken()) != count:
        faults.append(f"the sink took {taken}")
    if faults:
        raise SystemExit(f"{name}, {count} emails: {'; '.join(faults)}; its last words: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_bytes()[-2000:].decode("utf-8", "replace")


async def compare(contenders: Sequence[Contender], rounds: int, emails: int | None) -> list[float]:
    """Rounds of each in turn; before them one short one, by which the number of emails is chosen.

    Returns the yardstick before each turn.
    """
    yardsticks = []
    with tempfile.TemporaryDirectory(prefix="letters-") as name:
        letters = write_letters(Path(name), WARM + TRIAL)
        for one in contenders:
            trial = await measure(one, letters)
            print(f"{one.name}, trial: {_told(trial)}", flush=True)
            one.emails = emails or round(min(max(trial.rate * AIM, LEAST), MOST))
        letters += write_letters(Path(name), max(one.emails for one in contenders) - TRIAL)
        for number in range(1, rounds + 1):
            yardsticks.append(report.yardstick())
            for one in contenders:
                one.rounds.append(await measure(one, letters))
                print(f"{one.name}, round {number}: {_told(one.rounds[-1])}", flush=True)
    return yardsticks


def _told(one: Round) -> str:
    return f"{one.emails:,} emails, {one.seconds:.2f} s, {one.rate:,.0f} emails/s, {one.cpu_each:,.0f} µs CPU an email"


def ratios(one: Contender, base: Contender) -> list[float]:
    """Of each round to the floor's of the same turn."""
    return [mine / its for mine, its in zip(one.rates, base.rates, strict=True)]


def table(base: Contender, services: Sequence[Contender]) -> str:
    lines = [
        "| | emails/s | from … to | of the floor | target | CPU an email | target |",
        "|---|---:|---:|---:|---:|---:|---:|",
        _line(base, "", "", "at most 200 µs"),
    ]
    for one in services:
        ratio = statistics.median(ratios(one, base))
        lines.append(_line(one, f"{ratio:.3f}", f"at least {RATIO:g}", f"at most {CPU:g} µs"))
    return "\n".join(lines)


def _line(one: Contender, ratio: str, least: str, most: str) -> str:
    rates = one.rates
    middle, span = f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f} … {max(rates):,.0f}"
    cpu = f"{statistics.median(one.cpus):,.0f} µs"
    return f"| {one.name}, rounds of {one.emails:,} | {middle} | {span} | {ratio} | {least} | {cpu} | {most} |"


def plot(contenders: Sequence[Contender]) -> str:
    """Their rates, drawn."""
    return report.plot("End to end", "emails/s", {one.name: statistics.median(one.rates) for one in contenders})


def failures(base: Contender, services: Sequence[Contender]) -> list[str]:
    """The figures that are over three times off their targets."""
    found = []
    for one in services:
        ratio, cpu = statistics.median(ratios(one, base)), statistics.median(one.cpus)
        if ratio * TOLERANCE < RATIO:
            found.append(f"{one.name}: {ratio:.3f} of the floor is less than a third of {RATIO:g}")
        if cpu > CPU * TOLERANCE:
            found.append(f"{one.name}: {cpu:,.0f} µs of CPU an email are over three times {CPU:g}")
    return found


def settings() -> str:
    """Of everything that takes part, in words."""
    server = " ".join(("innodb_flush_log_at_trx_commit=1", *(one.removeprefix("--") for one in mail_queues.SERVER)))
    return (
        f"Service: every setting at its default, journal on the disk, log at level info to a file, no TLS. MariaDB:"
        f" {server}. Relay: Postfix's `smtp-sink -c`. Callbacks: benchmarks/callback_server.py. The floor:"
        f" {floor.BATCH} emails a claim and a record, {floor.SMTP_CONNECTIONS} SMTP and {floor.HTTP_CONNECTIONS} HTTP"
        f" connections. Every process on this machine; mails of two parts, about 4 KB."
    )


async def run(rounds: int, emails: int | None) -> tuple[Contender, list[Contender], float]:
    """Measure all. Returns the floor, the others, and the yardstick's median."""
    async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server:

        def mariadb(_: Path) -> AbstractAsyncContextManager[Queue]:
            return mariadb_queue(server)

        base = Contender("floor, MariaDB", ("benchmarks.floor",), mariadb)
        services = [
            Contender("service, MariaDB", ("mailculator", "run"), mariadb),
            Contender("service, SQLite", ("mailculator", "run"), sqlite_queue),
        ]
        yardsticks = await compare([base, *services], rounds, emails)
    return base, services, statistics.median(yardsticks)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each (default: {ROUNDS})")
    parser.add_argument("--emails", type=int, help=f"in a round (default: what takes about {AIM:g} s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail at three times off a target")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    where = report.machine(f"{options.rounds} rounds of each, in turn")
    base, services, yardstick = asyncio.run(run(options.rounds, options.emails))
    busy = f"`sum(range(1_000_000))` took {yardstick:.0f} ms of CPU meanwhile."
    text = f"{where} {busy} {settings()}\n\n{table(base, services)}\n\n{plot([base, *services])}"
    return report.conclude(MARK, text, failures(base, services), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
