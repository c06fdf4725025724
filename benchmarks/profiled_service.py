"""`mailculator run` with a sampler beside it: SIGUSR1 starts and stops that, and it writes what it found at its end.

python -m benchmarks.profiled_service FILE
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.base_events import BaseEventLoop
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]  # to count its writes
from pathlib import Path

from benchmarks.sampler import Sampler, by_part, cumulative, own
from mailculator import config, log, message, payload
from mailculator.app import Service
from mailculator.cli.service import heed_signals, spare_the_collector
from mailculator.journal.scribe import Scribe
from mailculator.journal.segments import Segments
from mailculator.pipelines import files
from mailculator.pipelines.threads import Threads
from mailculator.stores.mariadb_connection import Connection
from mailculator.stores.watched import WatchedStore

PARTS = (
    ("structlog/", "log"),
    ("mailculator/log", "log"),
    ("prometheus_client/", "metrics"),
    ("mailculator/metric", "metrics"),
    ("mailculator/web/", "metrics"),
    ("mailculator/stores/mariadb_claim", "claim"),
    ("mailculator/stores/mariadb_reservations", "claim"),
    ("mailculator/stores/mariadb_duplicates", "claim"),
    ("mailculator/stores/mariadb_moves", "record"),
    ("mailculator/stores/mariadb_recording", "record"),
    ("mailculator/stores/mariadb_renewal", "leases"),
    ("mailculator/stores/sqlite_claims", "claim"),
    ("mailculator/stores/sqlite_moves", "record"),
    ("mailculator/pipelines/leases", "leases"),
    ("mailculator/journal/", "journal, on the loop"),
    ("mailculator/transport/smtp", "SMTP"),
    ("mailculator/transport/outgoing", "SMTP"),
    ("mailculator/transport/callback_format", "callback"),
    ("mailculator/transport/webhook", "callback"),
    ("mailculator/pipelines/callback", "callback"),
    ("aiohttp/", "callback"),
    ("mailculator/pipelines/threads", "hand-over to threads"),
    ("concurrent/futures/", "hand-over to threads"),
    ("mailculator/pipelines/recorder", "recorder, moves, events"),
    ("mailculator/lifecycle", "recorder, moves, events"),
    ("mailculator/events", "recorder, moves, events"),
    ("mailculator/pipelines/sender", "sender, around SMTP"),
    ("mailculator/pipelines/composing", "sender, around SMTP"),
    ("mailculator/pipelines/attempt", "sender, around SMTP"),
    ("mailculator/pipelines/budget", "sender, around SMTP"),
    ("mailculator/transport/rate", "sender, around SMTP"),
    ("mailculator/pipelines/breaker", "breakers"),
    ("mailculator/pipelines/intake", "intake, on the loop"),
    ("mailculator/pipelines/runner", "runner"),
    ("mailculator/pipelines/headway", "runner"),
    ("mailculator/pipelines/solitude", "runner"),
)
"""Whose work it is, by the innermost of these on the stack."""

SHARED = (
    ("mailculator/stores/", "store, the rest"),
    ("aiomysql/", "store, the rest"),
    ("pymysql/", "store, the rest"),
    ("mailculator/pipelines/", "runner"),
)


async def serve(sampler: Sampler) -> int:
    """As `mailculator run`."""
    settings = config.load()
    log.configure(settings)
    service = Service(settings, observer=log.LogObserver(settings))
    heed_signals(service, settings)
    spare_the_collector()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, sampler.toggle)
    return await service.run()


def watch(sampler: Sampler) -> None:
    """What runs in threads."""
    for owner, name in (
        (files, "read_payload"),
        (files, "check_attachments"),
        (files, "open_attachments"),
        (payload, "parse"),
        (message, "render"),
        (Segments, "write"),
        (Threads, "_call"),
    ):
        sampler.watch(owner, name)


def count(sampler: Sampler) -> None:
    """What costs by the piece: transactions, statements, marks, system calls, tasks, timers, turns of the loop."""
    for owner, names in (
        (WatchedStore, ("claim", "record", "renew")),
        (Connection, ("execute",)),
        (Scribe, ("put",)),
        (_SelectorSocketTransport, ("write", "_read_ready")),
        (BaseEventLoop, ("create_task", "call_at", "call_soon", "call_soon_threadsafe", "_run_once")),
    ):
        for name in names:
            sampler.count(owner, name)


def found(sampler: Sampler) -> dict[str, object]:
    """All of it, in seconds, as JSON can hold it."""
    jobs = {f"{group}: {name}": seconds for (group, name), seconds in sampler.jobs.items()}
    calls = {f"{group}: {name}": count for (group, name), count in sampler.calls.items()}
    return {
        "process": sampler.process,
        "threads": dict(sampler.threads),
        "jobs": jobs,
        "calls": calls,
        "counts": dict(sampler.counts),
        "own": dict(own(sampler.stacks)),
        "cumulative": dict(cumulative(sampler.stacks)),
        "parts": dict(by_part(sampler.stacks, PARTS, SHARED)),
    }


def main() -> None:
    target = Path(sys.argv[1])
    sampler = Sampler()
    watch(sampler)
    count(sampler)
    code = asyncio.run(serve(sampler))
    target.write_text(json.dumps(found(sampler)), encoding="utf-8")
    sys.stdout.flush()
    os._exit(code)  # as the service ends: no thread keeps it


if __name__ == "__main__":
    main()
