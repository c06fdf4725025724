"""Procrastinate with PostgreSQL: three jobs an email, each enqueues the next. It runs in the peers' own environment.

    python -m benchmarks.peer_procrastinate schema    makes its tables
    python -m benchmarks.peer_procrastinate work N    runs a worker that does so many jobs at once, until SIGTERM
    python -m benchmarks.peer_procrastinate FILE      enqueues the ids in FILE, in one transaction

Tuned by its guide (procrastinate.readthedocs.io, "Launch a worker"): several jobs at once in each worker, blocking ones
in threads; finished jobs are deleted; the worker hears of new ones by LISTEN.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]  # only in the peers' environment

from benchmarks import peer_steps

app = App(connector=PsycopgConnector(conninfo=os.environ["PEER_DATABASE"], min_size=2, max_size=8))


async def intake(email_id: str) -> None:
    await asyncio.to_thread(peer_steps.intake, email_id)
    await app.configure_task("send").defer_async(email_id=email_id)


async def send(email_id: str) -> None:
    await asyncio.to_thread(peer_steps.send, email_id)
    await app.configure_task("call_back").defer_async(email_id=email_id)


async def call_back(email_id: str) -> None:
    await asyncio.to_thread(peer_steps.call_back, email_id)


for step in (intake, send, call_back):
    app.task(name=step.__name__)(step)


async def main(what: str, *more: str) -> None:
    async with app.open_async():
        if what == "schema":
            await app.schema_manager.apply_schema_async()
        elif what == "work":
            await app.run_worker_async(concurrency=int(more[0]), delete_jobs="successful", fetch_job_polling_interval=1)
        else:
            ids = (await asyncio.to_thread(Path(what).read_text, "utf-8")).split()
            await app.configure_task("intake").batch_defer_async(*({"email_id": email_id} for email_id in ids))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
