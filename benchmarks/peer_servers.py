"""What the peers need beside themselves: an environment with their packages, private servers in temporary directories.

Nothing that runs on this machine already is used or touched.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from benchmarks.mail_parts import PATIENCE
from benchmarks.report import ROOT
from tools.environments import environment

REQUIREMENTS = ROOT / "benchmarks" / "peers-requirements.txt"
PACKAGES: Mapping[str, str] = {
    "redis-server": "redis-server",
    "initdb": "postgresql",
    "postfix": "postfix",
    "smtp-source": "postfix",
    "smtp-sink": "postfix",
    "mariadbd": "mariadb-server",
}
"""Debian's package of each program."""

POSTFIX: Mapping[str, str] = {
    "in_flow_delay": "0",
    "default_process_limit": "100",
    "initial_destination_concurrency": "20",
    "smtp_destination_concurrency_limit": "50",
    "smtp_connection_cache_on_demand": "yes",
    "smtpd_client_connection_count_limit": "0",
    "smtp_dns_support_level": "disabled",
}
"""By its TUNING_README: no pause at the input, more deliveries at once, connections used again, no DNS."""
REDIS = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
POSTGRES = ("shared_buffers=256MB", "synchronous_commit=on", "max_connections=100")

_SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def program(name: str) -> str | None:
    """Where it lies; Debian keeps PostgreSQL's out of the PATH."""
    versions = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *versions]))


def missing(names: Sequence[str]) -> list[str]:
    """Debian packages to install for these programs."""
    return sorted({PACKAGES[name] for name in names if program(name) is None})


def interpreter() -> Path:
    """The peers' own Python, with their packages."""
    return environment("peers", REQUIREMENTS) / "python"


@asynccontextmanager
async def started(
    command: Sequence[str], variables: Mapping[str, str], log: Path, *, user: str | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with its output in a file, ended at the end of the block.

    Arguments:
        user: whom to be; None = who we are.
    """
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(variables), stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=user
        )
    try:
        yield process
    except TimeoutError as error:
        raise SystemExit(f"{command[0]} did not come to the end; its last words: {_tail(log)}") from error
    finally:
        if process.returncode is None:
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE / 10)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(command: Sequence[str], variables: Mapping[str, str], log: Path, *, user: str | None = None) -> None:
    """Until it has ended. SystemExit when it failed."""
    async with started(command, variables, log, user=user) as process, asyncio.timeout(PATIENCE):
        if await process.wait() != 0:
            raise SystemExit(f"{' '.join(command)} failed: {_tail(log)}")


@asynccontextmanager
async def redis() -> AsyncIterator[int]:
    """A server with an append-only file; its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        command = [str(program("redis-server")), "--port", str(port), "--bind", "127.0.0.1", "--dir", name, *REDIS]
        async with started(command, os.environ, Path(name, "log.txt")):
            await listens(port)
            yield port


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """A new cluster; its address. As root it is run by the user that Debian's package made, since it refuses root."""
    port, user = free_port(), "postgres" if os.geteuid() == 0 else None
    initdb = str(program("initdb"))
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        if user is not None:
            shutil.chown(name, user)
        data, log = Path(name, "data"), Path(name, "log.txt")
        await run([initdb, "-D", str(data), "-U", "postgres", "-A", "trust"], os.environ, log, user=user)
        settings = [f"-c{one}" for one in (*POSTGRES, "listen_addresses=127.0.0.1")]
        command = [str(Path(initdb).with_name("postgres")), "-D", str(data), "-k", name, "-p", str(port), *settings]
        async with started(command, os.environ, log, user=user):
            await listens(port)
            yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres"


@asynccontextmanager
async def postfix(sink: int) -> AsyncIterator[int]:
    """An instance that relays everything to that port of this machine; the port where it takes mail. Root alone may."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postfix-") as name:
        base = Path(name)
        _configure(base, port, sink)
        command, log = [str(program("postfix")), "-c", str(base / "conf")], base / "log.txt"
        await run([*command, "start"], os.environ, log)
        try:
            await listens(port)
            yield port
        finally:
            await run([*command, "stop"], os.environ, log)


def _configure(base: Path, port: int, sink: int) -> None:
    base.chmod(0o755)
    for part in ("conf", "queue", "data"):
        (base / part).mkdir()
    shutil.chown(base / "data", "postfix")
    (base / "conf" / "main.cf").write_text(main_cf(base, sink))
    (base / "conf" / "master.cf").write_text(f"127.0.0.1:{port} inet n - n - - smtpd\n{_SERVICES}")


def main_cf(base: Path, sink: int) -> str:
    """What it is told, the tuning at the end."""
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": str(base / "queue"),
        "data_directory": str(base / "data"),
        "maillog_file": str(base / "mail.log"),
        "maillog_file_prefixes": str(base),
        "myhostname": "peer.example.com",
        "mydestination": "",
        "alias_maps": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "relayhost": f"[127.0.0.1]:{sink}",
        **POSTFIX,
    }
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


async def listens(port: int) -> None:
    """Until something does. TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    return log.read_bytes()[-2000:].decode("utf-8", "replace")
