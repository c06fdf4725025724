"""The demo itself: everything embedded, in a directory of its own, and no setting taken from the environment."""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import SecretStr

from mailculator import log
from mailculator.app import Service
from mailculator.config import Settings
from mailculator.demo import samples
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.demo.receiver import Receiver
from mailculator.demo.report import Report
from mailculator.demo.samples import Sample
from mailculator.demo.sink import Sink
from mailculator.demo.tracker import Tracker
from mailculator.errors import MailculatorError
from mailculator.events import fan_out
from mailculator.model import NewEmail
from mailculator.stores import registry

ENQUEUE_BATCH = 500
TIME_SCALE = 0.1
"""The demo's retries are due after seconds, not after half a minute."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for.

    Arguments:
        until_done: end when every sample has ended, instead of serving until a signal comes.
        store: sqlite or mysql.
        directory: None makes a new temporary one; any other is not there yet, or is empty.
    """

    count: int
    until_done: bool
    as_json: bool
    store: str
    directory: Path | None


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is set up for one run."""

    settings: Settings
    written: Sequence[Sample]
    tracker: Tracker
    service: Service
    sink: Sink
    receiver: Receiver


def is_taken(directory: Path) -> bool:
    """Whether something is there already: a former demo's mail, or somebody's queue, which a demo must not touch."""
    try:
        return any(directory.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


async def show(options: Options) -> int:
    """Run the demo until it is done, or until SIGTERM or SIGINT.

    Returns the exit code: 1 when a sample ended otherwise than it should, or when a run until the end was cut short.
    Errors: MailculatorError, when the directory cannot be made, or when MariaDB is asked for and not installed.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    directory = await asyncio.to_thread(_make, options.directory)
    report = Report(directory, as_json=options.as_json)
    async with AsyncExitStack() as stack:
        report.begin(options.count, options.store)
        stage = await _unless(stopped, _set_up(options, directory, stack))
        if stage is None:
            return int(options.until_done)
        return await _perform(options, stage, report, stopped)


async def _perform(options: Options, stage: Stage, report: Report, stopped: asyncio.Event) -> int:
    task = asyncio.create_task(stage.service.run(), name="service")
    task.add_done_callback(lambda _: stopped.set())
    started = time.monotonic()
    try:
        await _unless(stopped, _enqueue(stage))
        await _follow(stage.tracker, stopped, report)
        if task.done():
            return await task or 1  # it ended by itself, with the reason as its error or in its log
        cut_short = not stage.tracker.done.is_set()
        good = report.end(
            stage.tracker,
            stage.written,
            seconds=time.monotonic() - started,
            mails=stage.sink.count,
            callbacks=sum(stage.receiver.codes.values()),
        )
        if not options.until_done and not cut_short:
            report.say("\nThe service goes on; Ctrl-C ends it.")
            await stopped.wait()
    finally:
        stage.service.stop()
        code = await task
    return code or int(options.until_done if cut_short else not good)


async def _set_up(options: Options, directory: Path, stack: AsyncExitStack) -> Stage:
    mails, payloads, attachments = directory / "mails", directory / "payloads", directory / "attachments"
    mails.mkdir()
    written = await asyncio.to_thread(samples.write, payloads, attachments, options.count, random.Random())
    sink, receiver = Sink(mails), Receiver(directory / "callbacks.jsonl")
    for part in (sink, receiver):
        await part.start()
        stack.push_async_callback(part.stop)
    store: dict[str, Any] = {"sqlite_pipelines_enabled": True, "sqlite_path": directory / "queue.db"}
    if options.store == "mysql":
        store = await _private_mariadb(stack)
    settings = Settings(
        smtp_host="127.0.0.1",
        smtp_port=sink.port,
        smtp_tls="none",
        smtp_from="bounces@example.com",
        message_id_domain="example.com",
        callback_url=f"http://127.0.0.1:{receiver.port}/callback",
        attachments_base_path=attachments,
        journal_dir=directory / "journal",
        http_port=0,
        admin_port=0,
        time_scale=TIME_SCALE,
        log_format="json",
        **store,
    )
    await registry.backend(options.store).open_schema(settings).apply(lambda step: None)
    stream: TextIO = await asyncio.to_thread((directory / "service.log").open, "a", encoding="utf-8")
    stack.callback(stream.close)
    log.configure(settings, stream=stream)
    tracker = Tracker([sample.id for sample in written])
    service = Service(settings, observer=fan_out(log.LogObserver(settings), tracker))
    return Stage(settings, written, tracker, service, sink, receiver)


async def _private_mariadb(stack: AsyncExitStack) -> dict[str, Any]:
    """A server of the demo's own, in a short temporary directory: a socket's path may have 107 bytes at most."""
    import aiomysql  # the SQLite demo does without it

    server = await stack.enter_async_context(PrivateMariadb(durable=True))
    connection = await aiomysql.connect(host=server.host, port=server.port, user=server.user, password=server.password)
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


async def _follow(tracker: Tracker, stopped: asyncio.Event, report: Report) -> None:
    """Show progress until every sample has ended, or the demo is stopped."""
    ends = [asyncio.create_task(event.wait()) for event in (tracker.done, stopped)]
    try:
        with report.progress(len(tracker.status)) as (every, update):
            ended: set[asyncio.Task[bool]] = set()
            while not ended:
                ended, _ = await asyncio.wait(ends, timeout=every, return_when=asyncio.FIRST_COMPLETED)
                update(tracker.ended)
    finally:
        for end in ends:
            end.cancel()


async def _unless(stopped: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result; None when the demo is stopped before there is one, and then the work is cancelled."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stop.cancel()
        await asyncio.wait({task, stop})


def _make(directory: Path | None) -> Path:
    """The demo's directory. Errors: MailculatorError in words."""
    try:
        if directory is None:
            return Path(tempfile.mkdtemp(prefix="mailculator-demo-"))
        directory.mkdir(parents=True, exist_ok=True)
        return directory.absolute()
    except OSError as error:
        raise MailculatorError(f"the demo's directory cannot be made: {error.strerror}: {error.filename}") from error
