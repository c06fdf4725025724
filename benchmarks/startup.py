"""How soon is it there, and how much room does it take?

    python -m benchmarks.startup            measures, and writes the figures into docs/performance.md
    python -m benchmarks.startup --check    measures, and fails when a figure is over three times its target

- `mailculator --help`: from the process's start to its end.
- First claim: from the process's start to its claim of an email that was waiting, on SQLite, on MariaDB, and on an
  emulator of DynamoDB: moto, or what DYNAMODB_TEST_ENDPOINT names.
- Memory at rest: resident, once that email was sent and called back and nothing is left to do.

Each is the median of several runs of a fresh process, of fewer in a check, which allows three times as much; its byte
code is compiled before, as an installation does it.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import json
import os
import re
import shutil
import signal
import statistics
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomysql

from benchmarks import report
from benchmarks.report import ROOT
from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.demo.receiver import Receiver
from mailculator.demo.sink import Sink
from mailculator.model import NewEmail
from mailculator.stores import registry
from tests.support.dynamodb_local import ENDPOINT
from tests.support.mariadb_queue import mariadb_variables
from tests.support.moto_server import KEY, REGION, shared_moto

RUNS, RUNS_OF_A_CHECK = 7, 3
TOLERANCE = 3.0
"""A figure may be so many times its target before the check fails: machines differ, and have other work."""
PATIENCE = 60.0
"""Seconds for one run; more is a fault, not a figure."""

# What the console script does: `python -m` would look for the package first.
MAILCULATOR = (sys.executable, "-c", "from mailculator.__main__ import main; main()")

Variables = dict[str, str]


@dataclass
class Figure:
    """One question, its target and what was measured."""

    name: str
    unit: str
    target: float
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def too_much(self) -> bool:
        return self.median > TOLERANCE * self.target

    def shown(self, value: float) -> str:
        return f"{value:.0f} {self.unit}" if self.unit == "MB" else f"{value:.2f} {self.unit}"


@dataclass(frozen=True)
class Queue:
    """An empty queue for each run: `fresh` gives the variables that name it, and its settings.

    Arguments:
        soon: seconds in which the first claim should have come.
    """

    name: str
    fresh: Callable[[], Awaitable[tuple[Variables, Settings]]]
    soon: float = 1.5


def environment(**variables: str) -> Variables:
    """As an operator's: byte code is used, and nothing of this machine's settings comes in."""
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return base | {"PYTHONPATH": str(ROOT)} | variables


async def measure_help(figure: Figure, runs: int) -> None:
    for _ in range(runs):
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *MAILCULATOR, "--help", env=environment(), stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            raise SystemExit("mailculator --help failed")
        figure.values.append(time.perf_counter() - started)


async def measure_run(queue: Queue, claim: Figure, memory: Figure, runs: int) -> None:
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="figures-") as name:
            async with asyncio.timeout(PATIENCE), peers(Path(name)) as variables:
                where, settings = await queue.fresh()
                await put_one(settings, Path(name))
                seconds, megabytes = await first_mail(environment(**variables, **where))
        claim.values.append(seconds)
        memory.values.append(megabytes)


async def first_mail(variables: Variables) -> tuple[float, float]:
    """Start the service on a queue with one email: seconds until it is claimed, MB when all is done."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *MAILCULATOR,
        "run",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=1 << 20,
    )
    claimed = 0.0
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            event = json.loads(line)["event"]
            if event == "mail.claimed" and not claimed:
                claimed = time.perf_counter() - started
            if event == "mail.acknowledged":
                break
        else:
            raise SystemExit("the service ended by itself")
        megabytes = resident(process.pid)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return claimed, megabytes


def resident(pid: int) -> float:
    """MB of memory that a process has resident (proc(5), VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


@asynccontextmanager
async def peers(directory: Path) -> AsyncIterator[Variables]:
    """A relay and a callback URL for the service."""
    async with AsyncExitStack() as stack:
        sink, receiver = Sink(directory), Receiver()
        for part in (sink, receiver):
            await part.start()
            stack.push_async_callback(part.stop)
        yield {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(sink.port),
            "SMTP_FROM": "bounces@example.com",
            "MAILCULATOR_SMTP_TLS": "none",
            "PIPELINE_CALLBACK_URL": f"http://127.0.0.1:{receiver.port}/callback",
            "MAILCULATOR_HTTP_PORT": "0",
            "MAILCULATOR_JOURNAL_DIR": str(directory / "journal"),
            "MAILCULATOR_LOG_LEVEL": "debug",
            "MAILCULATOR_LOG_FORMAT": "json",
        }


async def put_one(settings: Settings, directory: Path) -> None:
    """Apply the schema and enqueue one email."""
    email_id, path = str(uuid.uuid4()), directory / "payload.json"
    addresses = {"from": "a@example.com", "reply_to": "a@example.com", "to": "b@example.com"}
    path.write_text(json.dumps({"id": email_id, **addresses, "subject": "Hello", "body_text": "Hello.\n"}))
    [name] = registry.enabled(settings)
    backend = registry.backend(name)
    await backend.open_schema(settings).apply(lambda _: None)
    store = await backend.open_store(settings, service=False)
    try:
        await store.enqueue([NewEmail(email_id, str(path))])
    finally:
        await store.close()


@asynccontextmanager
async def sqlite_queue() -> AsyncIterator[Queue]:
    with tempfile.TemporaryDirectory(prefix="figures-") as name:

        async def fresh() -> tuple[Variables, Settings]:
            path = Path(name) / f"{uuid.uuid4()}.db"
            variables = {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": str(path)}
            return variables, Settings.model_validate(variables)

        yield Queue("SQLite", fresh)


@asynccontextmanager
async def mariadb_queue() -> AsyncIterator[Queue]:
    async with PrivateMariadb(durable=True) as server:

        async def fresh() -> tuple[Variables, Settings]:
            database = f"figures_{uuid.uuid4().hex}"
            connection = await aiomysql.connect(host=server.host, port=server.port, user=server.user)
            await connection.query(f"CREATE DATABASE {database}")
            connection.close()
            variables = {name: str(value) for name, value in mariadb_variables(server, database).items()}
            return variables, Settings.model_validate(variables)

        yield Queue("MariaDB", fresh)


@asynccontextmanager
async def dynamodb_queue() -> AsyncIterator[Queue]:
    async with AsyncExitStack() as stack:
        url = os.environ.get(ENDPOINT)
        name = "DynamoDB Local" if url else "DynamoDB (moto)"
        url = url or (await stack.enter_async_context(shared_moto())).endpoint

        async def fresh() -> tuple[Variables, Settings]:
            variables = {
                "DYNAMODB_PIPELINES_ENABLED": "true",
                "EMAIL_OUTBOX_TABLE": f"figures-{uuid.uuid4().hex}",
                "AWS_BASE_ENDPOINT": url,
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": KEY,
            }
            return variables, Settings.model_validate(variables)

        yield Queue(name, fresh, soon=2.5)


async def measure(runs: int) -> list[Figure]:
    help_ = Figure("`mailculator --help`", "s", 0.3)
    figures = [help_]
    await measure_help(help_, runs)
    for opened in (sqlite_queue, mariadb_queue, dynamodb_queue):
        async with opened() as queue:
            claim = Figure(f"start to first claim, {queue.name}", "s", queue.soon)
            memory = Figure(f"resident memory at rest, {queue.name}", "MB", 120.0)
            await measure_run(queue, claim, memory, runs)
        figures += [claim, memory]
    return figures


def compile_all() -> None:
    """As pip does when it installs: without byte code every start compiles the libraries anew."""
    sys.dont_write_bytecode = False
    for directory in (ROOT / "mailculator", Path(sysconfig.get_paths()["purelib"])):
        compileall.compile_dir(directory, quiet=2, workers=0)


def need_mariadbd() -> None:
    """Errors: SystemExit, with what is to be installed."""
    # It lies in /usr/sbin, which a plain user's PATH may lack.
    if shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        raise SystemExit("mariadbd is missing: apt-get install mariadb-server")


def table(figures: Sequence[Figure]) -> str:
    lines = ["| | median | from … to | target |", "|---|---:|---:|---:|"]
    for one in figures:
        least, most = one.shown(min(one.values)), one.shown(max(one.values))
        lines.append(f"| {one.name} | {one.shown(one.median)} | {least} … {most} | {one.target:g} {one.unit} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail at three times a target")
    options = parser.parse_args()
    need_mariadbd()
    compile_all()
    runs = RUNS_OF_A_CHECK if options.check else RUNS
    where = report.machine(f"{runs} runs each")
    figures = asyncio.run(measure(runs))
    print(where, table(figures), sep="\n\n")
    if not options.check:
        report.write("startup", f"{where}\n\n{table(figures)}")
        return 0
    for one in figures:
        if one.too_much:
            print(f"{one.name}: {one.shown(one.median)} is over {TOLERANCE:g} times the target", file=sys.stderr)
    return int(any(one.too_much for one in figures))


if __name__ == "__main__":
    sys.exit(main())
