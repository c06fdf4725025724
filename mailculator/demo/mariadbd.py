"""A MariaDB server of one's own: for the demo and for tests. It never touches one that is there already."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mailculator.errors import MailculatorError

# On Debian the server lies in /usr/sbin, which a plain user's PATH may lack.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_READY = b"ready for connections"
_PORT_TRIES = 5

_COMMON = (
    "--skip-name-resolve",
    "--skip-log-bin",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_bin",
)
_DURABLE = ("--innodb-flush-log-at-trx-commit=1",)
_SCRAP = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0")


class PrivateMariadb:
    """A `mariadbd` on 127.0.0.1, on a free port and a socket, with data in a directory of its own, run by this user.

    `async with PrivateMariadb() as server` starts it and ends with `close`. Between the two, `stop`, `kill` and
    `restart` end it and bring it back on the same data and port.

    Arguments:
        directory: where its data, socket and log live; data that is there already is used again. None makes a short
            temporary one (a socket's path may have 107 bytes at most), which `close` removes.
        arguments: more options for mariadbd, e.g. `--default-time-zone=+02:00`.
        durable: False trades safety from power cuts for speed; True is what a benchmark or a demo must show.
        timeout: seconds that the installation, the start and the stop may each take.
    """

    host = "127.0.0.1"
    user = "root"
    password = ""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        arguments: Sequence[str] = (),
        durable: bool = False,
        timeout: float = 60.0,
    ) -> None:
        self.port = 0
        self._temporary = directory is None
        self.directory = directory if directory is not None else Path(tempfile.mkdtemp(prefix="mdb-"))
        if self._temporary:
            # Whoever forgets `close` still leaves no 50 MB behind.
            weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        self.socket = self.directory / "s.sock"
        self._options = (*_COMMON, *(_DURABLE if durable else _SCRAP), *arguments)
        self._durable = durable
        self._timeout = timeout
        self._process: asyncio.subprocess.Process | None = None
        self._log: deque[str] = deque(maxlen=20)
        self._reader: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the server's process lives (it may be paused)."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The server's process id. MailculatorError when it is not running."""
        return self._live().pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Make the data directory if there is none, start the server and wait until it takes connections.

        Errors: MailculatorError when MariaDB is not installed, or does not come up; with its own last words.
        """
        if self.running:
            return
        server, installer = _program("mariadbd"), _program("mariadb-install-db")
        data = self.directory / "data"
        if not data.is_dir():
            # Under another name until it is whole: one that was cut short is no database.
            half = self.directory / "data.half"
            shutil.rmtree(half, ignore_errors=True)
            await self._install(installer, half)
            half.rename(data)
        if self.port:
            await self._launch(server, data)
        else:
            await self._launch_on_free_port(server, data)

    async def stop(self) -> None:
        """End it in an orderly way (SIGTERM; about 2 s). The data stays."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a crash would (SIGKILL). The data stays."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """Start it again on the same data and port; a running one is stopped first."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers. Returns when its last thread stands still."""
        self._live().send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """End `pause`."""
        self._live().send_signal(signal.SIGCONT)

    async def close(self) -> None:
        """End it and remove the temporary directory. Data that nobody keeps needs no orderly stop."""
        if self._temporary:
            await self.kill()
            await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)
        else:
            await self.stop()

    def _live(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            raise MailculatorError("the private mariadbd is not running")
        return self._process

    async def _install(self, installer: str, data: Path) -> None:
        command = [installer, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
        command += ["--skip-test-db", "--innodb-log-file-size=16M", *_as_user()]
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(self._timeout):
                output, _ = await process.communicate()
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(error, TimeoutError):
                raise MailculatorError(f"mariadb-install-db did not end within {self._timeout:g} s") from error
            raise
        if process.returncode != 0:
            # A page of advice surrounds the lines that matter.
            lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
            words = [line for line in lines if "ERROR" in line] or lines[:20]
            raise MailculatorError(f"mariadb-install-db failed ({process.returncode}): {' | '.join(words)}")

    async def _launch_on_free_port(self, server: str, data: Path) -> None:
        for attempt in range(1, _PORT_TRIES + 1):
            self.port = _free_port()
            try:
                await self._launch(server, data)
            except MailculatorError:
                # Another process may take the port between our look and mariadbd's bind.
                if attempt == _PORT_TRIES or not any("Bind on TCP/IP port" in line for line in self._log):
                    raise
            else:
                return

    async def _launch(self, server: str, data: Path) -> None:
        self._log.clear()
        self._process = await asyncio.create_subprocess_exec(
            server,
            "--no-defaults",
            *_as_user(),
            f"--datadir={data}",
            f"--socket={self.socket}",
            # A starting mariadbd removes every temporary table it finds, those of its neighbours in /tmp as well.
            f"--tmpdir={self.directory}",
            f"--pid-file={self.directory / 'pid'}",
            f"--port={self.port}",
            f"--bind-address={self.host}",
            *self._options,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal goes to the whole group: the demo stops its server itself, when it has drained.
            start_new_session=True,
        )
        ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read_log(self._process, ready), name="private mariadbd log")
        try:
            async with asyncio.timeout(self._timeout):
                await ready.wait()
        except BaseException as error:
            await self.kill()
            if isinstance(error, TimeoutError):
                raise MailculatorError(f"mariadbd did not start within {self._timeout:g} s: {self._words()}") from error
            raise
        if not any(_READY.decode() in line for line in self._log):
            await self._end(signal.SIGKILL)
            raise MailculatorError(f"mariadbd ended at its start: {self._words()}")

    async def _read_log(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        """Follow its log: the line that says it listens, and its last words if it dies. Sets `ready` for both."""
        assert process.stderr is not None  # noqa: S101  # asked for as a pipe
        try:
            while line := await process.stderr.readline():
                self._log.append(line.decode(errors="replace").strip())
                if _READY in line:
                    ready.set()
        finally:
            ready.set()

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        reader, self._reader = self._reader, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(self._timeout):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if reader is not None:
            await reader

    def _environment(self) -> dict[str, str]:
        """With a TMPDIR of its own: at its start mariadbd deletes what other servers keep in the one they share."""
        scratch = self.directory / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        return {**os.environ, "TMPDIR": str(scratch)}

    def _words(self) -> str:
        return " | ".join(self._log) or "it said nothing"


def _program(name: str) -> str:
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise MailculatorError(f"{name} is not installed; on Debian or Ubuntu: apt-get install mariadb-server")
    return path


def _as_user() -> tuple[str, ...]:
    """MariaDB refuses to run as root unless told so by name."""
    return ("--user=root",) if os.geteuid() == 0 else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
