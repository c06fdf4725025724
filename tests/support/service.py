"""The service as operators run it: a process of its own, steered by its environment, read by its log."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Line = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


_JOURNALS = Path(tempfile.mkdtemp(prefix="journals-"))
atexit.register(shutil.rmtree, _JOURNALS, ignore_errors=True)
_QUEUE = ("MYSQL_DATABASE", "SQLITE_PATH", "EMAIL_OUTBOX_TABLE")


def journal_of(variables: Mapping[str, object]) -> Path:
    """The journals of all replicas on a queue: each finds those of the others, and no other queue's."""
    name = "-".join(str(variables[one]) for one in _QUEUE if one in variables)
    return Path(_JOURNALS, hashlib.sha256(name.encode()).hexdigest()[:16])


def environment(**variables: object) -> dict[str, str]:
    """An environment that holds what a process needs, the variables given, and nothing else of this machine's."""
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    base |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error::RuntimeWarning"}
    base["MAILCULATOR_JOURNAL_DIR"] = str(journal_of(variables))
    return base | {name: str(value) for name, value in variables.items()}


class ServiceProcess:
    """`mailculator run`. `expect` waits for lines of its log; leaving the block kills it if it still runs.

    Arguments:
        variables: its settings; its ports are free ones unless they say otherwise.
        module: run instead of the service's own.
    """

    def __init__(self, variables: Mapping[str, object], *, module: str = "mailculator") -> None:
        self._module = module
        self._environment = environment(
            **{
                "MAILCULATOR_HTTP_PORT": 0,
                "MAILCULATOR_ADMIN_PORT": 0,
                "MAILCULATOR_LOG_FORMAT": "json",
                **variables,
            },
        )
        self.lines: list[Line] = []
        self.errors = ""
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.wait()
        if error is not None:
            error.add_note(f"the service's last lines: {self.lines[-8:]}\n{self.errors[-2000:]}")

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        """The health port, once `service.started` has been logged."""
        return next(int(line["http_port"]) for line in self.lines if line["event"] == "service.started")

    @property
    def admin_port(self) -> int:
        """The page's port, once `service.started` has been logged."""
        return next(int(line["admin_port"]) for line in self.lines if line["event"] == "service.started")

    async def start(self, *, until_started: bool = True) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            "run",
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        self._readers = [asyncio.create_task(self._read_log()), asyncio.create_task(self._read_errors())]
        for reader in self._readers:
            reader.add_done_callback(lambda _: self._tell())
        if until_started:
            await self.expect("service.started")

    async def expect(self, event: str, count: int = 1, where: Callable[[Line], bool] = lambda _: True) -> list[Line]:
        """Until `count` such lines have come. AssertionError when the process ends before that."""

        def matching() -> list[Line]:
            return [line for line in self.lines if line["event"] == event and where(line)]

        def settled() -> bool:
            return len(matching()) >= count or all(reader.done() for reader in self._readers)

        if not settled():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((settled, waiter))
            await waiter
        found = matching()
        assert len(found) >= count, f"{len(found)} of {count} {event}, then it ended: {self.lines[-5:]} {self.errors}"
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        """Its exit code, once it has ended and everything it said has been read."""
        code = await self.process.wait()
        await asyncio.gather(*self._readers)
        return code

    async def _read_log(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(json.loads(raw))
            self._tell()

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = (await self.process.stderr.read()).decode("utf-8", "replace")

    def _tell(self) -> None:
        for reached, waiter in self._waiters:
            if not waiter.done() and reached():
                waiter.set_result(None)


async def command(*arguments: str, environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run `mailculator ARGUMENTS…` to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mailculator",
        *arguments,
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
