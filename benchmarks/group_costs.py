"""What claims and records cost on MariaDB by the size of their groups: CPU of both sides, and statements.

    python -m benchmarks.group_costs [--emails 1500] [--groups 10 30 100 300]

Emails go through the three stages in groups, each claimed and recorded as a whole by a store that nobody else uses.
Figures are those of an email, over all three stages: of each stage the first quartile. Claims ask for 500, so each
looks for more than it finds, as on a queue that keeps up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchmarks import deep_queue, mail_queues, report
from benchmarks.mail_parts import Letter
from benchmarks.mail_queues import Queue, mariadb_queue
from benchmarks.startup import need_mariadbd
from mailculator import config, lifecycle
from mailculator.cli.service import fast_loop
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import INTAKE, SENDER, SENT_CALLBACK, Acknowledged, Outcome, Prepared, Sent, Stage
from mailculator.stores import registry
from mailculator.stores.base import Recorded, Store

T = TypeVar("T")

GROUPS = (10, 30, 100, 300)
EMAILS = 1500
LIMIT = 500
LEASE = 90.0
STAGES: Sequence[tuple[Stage, Outcome]] = (
    (INTAKE, Prepared("example.org")),
    (SENDER, Sent("250 2.0.0 Ok: queued as 4bXyz")),
    (SENT_CALLBACK, Acknowledged("200")),
)


class Cost(NamedTuple):
    """Of one group.

    Arguments:
        service, server: seconds of CPU.
        statements: that the server ran.
    """

    service: float
    server: float
    statements: int


class Meter:
    """Measures what is called one at a time."""

    def __init__(self, server: PrivateMariadb) -> None:
        self._server = server
        self.costs: dict[str, list[Cost]] = defaultdict(list)

    async def of(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result; its cost is kept under that name."""
        asked, server, service = deep_queue.status(self._server, "Questions"), self._server_cpu(), time.process_time()
        result = await call()
        used = time.process_time() - service, self._server_cpu() - server
        # The connection that asks runs some statements of its own, the same each time.
        self.costs[name].append(Cost(*used, deep_queue.status(self._server, "Questions") - asked))
        return result

    def _server_cpu(self) -> float:
        """To the nanosecond: a group is done within a tick of /proc/<pid>/stat."""
        used = 0
        for thread in Path(f"/proc/{self._server.pid}/task").iterdir():
            with suppress(FileNotFoundError):
                used += int((thread / "schedstat").read_text().split()[0])
        return used / 1e9


async def measure(store: Store, queue: Queue, meter: Meter, size: int) -> None:
    """One group through the three stages. SystemExit when it does not come through as a whole."""
    ids = [str(uuid.uuid4()) for _ in range(size)]
    queue.lay([Letter(email_id, Path(f"/mail/{email_id}.json")) for email_id in ids])
    queue.open_gate()
    for stage, outcome in STAGES:
        claim = partial(store.claim, stage, LIMIT, lease=LEASE, holder="benchmark")
        emails = await meter.of(f"claim {stage.name}", claim)
        moves = [lifecycle.move(email, outcome) for email in emails]
        answers = await meter.of(f"record {stage.name}", partial(store.record, moves))
        if answers != [Recorded.DONE] * size:
            raise SystemExit(f"{stage.name}: of {size} emails {answers.count(Recorded.DONE)} came through")


def line(size: int, costs: dict[str, list[Cost]], asking: int) -> str:
    """A line of the table."""
    cells = [f"{size}"]
    for verb in ("claim", "record"):
        found = [costs[f"{verb} {stage.name}"] for stage, _ in STAGES]
        seconds = (sum(quarter([one[side] for one in some]) for some in found) for side in (0, 1))
        cells += [f"{one / size * 1e6:.0f} µs" for one in seconds]
        cells.append(" + ".join(f"{some[-1].statements - asking}" for some in found))
    return f"| {' | '.join(cells)} |"


def quarter(values: Sequence[float]) -> float:
    """The first quartile: what else the machine does can only add."""
    return sorted(values)[len(values) // 4]


async def run(groups: Sequence[int], emails: int) -> list[str]:
    """The lines of the table."""
    lines = []
    async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server, mariadb_queue(server) as queue:
        settings = config.load(dict(queue.variables), needs={"store"})
        store = await registry.backend("mysql").open_store(settings, service=False)
        try:
            for size in groups:
                meter = Meter(server)
                await measure(store, queue, Meter(server), size)  # connections and caches
                for _ in range(max(4, emails // size)):
                    await measure(store, queue, meter, size)
                nothing = Meter(server)
                await nothing.of("nothing", lambda: asyncio.sleep(0))
                lines.append(line(size, meter.costs, nothing.costs["nothing"][0].statements))
        finally:
            await store.close()
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--groups", type=int, nargs="+", default=GROUPS, help="sizes (default: 10 30 100 300)")
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"of each size, about (default: {EMAILS})")
    options = parser.parse_args()
    need_mariadbd()
    print(report.machine("three stages, figures of an email"))
    print("| emails | claim: service | server | statements | record: service | server | statements |")
    print("|---:|---:|---:|---|---:|---:|---|")
    gc.freeze()
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        print("\n".join(runner.run(run(options.groups, options.emails))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
