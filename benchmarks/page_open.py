"""What does the operators' page cost while it is open? In processor time, as a share of what the pipelines use.

    python -m benchmarks.page_open            measures, and writes the figures into docs/performance.md
    python -m benchmarks.page_open --check    measures, and fails when a figure misses its target

One MariaDB queue that is made deeper and deeper (benchmarks/deep_queue.py), since what the page asks most of a store is
to count what waits. At each depth (benchmarks/page_cost.py):

- The service drains the queue as fast as it can, and what an email costs it and MariaDB is seen. Its full rate is where
  its one loop fills a core, whatever keeps it from that on this machine: what MariaDB uses then follows from the two.
- Everything is paused, and the page is opened and closed in turn. What the two processes use more while it is open
  stands out from nothing then, and is what the page costs: it asks for the same once a second, however much mail is on
  its way.

The share of the one in the other is what the pipelines would lose of their rate on a machine that has nothing to spare.
While the queue is drained the page is open half of the time, too, in turn. What an email is dearer by is told with the
standard error of its mean and held against nothing: beside other work that error is larger than what the page can cost.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import deep_queue, page_cost, page_queue, report
from benchmarks.deep_queue import DeepQueue
from benchmarks.mail_parts import peers
from benchmarks.mail_queues import mariadb_queue
from benchmarks.page_cost import Rest, Turn, serving
from benchmarks.startup import compile_all, need_mariadbd
from mailculator.demo.mariadbd import PrivateMariadb

MARK = "page_open"
DEPTHS = (10_000, 100_000, 300_000, 1_000_000)
"""Emails that wait, ascending; somewhere on the way a count gets too dear to be the page's own."""
FINISHED = 200_000
ROUNDS = 5
"""Turns with the page and without, each way of it."""
EMAILS = 4_000
"""With the page, and as many without, in a turn."""

LOSS = 0.02
"""Of what the pipelines use, at most."""


@dataclass(frozen=True)
class Estimate:
    """The median of what several turns showed, and the standard error of their mean."""

    value: float
    error: float

    @classmethod
    def of(cls, shown: Sequence[float]) -> Estimate:
        error = statistics.stdev(shown) / math.sqrt(len(shown)) if len(shown) > 1 else math.inf
        return cls(statistics.median(shown), error)


@dataclass(frozen=True)
class Depth:
    """What was seen on a queue of one depth; cores are seconds of CPU a second.

    Arguments:
        waiting: emails.
    """

    waiting: int
    turns: Sequence[Turn]
    rests: Sequence[Rest]

    @property
    def pipelines(self) -> float:
        """Cores that the service and MariaDB use at the full rate: one, and what MariaDB needs beside it."""
        return 1.0 + statistics.median(turn.closed.server_cpu / turn.closed.cpu for turn in self.turns)

    @property
    def service(self) -> Estimate:
        """Cores that the page makes the service use."""
        return Estimate.of([one.open[0] - one.closed[0] for one in self.rests])

    @property
    def server(self) -> Estimate:
        """Cores that it makes MariaDB use."""
        return Estimate.of([one.open[1] - one.closed[1] for one in self.rests])

    @property
    def share(self) -> Estimate:
        """What it uses of both, of what the pipelines use."""
        return Estimate.of([(sum(one.open) - sum(one.closed)) / self.pipelines for one in self.rests])

    @property
    def dearer(self) -> Estimate:
        """By how much an email is dearer with it, as a share."""
        return Estimate.of([turn.open.cpu_each / turn.closed.cpu_each - 1 for turn in self.turns])


def table(depths: Sequence[Depth]) -> str:
    lines = [
        "| wait | emails/s | full rate | the page: the service | MariaDB | of that | target | an email is dearer |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in depths:
        rate = statistics.median(turn.closed.rate for turn in one.turns)
        lines.append(
            f"| {one.waiting:,} | {rate:,.0f} | {one.pipelines:.2f} cores | {_percent(one.service)} of a core"
            f" | {_percent(one.server)} of a core | {_percent(one.share)} | under {LOSS:.0%}"
            f" | {_percent(one.dearer, 0)} |"
        )
    return "\n".join(lines)


def _percent(one: Estimate, digits: int = 2) -> str:
    return f"{one.value:.{digits}%} ± {one.error:.{digits}%}"


def failures(depths: Sequence[Depth]) -> list[str]:
    """What misses its target."""
    return [
        f"{one.waiting:,} wait: the page takes {_percent(one.share)} of the pipelines' CPU, not {LOSS:.0%}"
        for one in depths
        if one.share.value >= LOSS
    ]


async def look(deep: DeepQueue, waiting: int, rounds: int, emails: int) -> Depth:
    """One depth."""
    turns = await page_cost.drain(deep, rounds, emails)
    page_queue.pause(deep)
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        async with peers(Path(name)) as around, serving(deep, around, Path(name)) as (pid, port):
            await asyncio.sleep(page_cost.REST / 2)  # imports, and what a start looks through
            rests = await page_cost.rest(deep.server, pid, port, rounds)
    page_queue.resume(deep)
    return Depth(waiting, turns, rests)


async def run(depths: Sequence[int], rounds: int, emails: int) -> list[Depth]:
    """All of them, in one queue."""
    found = []
    async with PrivateMariadb(durable=True, arguments=deep_queue.SERVER) as server, mariadb_queue(server) as queue:
        with tempfile.TemporaryDirectory(prefix="letters-") as name:
            deep = DeepQueue(server, queue, Path(name) / "files")
            for waiting in depths:
                await deep.deepen(waiting, min(FINISHED, waiting))
                found.append(await look(deep, waiting, rounds, emails))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, help="emails that wait, ascending")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each (default: {ROUNDS})")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"in half a turn (default: {EMAILS:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    where = report.machine(f"medians of {options.rounds}, ± the standard error of the mean")
    depths = asyncio.run(run(options.depths, options.rounds, options.emails))
    return report.conclude(MARK, f"{where}\n\n{table(depths)}", failures(depths), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
