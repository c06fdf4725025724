"""The operators' page over a million emails: how long does one wait for it, and what does it cost while it is open?

    python -m benchmarks.page            measures, and writes the figures into docs/performance.md
    python -m benchmarks.page --check    measures, and fails when a figure misses its target

One MariaDB queue with 1,000,000 emails that wait and 200,000 that are done (benchmarks/deep_queue.py).

- The cost comes first, on the queue as it is: benchmarks/page_cost.py. The loss is that of each turn, the rate with the
  page of that without; their median, and the standard error of their mean beside it, since a machine with other work
  does not resolve two in a hundred: a loss that is within two of these of its target is not held to miss it. Processor
  time does not depend on neighbours as much, and that at rest hardly at all.
- Then a part of the emails is moved to other statuses, parked, and sent to other domains (benchmarks/page_queue.py),
  everything is paused, and the page is visited in chromium: benchmarks/page_visits.py. Of each pair of visits the first
  is the first one to a service that has just started, which has counted nothing yet.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser

from benchmarks import deep_queue, page_cost, page_queue, page_visits, report
from benchmarks.deep_queue import DeepQueue
from benchmarks.mail_parts import peers
from benchmarks.mail_queues import mariadb_queue
from benchmarks.page_cost import Rest, Turn, Window, serving
from benchmarks.page_visits import Paint, View, visit
from benchmarks.startup import compile_all, need_mariadbd
from mailculator.demo.mariadbd import PrivateMariadb
from tests.support.browser import chromium

MARK = "page"
WAITING = 1_000_000
FINISHED = 200_000
ROUNDS = 5
"""Turns with the page and without, and pairs of visits, and looks at each list."""
EMAILS = 4_000
"""With the page, and as many without, in a turn."""
RESTS = 2

FIRST_PAINT = 1.0
"""Seconds, at most."""
LIST = 0.2
"""Seconds until a list is drawn, at most."""
LOSS = 0.02
"""Of the pipelines' rate, at most; and of one core's time at rest."""

FIRST, NEXT = "the first after a start", "the next"


@dataclass(frozen=True)
class Found:
    """Everything that was measured.

    Arguments:
        paints: by which visit it was.
    """

    turns: Sequence[Turn]
    rests: Sequence[Rest]
    paints: Mapping[str, Sequence[Paint]]
    views: Mapping[str, View]


@dataclass(frozen=True)
class Loss:
    """What is lost while the page is open, as a share; the median of all turns.

    Arguments:
        error: the standard error of the mean.
    """

    share: float
    error: float

    @property
    def sure(self) -> float:
        """What is lost at least, as far as the turns agree."""
        return self.share - 2 * self.error


def loss(turns: Sequence[Turn], of: Callable[[Window], float]) -> Loss:
    """How much smaller a figure of a turn's window is with the page."""
    shares = [1 - of(turn.open) / of(turn.closed) for turn in turns]
    error = statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else math.inf
    return Loss(statistics.median(shares), error)


def resting(rests: Sequence[Rest]) -> tuple[float, float]:
    """What the page takes of one core at rest, as shares: in the service, and in MariaDB. The medians."""
    return (
        statistics.median(one.open[0] - one.closed[0] for one in rests),
        statistics.median(one.open[1] - one.closed[1] for one in rests),
    )


def paint_table(paints: Mapping[str, Sequence[Paint]]) -> str:
    lines = [
        "| visit | first paint | from … to | target | what waits is counted | what has ended is counted |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, seen in paints.items():
        firsts = [one.first for one in seen]
        lines.append(
            f"| {name} | {_ms(statistics.median(firsts))} | {_ms(min(firsts))} … {_ms(max(firsts))}"
            f" | under {_ms(FIRST_PAINT)} | {_ms(statistics.median(one.counted for one in seen))}"
            f" | {_ms(statistics.median(one.ended for one in seen))} |"
        )
    return "\n".join(lines)


def view_table(views: Mapping[str, View]) -> str:
    lines = ["| list | rows | the API answers in | it is drawn after | target |", "|---|---:|---:|---:|---:|"]
    for name, one in views.items():
        lines.append(f"| {name} | {one.rows} | {_ms(one.answered)} | {_ms(one.shown)} | under {_ms(LIST)} |")
    return "\n".join(lines)


def cost_table(turns: Sequence[Turn], rests: Sequence[Rest]) -> str:
    rate, cpu = loss(turns, lambda one: one.rate), loss(turns, lambda one: 1 / one.cpu_each)
    service, server = resting(rests)
    closed, opened = [turn.closed for turn in turns], [turn.open for turn in turns]
    lines = [
        "| | without the page | with it | lost | target |",
        "|---|---:|---:|---:|---:|",
        f"| emails/s | {_rates(closed)} | {_rates(opened)} | {_share(rate)} | under {LOSS:.0%} |",
        f"| CPU an email, service and MariaDB | {_cpu(closed)} | {_cpu(opened)} | {_share(cpu)} |  |",
    ]
    for process, name, more, target in ((0, "the service", service, f"under {LOSS:.0%}"), (1, "MariaDB", server, "")):
        without, with_it = [
            statistics.median(one[process] for one in those)
            for those in ([one.closed for one in rests], [one.open for one in rests])
        ]
        lines.append(f"| of a core, at rest: {name} | {without:.2%} | {with_it:.2%} | {more:.2%} | {target} |")
    return "\n".join(lines)


def _rates(windows: Sequence[Window]) -> str:
    rates = [one.rate for one in windows]
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} … {max(rates):,.0f})"


def _cpu(windows: Sequence[Window]) -> str:
    return f"{statistics.median(one.cpu_each for one in windows) * 1e6:,.0f} µs"


def _share(one: Loss) -> str:
    return f"{one.share:.1%} ± {one.error:.1%}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def failures(found: Found) -> list[str]:
    """What misses its target."""
    wrong = []
    for name, seen in found.paints.items():
        if (first := statistics.median(one.first for one in seen)) >= FIRST_PAINT:
            wrong.append(f"{name}: the first paint comes after {_ms(first)}, not {_ms(FIRST_PAINT)}")
    for name, one in found.views.items():
        if max(one.answered, one.shown) >= LIST:
            wrong.append(f"{name}: answered in {_ms(one.answered)}, drawn after {_ms(one.shown)}, not {_ms(LIST)}")
    lost = loss(found.turns, lambda one: one.rate)
    if lost.sure >= LOSS:
        wrong.append(f"the page costs {_share(lost)} of the rate, not {LOSS:.0%}")
    service, _ = resting(found.rests)
    if service >= LOSS:
        wrong.append(f"the page takes {service:.1%} of the service's core at rest, not {LOSS:.0%}")
    return wrong


async def visits(deep: DeepQueue, browser: Browser, rounds: int) -> tuple[dict[str, list[Paint]], dict[str, View]]:
    """Pairs of visits, each to a service that has just started; in the last one the lists, too."""
    paints: dict[str, list[Paint]] = {FIRST: [], NEXT: []}
    views: dict[str, View] = {}
    for turn in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(prefix="page-") as name:
            async with peers(Path(name)) as around, serving(deep, around, Path(name)) as (_, port):
                for which, seen in paints.items():
                    async with visit(browser, port) as page:
                        seen.append(await page_visits.paint(page))
                        if which == NEXT and turn == rounds:
                            views = await page_visits.lists(page, rounds)
                    print(f"{which}, {turn}: {seen[-1]}", flush=True)
    return paints, views


async def rest(deep: DeepQueue, turns: int) -> list[Rest]:
    """What the page takes while nothing else happens."""
    with tempfile.TemporaryDirectory(prefix="page-") as name:
        async with peers(Path(name)) as around, serving(deep, around, Path(name)) as (pid, port):
            await asyncio.sleep(page_cost.REST / 2)  # imports, and what a start looks through
            return await page_cost.rest(deep.server, pid, port, turns)


async def run(waiting: int, finished: int, rounds: int, emails: int) -> Found:
    """Measure all."""
    async with PrivateMariadb(durable=True, arguments=deep_queue.SERVER) as server, mariadb_queue(server) as queue:
        with tempfile.TemporaryDirectory(prefix="letters-") as name:
            deep = DeepQueue(server, queue, Path(name) / "files")
            await deep.deepen(waiting, finished)
            turns = await page_cost.drain(deep, rounds, emails)
            page_queue.pause(deep)
            rests = await rest(deep, RESTS)
            page_queue.mix(deep)
            await deep_queue.settle(server)
            async with chromium() as browser:
                paints, views = await visits(deep, browser, rounds)
    return Found(turns, rests, paints, views)


def text(found: Found) -> str:
    return "\n\n".join([paint_table(found.paints), view_table(found.views), cost_table(found.turns, found.rests)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=WAITING, help=f"emails (default: {WAITING:,})")
    parser.add_argument("--finished", type=int, default=FINISHED, help=f"emails beside (default: {FINISHED:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each (default: {ROUNDS})")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"in half a turn (default: {EMAILS:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    where = report.machine(
        f"{options.waiting:,} emails wait and {options.finished:,} are done", f"medians of {options.rounds}"
    )
    found = asyncio.run(run(options.waiting, options.finished, options.rounds, options.emails))
    return report.conclude(MARK, f"{where}\n\n{text(found)}", failures(found), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
