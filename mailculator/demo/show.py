"""The demo itself: everything embedded, in a directory of its own, and no setting taken from the environment."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import aiomysql
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mailculator import lifecycle, log
from mailculator.app import Service
from mailculator.clock import SystemClock
from mailculator.config import Settings
from mailculator.demo import samples
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.demo.receiver import Receiver
from mailculator.demo.samples import Sample
from mailculator.demo.sink import Sink
from mailculator.events import Event, Lifetime, Moved, fan_out
from mailculator.model import NewEmail, Status
from mailculator.stores import registry

ENQUEUE_BATCH = 500
TIME_SCALE = 0.1
"""The demo's retries are due after seconds, not after half a minute."""
REPORT_EVERY = 2.0
"""Seconds between two lines of progress where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for.

    Arguments:
        store: sqlite or mysql.
        directory: None makes a new temporary one.
    """

    count: int
    until_done: bool
    as_json: bool
    store: str
    directory: Path | None


class Tracker:
    """Follows the samples through the service's events."""

    def __init__(self, written: Sequence[Sample]) -> None:
        self.done = asyncio.Event()
        self.listening = asyncio.Event()
        self.http_port = 0
        self.status = {sample.id: Status.ACCEPTED for sample in written}
        self.retries: Counter[str] = Counter()
        self._left = len(written)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Moved(email_id=email_id, to=to) if email_id in self.status:
                self.status[email_id] = to
                if event.outcome == "retry":
                    self.retries[email_id] += 1
                if to in lifecycle.TERMINAL:
                    self._left -= 1
                    if not self._left:
                        self.done.set()
            case Lifetime(name="started", fields=fields):
                self.http_port = int(dict(fields)["http_port"] or 0)
                self.listening.set()

    @property
    def ended(self) -> int:
        """Samples that stand in a terminal status."""
        return len(self.status) - self._left


async def show(options: Options) -> int:
    """Run the demo. Returns the exit code: 1 when a sample ended otherwise than it should.

    Errors: MailculatorError, when `mysql` is asked for and MariaDB is not installed.
    """
    directory = options.directory or Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="mailculator-demo-"))
    say = Console(stderr=options.as_json, highlight=False, soft_wrap=True)
    async with AsyncExitStack() as stack:
        stage = await _set_up(options, directory, stack, say)
        task = asyncio.create_task(stage.service.run(), name="service")
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        task.add_done_callback(lambda _: stopped.set())
        try:
            started = time.monotonic()
            await _enqueue(stage)
            await _follow(stage.tracker, stopped, say)
            seconds = time.monotonic() - started
            good = _report(options, stage, seconds, say)
            if not options.until_done and not stopped.is_set():
                say.print("\nThe service goes on. Stop it with Ctrl-C.")
                await stopped.wait()
        finally:
            stage.service.stop()
            code = await task
    return code or (0 if good else 1)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is set up for one run."""

    directory: Path
    settings: Settings
    written: Sequence[Sample]
    tracker: Tracker
    service: Service
    sink: Sink
    receiver: Receiver


async def _set_up(options: Options, directory: Path, stack: AsyncExitStack, say: Console) -> Stage:
    mails, payloads, attachments = directory / "mails", directory / "payloads", directory / "attachments"
    mails.mkdir(parents=True, exist_ok=True)
    written = await asyncio.to_thread(samples.write, payloads, attachments, options.count, random.Random())
    sink, receiver = Sink(mails), Receiver(directory / "callbacks.jsonl")
    for part in (sink, receiver):
        await part.start()
        stack.push_async_callback(part.stop)
    store: dict[str, Any] = {"sqlite_pipelines_enabled": True, "sqlite_path": directory / "queue.db"}
    if options.store == "mysql":
        say.print("starting a private MariaDB …")
        store = await _private_mariadb(directory, stack)
    settings = Settings(
        smtp_host="127.0.0.1",
        smtp_port=sink.port,
        smtp_tls="none",
        smtp_from="bounces@example.com",
        message_id_domain="example.com",
        callback_url=f"http://127.0.0.1:{receiver.port}/callback",
        attachments_base_path=attachments,
        http_port=0,
        time_scale=TIME_SCALE,
        log_format="json",
        **store,
    )
    await registry.backend(options.store).open_schema(settings).apply(lambda step: None)
    stream: TextIO = await asyncio.to_thread((directory / "service.log").open, "a", encoding="utf-8")
    stack.callback(stream.close)
    log.configure(settings, stream=stream)
    tracker = Tracker(written)
    service = Service(settings, observer=fan_out(log.LogObserver(settings), tracker))
    return Stage(directory, settings, written, tracker, service, sink, receiver)


async def _private_mariadb(directory: Path, stack: AsyncExitStack) -> dict[str, Any]:
    server = await stack.enter_async_context(PrivateMariadb(directory / "mariadb", durable=True))
    connection = await aiomysql.connect(host=server.host, port=server.port, user=server.user)
    try:
        await connection.query("CREATE DATABASE mailculator")
    finally:
        connection.close()
    return {
        "mysql_pipelines_enabled": True,
        "mysql_host": server.host,
        "mysql_port": server.port,
        "mysql_user": server.user,
        "mysql_password": SecretStr(server.password),
        "mysql_database": "mailculator",
    }


async def _enqueue(stage: Stage) -> None:
    """Insert the samples beside the running service, as a producer does."""
    await stage.tracker.listening.wait()
    [name] = registry.enabled(stage.settings)
    store = await registry.backend(name).open_store(stage.settings, service=False)
    try:
        for start in range(0, len(stage.written), ENQUEUE_BATCH):
            batch = stage.written[start : start + ENQUEUE_BATCH]
            await store.enqueue([NewEmail(sample.id, str(sample.path)) for sample in batch])
    finally:
        await store.close()


async def _follow(tracker: Tracker, stopped: asyncio.Event, say: Console) -> None:
    """Show progress until every sample has ended, or the demo is stopped."""
    either = asyncio.Event()
    watchers = [asyncio.create_task(_set_after(event, either)) for event in (tracker.done, stopped)]
    try:
        async with _progress(len(tracker.status), say) as (every, update):
            while not await SystemClock().wait(either, every):
                update(tracker.ended)
            update(tracker.ended)
    finally:
        for watcher in watchers:
            watcher.cancel()


async def _set_after(event: asyncio.Event, then: asyncio.Event) -> None:
    await event.wait()
    then.set()


@asynccontextmanager
async def _progress(total: int, say: Console) -> AsyncIterator[tuple[float, Callable[[int], None]]]:
    """How often to report, and whom to report to: a bar on a terminal, a line now and then elsewhere."""
    if not say.is_terminal:
        yield REPORT_EVERY, lambda ended: say.print(f"{ended} of {total} mails have ended")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=say) as progress:
        bar = progress.add_task("mails at their end", total=total)
        yield 0.1, lambda ended: progress.update(bar, completed=ended)


def _report(options: Options, stage: Stage, seconds: float, say: Console) -> bool:
    """Tell what happened. Returns whether every sample ended as it should."""
    status = stage.tracker.status
    good = all(status[sample.id] is sample.kind.ends for sample in stage.written)
    rate = stage.tracker.ended / seconds if seconds else 0.0
    if options.as_json:
        counts = Counter(status.values())
        found = {
            "counts": {name.value: counts[name] for name in Status},
            "emails": len(status),
            "seconds": round(seconds, 3),
            "emails_per_second": round(rate, 1),
            "as_expected": good,
            "directory": str(stage.directory),
        }
        print(json.dumps(found, indent=2))  # noqa: T201  # the one document
        return good
    say.print(_table(stage))
    say.print(
        f"\n{stage.tracker.ended} of {len(status)} mails ended in {seconds:.1f} s ({rate:.0f}/s); the sink took "
        f"{stage.sink.count}, the receiver {sum(stage.receiver.codes.values())} callbacks.\n"
    )
    port = stage.tracker.http_port
    for what, where in (
        ("mails", f"{stage.directory}/mails/*.eml"),
        ("callbacks", f"{stage.directory}/callbacks.jsonl"),
        ("log", f"{stage.directory}/service.log"),
        ("health", f"http://127.0.0.1:{port}/health"),
        ("metrics", f"http://127.0.0.1:{port}/metrics"),
    ):
        say.print(f"  {what:<10} {where}")
    return good


def _table(stage: Stage) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("kind of mail", "ended as", "mails", "retried"):
        table.add_column(heading, justify="right" if heading in {"mails", "retried"} else "left")
    rows: Counter[tuple[str, Status]] = Counter()
    retried: Counter[tuple[str, Status]] = Counter()
    for sample in stage.written:
        key = (sample.kind.name, stage.tracker.status[sample.id])
        rows[key] += 1
        retried[key] += stage.tracker.retries[sample.id] > 0
    expected = {kind.name: kind.ends for kind in samples.KINDS}
    for (name, status), count in rows.items():
        word = status.value if status is expected[name] else f"{status.value} (expected {expected[name].value})"
        table.add_row(name, word, str(count), str(retried[name, status] or ""))
    return table
