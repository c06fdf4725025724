"""Where an email's CPU goes in the whole service: by part, and the dearest functions.

    python -m benchmarks.profile_mail [--emails 3000] [--store mariadb|sqlite]

A sampler (benchmarks/sampler.py) runs in the service's own process while the emails go through. Its own cost is some
percent, and stands in no line but the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import mail_queues, report
from benchmarks.end_to_end import WARM, Contender, Opened, Round, measure
from benchmarks.mail_parts import Letter, write_letters
from benchmarks.mail_queues import mariadb_queue, sqlite_queue
from benchmarks.sampler import dearest, lines
from benchmarks.startup import compile_all
from mailculator.demo.mariadbd import PrivateMariadb

EMAILS = 3000


def text(found: dict[str, Any], one: Round, where: str) -> str:
    """What was found, for people to read."""
    each = 1e6 / one.emails
    loop = sum(found["own"].values())
    jobs = [
        f"{seconds * each:9.1f} µs {found['calls'][name] / one.emails:6.2f} calls an email  {name}"
        for name, seconds in dearest(found["jobs"])
    ]
    counts = [f"{count / one.emails:9.2f}  {name}" for name, count in dearest(found["counts"])]
    head = (
        f"{one.emails:,} emails, {one.rate:,.0f} a second, under the sampler;"
        f" {found['process'] * each:,.0f} µs of CPU an email, of which {loop * each:,.0f} on the loop's thread"
    )
    return "\n".join(
        [
            where,
            head,
            *("", "The loop's thread by part:", *lines(found["parts"], one.emails)),
            *("", "Other threads:", *lines(found["threads"], one.emails)),
            *("", "What was done there:", *jobs),
            *("", "Calls an email:", *counts),
            *("", "The loop's thread, own time:", *lines(found["own"], one.emails)),
            *("", "The loop's thread, cumulative:", *lines(_ours(found["cumulative"]), one.emails, whole=loop)),
        ]
    )


def _ours(cumulative: dict[str, float]) -> Mapping[str, float]:
    """Without what is beneath everything: how a process starts, and how the loop turns."""
    beneath = ("<frozen", "benchmarks/profiled_service", "asyncio/runners", "asyncio/base_events", "asyncio/events")
    return {name: seconds for name, seconds in cumulative.items() if not name.startswith(beneath)}


def profile(store: str, emails: int) -> tuple[dict[str, Any], Round]:
    """One round of the service under the sampler."""
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        out, letters = Path(name, "found.json"), write_letters(Path(name, "letters"), WARM + emails)
        one = asyncio.run(_round(store, emails, letters, out))
        return json.loads(out.read_text(encoding="utf-8")), one


async def _round(store: str, emails: int, letters: Sequence[Letter], out: Path) -> Round:
    async def go(opened: Opened) -> Round:
        contender = Contender("profiled service", ("benchmarks.profiled_service", str(out)), opened, emails)
        return await measure(contender, letters, at_gate=lambda pid: os.kill(pid, signal.SIGUSR1))

    if store == "sqlite":
        return await go(sqlite_queue)
    async with PrivateMariadb(durable=True, arguments=mail_queues.SERVER) as server:
        return await go(lambda _: mariadb_queue(server))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--emails", type=int, default=EMAILS, help=f"default: {EMAILS}")
    parser.add_argument("--store", choices=("mariadb", "sqlite"), default="mariadb")
    options = parser.parse_args()
    compile_all()
    where = report.machine(options.store)
    found, one = profile(options.store, options.emails)
    print(text(found, one, where))
    return 0


if __name__ == "__main__":
    sys.exit(main())
