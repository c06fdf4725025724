"""Large attachments, many at once: how much memory, how long the event loop stands still, are leases renewed in time.

    python -m benchmarks.attachments            measures, and writes the figures into docs/performance.md
    python -m benchmarks.attachments --check    measures, and fails when a figure misses its target

Fifty mails with an attachment of 25 MB each become visible at one moment to a service that is warm. It is the same file
for all of them, so that what is measured is the service and not the disk.

- Memory: the process's resident set, as the kernel has seen it at its highest (VmHWM), and sampled (VmRSS).
- Stalls: a timer within the process (benchmarks/watched_service.py) that should come back every 2 ms.
- Heartbeats: by how much a renewal of leases began later than a third of a lease after the one before. The lease is as
  short as the setting allows, so that there are several.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import mail_queues, report
from benchmarks.end_to_end import Opened, environment, running
from benchmarks.mail_parts import Letter, Peers, peers, write_letters
from benchmarks.mail_queues import Queue, mariadb_queue, sqlite_queue
from benchmarks.startup import compile_all
from mailculator.demo.mariadbd import PrivateMariadb

MARK = "attachments"
MAILS = 50
SIZE = 25_000_000
"""Bytes of an attachment."""
WARM = 50
"""Small mails before these."""
LEASE = 15
"""Seconds, the least that may be set."""
EVERY = 0.02
"""Seconds between two looks at the resident set."""

MEMORY = 350.0
"""MB, at most."""
STALL = 25.0
"""Milliseconds that the loop may stand still."""
LATE = 1.0
"""Seconds after which a heartbeat is late: a tenth of what is left of that lease when it is due."""


@dataclass(frozen=True)
class Seen:
    """What one run showed.

    Arguments:
        peak: MB, the kernel's own mark.
        sampled: MB, the resident set at each look.
        stalls: seconds, the longest ones, ascending.
        late: seconds, of each renewal of leases.
    """

    seconds: float
    peak: float
    sampled: Sequence[float]
    stalls: Sequence[float]
    late: Sequence[float]

    @property
    def longest(self) -> float:
        """Milliseconds."""
        return max(self.stalls, default=0.0) * 1000

    @property
    def latest(self) -> float:
        """Seconds."""
        return max(self.late, default=0.0)


def resident(pid: int, name: str = "VmRSS") -> float:
    """MB of a process that are resident now; by VmHWM, what was at the most (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def attach(letters: Sequence[Letter], folder: Path, size: int) -> None:
    """Give each letter an attachment of that many bytes."""
    folder.mkdir()
    (folder / "content.pdf").write_bytes(os.urandom(size))
    for letter in letters:
        payload = json.loads(letter.path.read_text(encoding="utf-8"))
        payload["attachments"] = ["/content.pdf"]
        letter.path.write_text(json.dumps(payload, ensure_ascii=False), encoding="utf-8")


async def measure(opened: Opened, mails: int, size: int) -> Seen:
    """One run. SystemExit when not every mail came to its end."""
    with tempfile.TemporaryDirectory(prefix="attachments-") as name:
        directory = Path(name)
        letters = write_letters(directory / "letters", WARM + mails)
        attach(letters[WARM:], directory / "files", size)
        async with opened(directory) as queue, peers(directory) as around:
            found, log = directory / "found.json", directory / "log.txt"
            more = {"ATTACHMENTS_BASE_PATH": str(directory / "files"), "MAILCULATOR_LEASE": str(LEASE)}
            variables = environment(directory, queue, around) | more
            async with running(("benchmarks.watched_service", str(found)), variables, log) as pid:
                queue.lay(letters[:WARM])
                await _pass(queue, around, WARM)
                queue.lay(letters[WARM:])
                os.kill(pid, signal.SIGUSR1)
                sampling, sampled = asyncio.Event(), list[float]()
                sampler = asyncio.create_task(_sample(pid, sampled, sampling))
                began = time.monotonic()
                await _pass(queue, around, len(letters))
                seconds = time.monotonic() - began
                sampling.set()
                await sampler
                os.kill(pid, signal.SIGUSR1)
                peak = resident(pid, "VmHWM")
            if faults := queue.faults(len(letters)):
                raise SystemExit(f"{'; '.join(faults)}; its last words: {log.read_text()[-2000:]}")
            seen = json.loads(found.read_text(encoding="utf-8"))
            return Seen(seconds, peak, sampled, seen["stalls"], seen["late"])


async def _pass(queue: Queue, around: Peers, total: int) -> None:
    queue.open_gate()
    await around.called_back(total)
    await queue.finished()


async def _sample(pid: int, sampled: list[float], enough: asyncio.Event) -> None:
    while not enough.is_set():
        sampled.append(resident(pid))
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), EVERY)


def table(seen: Mapping[str, Seen]) -> str:
    lines = [
        "| | seconds | memory, peak | memory, median | longest stall | next ones | renewals | latest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        f"| target | | at most {MEMORY:g} MB | | at most {STALL:g} ms | | | at most {LATE:g} s |",
    ]
    for name, one in seen.items():
        others = ", ".join(f"{stall * 1000:.0f}" for stall in reversed(one.stalls[-4:-1]))
        middle = statistics.median(one.sampled) if one.sampled else 0.0
        lines.append(
            f"| {name} | {one.seconds:.1f} | {one.peak:.0f} MB | {middle:.0f} MB | {one.longest:.0f} ms"
            f" | {others} ms | {len(one.late)} | {one.latest:.2f} s |"
        )
    return "\n".join(lines)


def failures(seen: Mapping[str, Seen]) -> list[str]:
    """What misses its target."""
    found = []
    for name, one in seen.items():
        if one.peak > MEMORY:
            found.append(f"{name}: {one.peak:.0f} MB are over {MEMORY:g}")
        if one.longest > STALL:
            found.append(f"{name}: the loop stood still for {one.longest:.0f} ms, {STALL:g} are allowed")
        if one.latest > LATE:
            found.append(f"{name}: a heartbeat came {one.latest:.1f} s late")
    return found


async def run(stores: Sequence[str], mails: int, size: int) -> dict[str, Seen]:
    """Measure on each store."""
    seen = {}
    if "sqlite" in stores:
        seen["SQLite"] = await measure(sqlite_queue, mails, size)
    if "mariadb" in stores:
        async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server:

            def mariadb(_: Path) -> AbstractAsyncContextManager[Queue]:
                return mariadb_queue(server)

            seen["MariaDB"] = await measure(mariadb, mails, size)
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", action="append", choices=("sqlite", "mariadb"), help="default: both")
    parser.add_argument("--mails", type=int, default=MAILS, help=f"default: {MAILS}")
    parser.add_argument("--size", type=int, default=SIZE, help=f"bytes of an attachment (default: {SIZE:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a target is missed")
    options = parser.parse_args()
    compile_all()
    where = report.machine(f"{options.mails} mails at once, each with {options.size / 1e6:g} MB")
    seen = asyncio.run(run(options.store or ["sqlite", "mariadb"], options.mails, options.size))
    text = f"{where}\n\n{table(seen)}"
    return report.conclude(MARK, text, failures(seen), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
