"""Celery with Redis: the three steps as a chain of tasks. It runs in the peers' own environment.

    celery --app benchmarks.peer_celery worker …
    python -m benchmarks.peer_celery pause|resume|FILE     pause and resume the workers; enqueue the ids in FILE

Tuned by Celery's guide (docs.celeryq.dev, Optimizing): tasks are acknowledged late and reserved one at a time, as it
says for tasks that must not be lost; results, which nobody reads, are not kept.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery, chain  # type: ignore[import-not-found]  # only in the peers' environment

from benchmarks import peer_steps

QUEUE = "celery"
SETTINGS = {
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "task_ignore_result": True,
    "worker_send_task_events": False,
    "worker_disable_rate_limits": True,
    "broker_connection_retry_on_startup": True,
}

app = Celery("peer", broker=os.environ["PEER_BROKER"])
app.conf.update(SETTINGS)
intake = app.task(peer_steps.intake, name="intake")
send = app.task(peer_steps.send, name="send")
call_back = app.task(peer_steps.call_back, name="call_back")


def enqueue(email_ids: list[str]) -> None:
    """One chain an email, over one connection."""
    with app.producer_or_acquire() as producer:
        for email_id in email_ids:
            chain(intake.si(email_id), send.si(email_id), call_back.si(email_id)).apply_async(producer=producer)


def main(what: str) -> None:
    if what in {"pause", "resume"}:
        change = app.control.cancel_consumer if what == "pause" else app.control.add_consumer
        if not change(QUEUE, reply=True, timeout=30, limit=1):
            raise SystemExit("no worker answers")
    else:
        enqueue(Path(what).read_text(encoding="utf-8").split())


if __name__ == "__main__":
    main(sys.argv[1])
