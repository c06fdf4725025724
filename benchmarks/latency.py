"""How long an email waits until it is sent: on an idle queue, within the process, and under half of what it can carry.

    python -m benchmarks.latency            measures, and writes the figures into docs/performance.md
    python -m benchmarks.latency --check    measures, and fails when a figure misses its target

A producer puts mail on the queue by its own two inserts, in one transaction. Every time is the store's own, as the
history has it, so there is one clock: an email is enqueued when the store takes its producer's note, right before that
producer's COMMIT, and it is SENT when the store takes that row, right before the COMMIT of the service.

- Idle: one email at a time, each at a random moment of the interval after the one before was called back. Nothing tells
  the service of it; it finds it at its next look.
- Handed over: of the same emails, from READY to SENT. Intake wakes the sender of its own process, so no interval is in
  it, but the sender's claim, the relay, and the journal's writes before and after the last dot.
- Half load: first as many emails as make a rate visible, at one moment; then mail at half of that rate, at random
  moments and independent of each other.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from benchmarks import mail_queues, report
from benchmarks.end_to_end import WARM, Opened, environment, running
from benchmarks.mail_parts import Letter, Peers, peers, write_letters
from benchmarks.mail_queues import Queue, mariadb_queue, sqlite_queue
from benchmarks.startup import compile_all, need_mariadbd
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.settings.service import Work

MARK = "latency"
MAILS = 300
"""One at a time."""
LOADED = 3000
"""By which the rate is found, and as many again at half of it."""
WRITES = 200
"""To the disk, by which it is judged."""
INTERVAL: float = Work.model_fields["pipeline_interval"].default
"""PIPELINE_INTERVAL, seconds."""

MEDIAN = INTERVAL / 2 + 0.030
LAST_HUNDREDTH = INTERVAL + 0.050
"""Seconds from enqueue to SENT on an idle queue, at most."""
HANDED_OVER = 0.015
"""Seconds from READY to SENT, the median at most."""


@dataclass(frozen=True)
class Journey:
    """One email's times: epoch seconds of the store's clock.

    Arguments:
        claimed: by the sender.
    """

    enqueued: float
    ready: float
    claimed: float
    sent: float


@dataclass(frozen=True)
class Seen:
    """What one store showed.

    Arguments:
        rate: emails a second that it can carry.
        offered: emails a second that came under half load.
    """

    idle: Sequence[Journey]
    rate: float
    offered: float
    loaded: Sequence[Journey]


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Arguments:
        seconds: one for each email.
        median, last: seconds, what is allowed; None where nothing is asked.
    """

    name: str
    seconds: Sequence[float]
    median: float | None = None
    last: float | None = None


def durable_write(folder: Path) -> float:
    """Seconds in which the disk makes 4 KB durable, the median of many; several of these lie between READY and SENT."""
    took = []
    with (folder / "durable").open("wb", buffering=0) as file:
        for _ in range(WRITES):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least so many of all do not exceed (nearest rank)."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def journeys(moments: Mapping[str, Mapping[str, float]], letters: Sequence[Letter]) -> list[Journey]:
    """Of these emails, in their order. KeyError for one that did not come to its end."""
    steps = ("ACCEPTED", "READY", "PROCESSING", "SENT")
    return [Journey(*(moments[letter.email_id][step] for step in steps)) for letter in letters]


async def measure(opened: Opened, mails: int, loaded: int) -> Seen:
    """One store. SystemExit when not every email came to its end, or one more did."""
    with tempfile.TemporaryDirectory(prefix="latency-") as name:
        directory = Path(name)
        letters = write_letters(directory / "letters", WARM + mails + 2 * loaded)
        async with opened(directory) as queue, peers(directory) as around:
            log = directory / "log.txt"
            async with running(("mailculator", "run"), environment(directory, queue, around), log):
                seen = await _watch(queue, around, letters, mails, loaded)
            faults = queue.faults(len(letters))
            if (taken := around.taken()) != len(letters):
                faults.append(f"the sink took {taken}")
            if faults:
                raise SystemExit(f"{'; '.join(faults)}; its last words: {log.read_text()[-2000:]}")
            return seen


async def _watch(queue: Queue, around: Peers, letters: Sequence[Letter], mails: int, loaded: int) -> Seen:
    """The three parts, one after the other, on a service that runs."""
    single = letters[WARM : WARM + mails]
    many, half = letters[WARM + mails : -loaded], letters[-loaded:]
    await _pass(queue, around, letters[:WARM], 0)
    since = queue.last_note()
    await _one_by_one(queue, around, single, WARM)
    idle = journeys(queue.moments(since), single)
    since = queue.last_note()
    await _pass(queue, around, many, WARM + mails)
    rate = len(many) / queue.seconds(since)
    since = queue.last_note()
    await _offer(queue, half, rate / 2)
    await around.called_back(len(letters))
    await queue.finished()
    under_load = journeys(queue.moments(since), half)
    return Seen(idle, rate, offered(under_load), under_load)


def offered(found: Sequence[Journey]) -> float:
    """Emails a second, by when they came."""
    return (len(found) - 1) / (found[-1].enqueued - found[0].enqueued)


async def _pass(queue: Queue, around: Peers, letters: Sequence[Letter], before: int) -> None:
    """All of them at one moment, until all are done.

    Arguments:
        before: how many have been called back by now.
    """
    queue.lay(letters)
    queue.open_gate()
    await around.called_back(before + len(letters))
    await queue.finished()


async def _one_by_one(queue: Queue, around: Peers, letters: Sequence[Letter], before: int) -> None:
    waits = pauses(len(letters), random.Random(before))
    for count, (letter, wait) in enumerate(zip(letters, waits, strict=True), start=before + 1):
        await asyncio.sleep(wait)
        queue.lay([letter])
        queue.open_gate()
        await around.called_back(count)


def pauses(count: int, rng: random.Random) -> list[float]:
    """Seconds after whatever the service last did: one random moment in each of so many parts of the interval, in any
    order. Of moments that know nothing of each other the median is off by 29 ms where there are 300."""
    found = [(number + rng.random()) / count * INTERVAL for number in range(count)]
    rng.shuffle(found)
    return found


async def _offer(queue: Queue, letters: Sequence[Letter], rate: float) -> None:
    """Put them there at random moments, so many a second on average; those due while one is put come with the next."""
    rng, began, position = random.Random(len(letters)), time.monotonic(), 0
    moments = list(accumulate(rng.expovariate(rate) for _ in letters))
    while position < len(letters):
        await asyncio.sleep(max(moments[position] - (time.monotonic() - began), 0))
        until = bisect_right(moments, time.monotonic() - began, position)
        queue.lay(letters[position:until])
        queue.open_gate()
        position = until


def figures(seen: Mapping[str, Seen]) -> list[Figure]:
    """The lines of the table."""
    found = []
    for name, one in seen.items():
        load = f"{name}, {one.offered:,.0f} emails/s of {one.rate:,.0f}"
        found += [
            Figure(
                f"{name}, idle: enqueue to SENT",
                [mail.sent - mail.enqueued for mail in one.idle],
                MEDIAN,
                LAST_HUNDREDTH,
            ),
            Figure(f"{name}, idle: READY to SENT", [mail.sent - mail.ready for mail in one.idle], HANDED_OVER),
            Figure(f"{name}, idle: of these, READY to the claim", [mail.claimed - mail.ready for mail in one.idle]),
            Figure(f"{load}: enqueue to SENT", [mail.sent - mail.enqueued for mail in one.loaded]),
            Figure(f"{load}: READY to SENT", [mail.sent - mail.ready for mail in one.loaded]),
        ]
    return found


def table(found: Sequence[Figure]) -> str:
    lines = ["| | emails | p50 | target | p99 | target |", "|---|---:|---:|---:|---:|---:|"]
    for one in found:
        p50, p99 = (_shown(percentile(one.seconds, share)) for share in (0.5, 0.99))
        lines.append(
            f"| {one.name} | {len(one.seconds):,} | {p50} | {_target(one.median)} | {p99} | {_target(one.last)} |"
        )
    return "\n".join(lines)


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def _target(seconds: float | None) -> str:
    return "" if seconds is None else f"at most {seconds * 1000:,.0f} ms"


def failures(found: Sequence[Figure]) -> list[str]:
    """What misses its target."""
    wrong = []
    for one in found:
        for share, most in ((0.5, one.median), (0.99, one.last)):
            took = percentile(one.seconds, share)
            if most is not None and took > most:
                wrong.append(f"{one.name}: p{share * 100:g} is {_shown(took)}, {_shown(most)} are allowed")
    return wrong


async def run(stores: Sequence[str], mails: int, loaded: int) -> dict[str, Seen]:
    """Measure on each store."""
    seen = {}
    if "mariadb" in stores:
        async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server:

            def mariadb(_: Path) -> AbstractAsyncContextManager[Queue]:
                return mariadb_queue(server)

            seen["MariaDB"] = await measure(mariadb, mails, loaded)
    if "sqlite" in stores:
        seen["SQLite"] = await measure(sqlite_queue, mails, loaded)
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", action="append", choices=("mariadb", "sqlite"), help="default: both")
    parser.add_argument("--mails", type=int, default=MAILS, help=f"one at a time (default: {MAILS})")
    parser.add_argument("--loaded", type=int, default=LOADED, help=f"under half load (default: {LOADED:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    where = report.machine(f"PIPELINE_INTERVAL {INTERVAL:g} s as by default")
    with tempfile.TemporaryDirectory(prefix="latency-") as name:
        disk = f"A durable write of 4 KB took {durable_write(Path(name)) * 1000:.1f} ms before it began."
    found = figures(asyncio.run(run(options.store or ["mariadb", "sqlite"], options.mails, options.loaded)))
    text = f"{where} {disk} Times are the store's own.\n\n{table(found)}"
    return report.conclude(MARK, text, failures(found), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
