"""One, two and four processes on one MariaDB queue: do more of them get more done, and do they get in each other's way?

    python -m benchmarks.replicas            measures, and writes the figures into docs/performance.md
    python -m benchmarks.replicas --check    measures, and fails when a figure misses its target

Rounds of each number in turn, on new queues. All processes have started, and together brought some emails to their end,
before the others become visible; they share one journal's directory, as replicas do.

- Emails a second: by the history's own times, as in benchmarks/end_to_end.py.
- Relative: to the round of one process in the same turn; the median of these. All processes, MariaDB, the relay and the
  callback server share this machine, so on few cores there is little to be won, and all that is lost shows.
- Wasted claims: emails that were claimed without a result on record for that claim, lost ones and ones given back, of
  all that were claimed; by the processes' own metrics.
- Deadlocks: by MariaDB's own count (Innodb_deadlocks). What a store refused: by the processes' metrics.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import mail_queues, report
from benchmarks.end_to_end import WARM, environment, running
from benchmarks.mail_parts import PATIENCE, Letter, Peers, peers, write_letters
from benchmarks.mail_queues import STEPS, Queue, mariadb_queue
from benchmarks.startup import compile_all
from mailculator.demo.mariadbd import PrivateMariadb
from tests.support import mariadb

MARK = "replicas"
COUNTS = (1, 2, 4)
ROUNDS = 5
EMAILS = 4000
LEAST: Mapping[int, float] = {2: 1.0, 4: 0.9}
"""Of the throughput of one process, by how many there are."""
WASTED = 0.02
"""Of all claims, at most."""
WORKING = ("INTAKING", "PROCESSING", "CALLING-SENT-CALLBACK", "CALLING-FAILED-CALLBACK")

Key = tuple[str, tuple[tuple[str, str], ...]]
Samples = Mapping[Key, float]


@dataclass(frozen=True)
class Round:
    """What one round of some processes gave.

    Arguments:
        claimed: emails, each stage counted by itself.
        settled: results that are on record.
        lost: results that came too late.
        deadlocks: as MariaDB counts them.
        refused: verbs of a store that failed.
    """

    emails: int
    seconds: float
    claimed: int
    settled: int
    lost: int
    deadlocks: int
    refused: int

    @property
    def rate(self) -> float:
        """Emails a second."""
        return self.emails / self.seconds

    @property
    def wasted(self) -> float:
        """Of the claims."""
        return max(self.claimed - self.settled, self.lost) / self.claimed if self.claimed else 0.0


def samples(text: str) -> Samples:
    """What a scrape says, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(scrape: Samples, name: str, **labels: Sequence[str]) -> int:
    """The sum of a metric over all series whose labels have one of the values given."""
    return round(
        sum(
            value
            for (found, pairs), value in scrape.items()
            if found == name and all(dict(pairs)[label] in values for label, values in labels.items())
        )
    )


def settled(scrape: Samples) -> int:
    """Results that led an email on to the next step; what was given back, retried or rescued did not."""
    steps = dict(zip(STEPS[::2], STEPS[1::2], strict=True))
    name = "mailculator_transitions_total"
    return sum(total(scrape, name, **{"from": (working,), "to": (done,)}) for working, done in steps.items())


def greeting(log: Path) -> dict[str, Any] | None:
    """What the process that writes this log said when it had started; None before that."""
    line = next((line for line in log.read_bytes().splitlines() if b'"service.started"' in line), None)
    return None if line is None else orjson.loads(line)


def scrape(log: Path) -> Samples:
    """The metrics of the process that writes this log, as they are now."""
    said = greeting(log)
    assert said is not None, "it has not started"
    with urlopen(f"http://127.0.0.1:{said['http_port']}/metrics", timeout=30) as answer:
        return samples(answer.read().decode("utf-8"))


async def measure(server: PrivateMariadb, letters: Sequence[Letter], processes: int) -> Round:
    """One round. SystemExit when not every email came to its end, or one more did."""
    warm, rest = letters[:WARM], letters[WARM:]
    with tempfile.TemporaryDirectory(prefix="replicas-") as name:
        directory = Path(name)
        logs = [directory / f"log-{number}.txt" for number in range(processes)]
        async with mariadb_queue(server) as queue, peers(directory) as around, AsyncExitStack() as stack:
            for number, log in enumerate(logs):
                variables = environment(directory, queue, around) | {"MAILCULATOR_REPLICA": f"bench-{number}"}
                await stack.enter_async_context(running(("mailculator", "run"), variables, log))
            await asyncio.gather(*map(up, logs))
            queue.lay(warm)
            await _pass(queue, around, len(warm))
            before = await asyncio.gather(*(asyncio.to_thread(scrape, log) for log in logs))
            queue.lay(rest)
            since, deadlocks = queue.last_note(), _deadlocks(server)
            await _pass(queue, around, len(letters))
            after = await asyncio.gather(*(asyncio.to_thread(scrape, log) for log in logs))
            deadlocks = _deadlocks(server) - deadlocks
            faults = queue.faults(len(letters))
            seconds = queue.seconds(since)
            await stack.aclose()  # each session with the sink has ended, and it has counted
            if (taken := around.taken()) != len(letters):
                faults.append(f"the sink took {taken}")
            if faults:
                raise SystemExit(f"{processes} processes, {len(letters)} emails: {'; '.join(faults)}")
            return round_of(len(rest), seconds, deadlocks, before, after)


def round_of(emails: int, seconds: float, deadlocks: int, before: Sequence[Samples], after: Sequence[Samples]) -> Round:
    """What the processes' metrics say of what happened in between."""

    def grown(name: str, **labels: Sequence[str]) -> int:
        return sum(total(one, name, **labels) for one in after) - sum(total(one, name, **labels) for one in before)

    return Round(
        emails,
        seconds,
        claimed=grown("mailculator_transitions_total", to=WORKING),
        settled=sum(map(settled, after)) - sum(map(settled, before)),
        lost=grown("mailculator_claims_lost_total"),
        deadlocks=deadlocks,
        refused=grown("mailculator_store_errors_total"),
    )


async def up(log: Path) -> dict[str, Any]:
    """What it said when it had started: where it listens. TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while (said := await asyncio.to_thread(greeting, log)) is None:  # noqa: ASYNC110  # a file is silent
            await asyncio.sleep(0.01)
    return said


def _deadlocks(server: PrivateMariadb) -> int:
    [(_, count)] = mariadb.execute(server, "mysql", "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(count)


async def _pass(queue: Queue, around: Peers, count: int) -> None:
    queue.open_gate()
    await around.called_back(count)
    await queue.finished()


def relative(rounds: Mapping[int, Sequence[Round]], processes: int) -> float:
    """Throughput of so many, of one process in the same turn; the median of all turns."""
    pairs = zip(rounds[processes], rounds[1], strict=True)
    return statistics.median(many.rate / one.rate for many, one in pairs)


def table(rounds: Mapping[int, Sequence[Round]]) -> str:
    lines = [
        "| processes | emails/s | from … to | relative | target | wasted | target | lost | deadlocks | refusals |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for processes, found in rounds.items():
        rates = [one.rate for one in found]
        least = f"at least {LEAST[processes]:g}" if processes in LEAST else ""
        lines.append(
            f"| {processes} | {statistics.median(rates):,.0f} | {min(rates):,.0f} … {max(rates):,.0f}"
            f" | {relative(rounds, processes):.2f} | {least}"
            f" | {statistics.median(one.wasted for one in found):.2%} | under {WASTED:.0%}"
            f" | {sum(one.lost for one in found)} | {sum(one.deadlocks for one in found)}"
            f" | {sum(one.refused for one in found)} |"
        )
    return "\n".join(lines)


def failures(rounds: Mapping[int, Sequence[Round]]) -> list[str]:
    """What misses its target."""
    found = []
    for processes, those in rounds.items():
        ratio = relative(rounds, processes)
        if ratio < LEAST.get(processes, 0.0):
            found.append(f"{processes} processes: {ratio:.2f} of one's throughput, not {LEAST[processes]:g}")
        if (wasted := statistics.median(one.wasted for one in those)) >= WASTED:
            found.append(f"{processes} processes: {wasted:.1%} of the claims were wasted")
        if deadlocks := sum(one.deadlocks for one in those):
            found.append(f"{processes} processes: {deadlocks} deadlocks")
        if refused := sum(one.refused for one in those):
            found.append(f"{processes} processes: the store refused {refused} times")
    return found


async def run(counts: Sequence[int], turns: int, emails: int) -> dict[int, list[Round]]:
    """Measure all, in turn."""
    rounds: dict[int, list[Round]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory(prefix="letters-") as name:
        letters = write_letters(Path(name), WARM + emails)
        async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server:
            for turn in range(1, turns + 1):
                for count in counts:
                    one = await measure(server, letters, count)
                    rounds[count].append(one)
                    print(f"{count} processes, round {turn}: {one.rate:,.0f} emails/s, {one}", flush=True)
    return rounds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each number (default: {ROUNDS})")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"in a round (default: {EMAILS:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    compile_all()
    where = report.machine(f"{options.rounds} rounds of {options.emails:,} emails each, in turn")
    rounds = asyncio.run(run(COUNTS, options.rounds, options.emails))
    text = f"{where}\n\n{table(rounds)}"
    return report.conclude(MARK, text, failures(rounds), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
