"""The operators' page over a million emails: how long does one wait for it?

    python -m benchmarks.page            measures, and writes the figures into docs/performance.md
    python -m benchmarks.page --check    measures, and fails when a figure misses its target

One MariaDB queue with 1,000,000 emails that wait and 200,000 that are done (benchmarks/deep_queue.py). A part of them
is moved to other statuses, parked, and sent to other domains (benchmarks/page_queue.py), everything is paused, and the
page is visited in chromium: benchmarks/page_visits.py. Of each pair of visits the first is the first one to a service
that has just started, which has counted nothing yet. What it costs while it is open: benchmarks/page_open.py.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser

from benchmarks import deep_queue, page_queue, page_visits, report
from benchmarks.deep_queue import DeepQueue
from benchmarks.mail_parts import peers
from benchmarks.mail_queues import mariadb_queue
from benchmarks.page_cost import serving
from benchmarks.page_visits import Paint, View, visit
from benchmarks.startup import compile_all, need_mariadbd
from mailculator.demo.mariadbd import PrivateMariadb
from tests.support.browser import chromium

MARK = "page"
WAITING = 1_000_000
FINISHED = 200_000
ROUNDS = 5
"""Pairs of visits, and looks at each list."""

FIRST_PAINT = 1.0
"""Seconds, at most."""
LIST = 0.2
"""Seconds until a list is drawn, at most."""

FIRST, NEXT = "the first after a start", "the next"


@dataclass(frozen=True)
class Found:
    """Everything that was measured.

    Arguments:
        paints: by which visit it was.
    """

    paints: Mapping[str, Sequence[Paint]]
    views: Mapping[str, View]


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


async def run(waiting: int, finished: int, rounds: int) -> Found:
    """Measure all."""
    async with PrivateMariadb(durable=True, arguments=deep_queue.SERVER) as server, mariadb_queue(server) as queue:
        with tempfile.TemporaryDirectory(prefix="letters-") as name:
            deep = DeepQueue(server, queue, Path(name) / "files")
            await deep.deepen(waiting, finished)
            page_queue.pause(deep)
            page_queue.mix(deep)
            await deep_queue.settle(server)
            async with chromium() as browser:
                paints, views = await visits(deep, browser, rounds)
    return Found(paints, views)


def text(found: Found) -> str:
    return "\n\n".join([paint_table(found.paints), view_table(found.views)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=WAITING, help=f"emails (default: {WAITING:,})")
    parser.add_argument("--finished", type=int, default=FINISHED, help=f"emails beside (default: {FINISHED:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each (default: {ROUNDS})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    where = report.machine(
        f"{options.waiting:,} emails wait and {options.finished:,} are done", f"medians of {options.rounds}"
    )
    found = asyncio.run(run(options.waiting, options.finished, options.rounds))
    return report.conclude(MARK, f"{where}\n\n{text(found)}", failures(found), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
