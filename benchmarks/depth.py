"""Does a queue get dearer as it gets deeper? A million emails that wait, and five million that are done, on MariaDB.

    python -m benchmarks.depth            measures, and writes the figures into docs/performance.md
    python -m benchmarks.depth --check    measures, and fails when a figure misses its target

Two queues of one server: one with 10,000 emails that wait, and one that grows. What is in it stands in
benchmarks/deep_queue.py. At each depth:

- Throughput: the service drains the one queue and then the other, in turn, with everything it does beside (counts,
  rescue, purge, minutes); for each email that is called back the producer puts a new one there, so that the depth stays
  as it is and all steps are under way. By the history's own times, from one acknowledgement to that of so many emails
  later. The ratio is of two rounds of the same turn; the median of these.
- Verbs: what each of the store's makes the server read, and how long it takes, when nobody else is at work
  (benchmarks/verb_costs.py).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from operator import sub
from pathlib import Path

from benchmarks import deep_queue, report
from benchmarks.deep_queue import DeepQueue
from benchmarks.end_to_end import environment, running
from benchmarks.mail_parts import cpu_seconds, peers
from benchmarks.mail_queues import mariadb_queue
from benchmarks.startup import compile_all, need_mariadbd
from benchmarks.verb_costs import CLAIM, Cost, costs
from mailculator.demo.mariadbd import PrivateMariadb

MARK = "depth"
SHALLOW = 10_000
"""Emails that wait in the one queue."""
WAITING = 1_000_000
FINISHED = 5_000_000
"""In the other one, when it is deepest."""
ROUNDS = 5
EMAILS = 8_000
"""In a round: some twenty seconds, so that what is done every ten seconds is in it."""
WARM = 1_000
"""Acknowledgements of a round before it is measured."""

DEARER = 1.10
"""Rows read by a claim, of those in the shallow queue, at most."""
SLOWER = 0.75
"""Throughput, of that in the shallow queue, at least."""


@dataclass(frozen=True)
class Round:
    """What one round gave.

    Arguments:
        cpu, server_cpu: seconds, of the service and of MariaDB, while so many emails were called back.
        pages: that MariaDB read from its files meanwhile, since they were not in its buffer pool.
    """

    emails: int
    seconds: float
    cpu: float
    server_cpu: float
    pages: int

    @property
    def rate(self) -> float:
        """Emails a second."""
        return self.emails / self.seconds


@dataclass(frozen=True)
class Depth:
    """What was measured of a queue that is so deep.

    Arguments:
        rounds: its own.
        beside: those of the shallow queue in the same turns.
        costs: of each verb.
    """

    name: str
    gigabytes: float
    rounds: Sequence[Round]
    beside: Sequence[Round]
    costs: Mapping[str, Cost]

    @property
    def ratio(self) -> float:
        """Throughput, of the shallow queue's in the same turn."""
        pairs = zip(self.rounds, self.beside, strict=True)
        return statistics.median(one.rate / other.rate for one, other in pairs)

    def each(self, of: Callable[[Round], float]) -> float:
        """Of one email; the median of all rounds."""
        return statistics.median(of(one) / one.emails for one in self.rounds)


async def drain(deep: DeepQueue, emails: int) -> Round:
    """One round. SystemExit when an email did not do as well as it should."""
    total = WARM + emails
    with tempfile.TemporaryDirectory(prefix="depth-") as name:
        directory = Path(name)
        since, log = deep.queue.last_note(), directory / "log.txt"
        async with peers(directory) as around:
            async with running(("mailculator", "run"), environment(directory, deep.queue, around), log) as pid:
                keeping = asyncio.create_task(deep.keep_up(around, total))
                await around.called_back(WARM)
                before = used(pid, deep.server)
                await around.called_back(total)
                cpu, server_cpu, pages = map(sub, used(pid, deep.server), before)
                await keeping
            if faults := deep.faults(since, around.taken()):
                raise SystemExit(f"{'; '.join(faults)}; its last words: {log.read_text()[-2000:]}")
        moments = deep.acknowledged(since)[WARM - 1 : total]
        return Round(emails, moments[-1] - moments[0], cpu, server_cpu, round(pages))


def used(pid: int, server: PrivateMariadb) -> tuple[float, float, float]:
    """By now: seconds of CPU, of the service and of MariaDB, and pages that MariaDB has read from its files."""
    return cpu_seconds(pid), cpu_seconds(server.pid), deep_queue.status(server, "Innodb_buffer_pool_reads")


def table(depths: Sequence[Depth]) -> str:
    """Throughput.

    Arguments:
        depths: the shallow queue's first.
    """
    lines = [
        f"| | data | emails/s | from … to | of {SHALLOW:,}'s | target | CPU an email | MariaDB's | pages read for it |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in depths:
        rates = [each.rate for each in one.rounds]
        ratio, target = (f"{one.ratio:.2f}", f"at least {SLOWER:g}") if one is not depths[0] else ("", "")
        service, server = one.each(lambda found: found.cpu), one.each(lambda found: found.server_cpu)
        lines.append(
            f"| {one.name} | {one.gigabytes:.2f} GB | {statistics.median(rates):,.0f}"
            f" | {min(rates):,.0f} … {max(rates):,.0f} | {ratio} | {target} | {service * 1e6:,.0f} µs"
            f" | {server * 1e6:,.0f} µs | {one.each(lambda found: found.pages):.1f} |"
        )
    return "\n".join(lines)


def plot(depths: Sequence[Depth]) -> str:
    """Throughput, drawn."""
    rates = {one.name: statistics.median(each.rate for each in one.rounds) for one in depths}
    return report.plot("Flat as the queue grows", "emails/s", rates)


def cost_table(depths: Sequence[Depth]) -> str:
    """Rows read, and time, of each verb."""
    lines = [
        f"| rows read, time | {' | '.join(one.name for one in depths)} | target |",
        f"|---|{'---:|' * (len(depths) + 1)}",
    ]
    for verb in depths[0].costs:
        cells = [f"{one.costs[verb].rows:,.0f}, {one.costs[verb].seconds * 1000:,.1f} ms" for one in depths]
        target = f"rows at most {DEARER:g} times" if verb == CLAIM else ""
        lines.append(f"| {verb} | {' | '.join(cells)} | {target} |")
    return "\n".join(lines)


def failures(depths: Sequence[Depth]) -> list[str]:
    """What misses its target."""
    shallow, *others = depths
    found = []
    for one in others:
        dearer = one.costs[CLAIM].rows / shallow.costs[CLAIM].rows
        if dearer > DEARER:
            found.append(f"{one.name}: a claim reads {dearer:.2f} times as many rows, not {DEARER:g}")
        if one.ratio < SLOWER:
            found.append(f"{one.name}: {one.ratio:.2f} of the throughput, not {SLOWER:g}")
    return found


async def compare(
    small: DeepQueue, large: DeepQueue, depth: tuple[int, int], turns: int, emails: int
) -> tuple[list[Round], list[Round]]:
    """Rounds of both in turn. Returns the large one's and the small one's.

    Arguments:
        depth: emails that wait in the large one, and that are finished.
    """
    found: tuple[list[Round], list[Round]] = ([], [])
    for turn in range(1, turns + 1):
        for queue, sizes, rounds in ((small, (SHALLOW, 0), found[1]), (large, depth, found[0])):
            await queue.deepen(*sizes)
            rounds.append(await drain(queue, emails))
            print(f"{called(*sizes)}, round {turn}: {rounds[-1].rate:,.0f} emails/s, {rounds[-1]}", flush=True)
    return found


def called(waiting: int, finished: int) -> str:
    """A depth in words."""
    return f"{waiting:,} waiting" + (f", {finished:,} finished" if finished else "")


async def run(waiting: int, finished: int, turns: int, emails: int) -> list[Depth]:
    """Measure at each depth. Returns the shallow queue's figures first."""
    async with PrivateMariadb(durable=True, arguments=deep_queue.SERVER) as server, AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letters-")))
        small, large = [
            DeepQueue(server, await stack.enter_async_context(mariadb_queue(server)), folder / name)
            for name in ("small", "large")
        ]
        depths, all_beside = [], list[Round]()
        for depth in ((waiting, 0), (waiting, finished)):
            rounds, beside = await compare(small, large, depth, turns, emails)
            depths.append(Depth(called(*depth), large.gigabytes(), rounds, beside, await costs(large)))
            all_beside += beside
        shallow = Depth(called(SHALLOW, 0), small.gigabytes(), all_beside, all_beside, await costs(small))
        return [shallow, *depths]


def settings() -> str:
    """What the figures are of, in words."""
    server = " ".join(("innodb_flush_log_at_trx_commit=1", *(one.removeprefix("--") for one in deep_queue.SERVER)))
    return (
        f"MariaDB: {server}. Service: every setting at its default. Of a finished email there are its row, the last row"
        f" of its history and its reservation; of one that waits, its row and three of its history."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=WAITING, help=f"in the deep queue (default: {WAITING:,})")
    parser.add_argument("--finished", type=int, default=FINISHED, help=f"there, in the end (default: {FINISHED:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each, at each depth (default: {ROUNDS})")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"in a round (default: {EMAILS:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    where = report.machine(f"{options.rounds} rounds of {options.emails:,} emails each, in turn")
    depths = asyncio.run(run(options.waiting, options.finished, options.rounds, options.emails))
    text = f"{where} {settings()}\n\n{table(depths)}\n\n{plot(depths)}\n\n{cost_table(depths)}"
    return report.conclude(MARK, text, failures(depths), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
