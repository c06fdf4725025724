"""What does an email cost on DynamoDB, and what does a month?

    python -m benchmarks.dynamodb_cost            measures, and writes the figures into docs/performance.md
    python -m benchmarks.dynamodb_cost --check    measures, writes nothing, and fails when a target is missed

The whole service works on a table of its own, and its meter reckons every call by DynamoDB's published rules. The table
is where DYNAMODB_TEST_ENDPOINT says; else in a DynamoDB Local that is started for it; else in moto, with fewer emails.
Which of them it is changes the duration, and not the units. The older layout was never measured: it is reckoned.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.cost_bench import OLDER, PRODUCER, REPLICA, CostBench, cost_bench
from benchmarks.cost_model import DAYS, EU_WEST_1, KNOWN, RATES, REGIONS, Measured, OlderLayout, Units
from benchmarks.cost_watch import Bill
from mailculator.stores.dynamodb.units import REFUSED
from tests.support import dynamodb_local
from tests.support.moto_server import shared_moto

WORK = (PRODUCER, OLDER, "enqueue", "claim", "inbox", "record", "repair")
POLLING = ("poll", "inbox", "rescue")
IDLE_SECONDS = 600.0
RATIO = 50.0


@dataclass(frozen=True)
class Place:
    """Where the table is.

    Arguments:
        emails: how many are sent in one run.
        ended: how many have ended before, for a sweep to look at.
    """

    name: str
    url: str
    emails: int = 500
    ended: int = 5_000


@dataclass(frozen=True)
class Figures:
    """Everything that was measured."""

    older: Bill
    own: Bill
    peer: Bill
    paced: Bill
    pair: Bill
    idle: Bill
    swept: float
    guarded: float

    def measured(self, bill: Bill) -> Measured:
        """For the model of a month."""
        ops = {op for op, _ in self.idle.units}
        second = self.idle.seconds
        idle = {op: (self.idle.total("read", op) / second, self.idle.total("write", op) / second) for op in ops}
        return Measured(bill.each("write", *WORK), bill.each("read", *WORK, *POLLING), idle, self.swept)

    @property
    def polling(self) -> float:
        """Read units a second of an idle replica."""
        return self.idle.total("read", *POLLING) / self.idle.seconds


@dataclass(frozen=True)
class Target:
    """What must hold."""

    name: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def missed(self) -> bool:
        return self.value < self.bound if self.at_least else self.value > self.bound

    @property
    def text(self) -> str:
        verdict = "missed" if self.missed else "kept"
        return (
            f"| {self.name} | {self.value:.2f} | at {'least' if self.at_least else 'most'} {self.bound:g} | {verdict} |"
        )


async def measure(place: Place) -> Figures:
    """All runs, each on a table of its own, one after the other."""
    with tempfile.TemporaryDirectory(prefix="c-") as name:
        folder = Path(name)

        @asynccontextmanager
        async def table(what: str) -> AsyncIterator[CostBench]:
            print(f"measuring: {what} …", file=sys.stderr, flush=True)
            async with cost_bench(place.url, folder) as bench:
                yield bench

        few = max(10, place.emails // 10)
        async with table(f"{place.emails} emails of the older producer") as bench:
            older = await bench.send(bench.produce, place.emails)
        async with table(f"{place.emails} emails of our own enqueue") as bench:
            own = await bench.send(bench.enqueue, place.emails)
        async with table(f"{few} emails beside an older consumer") as bench:
            peer = await bench.send(
                bench.produce_prepared,
                few,
                {"MAILCULATOR_DYNAMODB_PEER_CONSUMER": "true", "EML_STORAGE_PATH": name},
            )
        async with table(f"{few} emails at the pace of 30,000 a day") as bench:
            paced = await bench.send_paced(bench.produce, few, every=86_400 / 30_000)
        async with table(f"{few} emails, two replicas") as bench:
            pair = await bench.send_by_two(bench.produce, few)
        async with table(f"{IDLE_SECONDS:.0f} idle seconds") as bench:
            idle = (await bench.idle(IDLE_SECONDS)).bill
        async with table(f"a sweep over {place.ended} emails, and what the guard asks") as bench:
            await bench.send(bench.enqueue, 1)
            await bench.fill(place.ended)
            swept, guarded = await bench.look_through(place.ended + 1)
    return Figures(older, own, peer, paced, pair, idle, swept, guarded)


def targets(found: Figures) -> list[Target]:
    """What must hold of the figures."""
    ours = found.measured(found.older).month(RATES[0], replicas=1)
    return [
        Target("write units an email, older producer", found.older.each("write", *WORK), 28.0),
        Target("write units an email, our own enqueue", found.own.each("write", *WORK), 23.0),
        Target("read units an email, older producer", found.older.each("read", *WORK, *POLLING), 1.0),
        Target("read units an email, our own enqueue", found.own.each("read", *WORK, *POLLING), 1.0),
        Target("read units a second of an idle replica: polls, inbox, rescue", found.polling, 5.0),
        Target(
            "times below the older layout at 30,000 emails a day",
            KNOWN / EU_WEST_1.dollars(ours.writes, ours.reads),
            RATIO,
            at_least=True,
        ),
    ]


def text(found: Figures, place: Place, machine: str) -> str:
    """The figures for people."""
    parts = [
        f"{machine} On {place.name}; units by the service's own meter. Amazon's own service: not measured.",
        "| | measured | target | |\n|---|---:|---:|---|\n" + "\n".join(target.text for target in targets(found)),
        _by_email(found),
        _at_rest(found),
        _months(found),
    ]
    return "\n\n".join(parts)


def _by_email(found: Figures) -> str:
    columns = {
        "older producer": found.older,
        "our enqueue": found.own,
        "older producer, one by one": found.paced,
        "older producer, two replicas": found.pair,
        "beside an older consumer": found.peer,
    }
    names = [*WORK, *(op + REFUSED for op in WORK), "renew", "renew" + REFUSED]
    rows = [(f"{op}, write", [bill.each("write", op) for bill in columns.values()]) for op in names]
    rows += [(f"{op}, read", [bill.each("read", op) for bill in columns.values()]) for op in ("poll", *WORK)]
    lines = [_row(name, [f"{value:.2f}" for value in values]) for name, values in rows if any(values)]
    totals = [f"**{bill.each('write', *WORK):.2f}**" for bill in columns.values()]
    lines.append(_row("**of these, the work itself, write**", totals))
    return _table(["units an email", *columns], lines)


def _at_rest(found: Figures) -> str:
    lines = []
    for op in sorted({op for op, _ in found.idle.units}):
        reads, writes = (found.idle.total(kind, op) / found.idle.seconds for kind in ("read", "write"))
        month = EU_WEST_1.dollars(writes * DAYS * 86_400, reads * DAYS * 86_400)
        lines.append(_row(op, [f"{reads:.3f}", f"{writes:.3f}", f"{month:.2f}"]))
    return _table(["an idle replica, units a second", "read", "write", "$ a month, eu-west-1"], lines) + (
        f"\n\nA sweep reads {found.swept:.3f} units for each record; the guard against an id in both queues reads "
        f"{found.guarded:.2f} units for each email of MariaDB's that is sent."
    )


def _months(found: Figures) -> str:
    lines = []
    ways = {
        "older producer, one replica": (found.older, 1),
        "older producer, two replicas": (found.older, 2),
        "our enqueue, one replica": (found.own, 1),
        "beside an older consumer, without its polling": (found.peer, 1),
    }
    for rate in RATES:
        older = OlderLayout().month(rate)
        lines.append(_row(f"{rate:,} a day: the older layout, reckoned", _dollars(older)))
        for name, (bill, replicas) in ways.items():
            ours = found.measured(bill).month(rate, replicas=replicas)
            ratio = EU_WEST_1.dollars(older.writes, older.reads) / EU_WEST_1.dollars(ours.writes, ours.reads)
            below = "" if bill is found.peer else f" ({ratio:.0f} times below)"
            lines.append(_row(f"{rate:,} a day: {name}{below}", _dollars(ours)))
    sources = "; ".join(f"{prices.region}: {prices.write} and {prices.read} ({prices.source})" for prices in REGIONS)
    return _table(["$ a month", *(prices.region for prices in REGIONS)], lines) + (
        f"\n\nDollars for a million write and read units, {sources}. Storage is left out on both sides."
    )


def _dollars(units: Units) -> list[str]:
    return [f"{prices.dollars(units.writes, units.reads):,.2f}" for prices in REGIONS]


def _table(head: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([_row(head[0], head[1:]), "|---|" + "---:|" * (len(head) - 1), *lines])


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


@contextmanager
def local() -> Iterator[Place | None]:
    """DynamoDB Local: the one that the environment names, or one for the length of this context; None without Java."""
    try:
        with dynamodb_local.running() as url:
            yield Place("DynamoDB Local", url)
    except dynamodb_local.Unavailable as error:
        print(f"no DynamoDB Local: {error}", file=sys.stderr)
        yield None


async def run(place: Place | None) -> tuple[Figures, Place]:
    """Measure there, or else on moto."""
    if place is not None:
        return await measure(place), place
    async with shared_moto() as server:
        moto = Place("moto", server.endpoint, emails=100, ended=500)
        return await measure(moto), moto


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    machine = report.machine(f"replica {REPLICA}")
    with local() as place:
        found, there = asyncio.run(run(place))
    written = text(found, there, machine)
    print(written)
    if not options.check:
        report.write("dynamodb-cost", written)
        return 0
    missed = [target for target in targets(found) if target.missed]
    for target in missed:
        print(f"missed: {target.text}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
