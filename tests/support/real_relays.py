"""SMTP servers that others wrote: Postfix's smtp-sink, and aiosmtpd. Each keeps the mails it took, octet for octet."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from mailculator.clock import SystemClock

NOBODY = "nobody@refused.example"
"""A recipient that the aiosmtpd relay refuses for good."""


@dataclass(frozen=True)
class Delivered:
    """One mail as the server took it: the envelope, and the message with CRLF line ends."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Relay(Protocol):
    """A running server."""

    port: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def delivered(self) -> list[Delivered]:
        """What it has taken."""


class PostfixSink:
    """smtp-sink, dumping each mail transaction into a file of its own (smtp-sink(1), DUMP FILE FORMAT)."""

    TRIES = 200

    def __init__(self) -> None:
        self.port = 0
        self._directory = tempfile.TemporaryDirectory(prefix="mailculator-smtp-sink-")
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        program = shutil.which("smtp-sink", path="/usr/sbin:/usr/libexec/postfix:/usr/bin")
        assert program is not None, "smtp-sink is not installed (Debian: postfix)"
        self.port = _free_port()
        self._process = await asyncio.create_subprocess_exec(
            program,
            *("-u", pwd.getpwuid(os.getuid()).pw_name),
            *("-d", f"{self._directory.name}/mail."),
            *("-h", "relay.test", f"127.0.0.1:{self.port}", "100"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await self._until_it_listens(self._process)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._directory.cleanup()

    def delivered(self) -> list[Delivered]:
        return [_parse_dump(path.read_bytes()) for path in sorted(Path(self._directory.name).iterdir())]

    async def _until_it_listens(self, process: asyncio.subprocess.Process) -> None:
        # It says nothing when it is ready, so it is asked, until it answers or has ended.
        ended = asyncio.Event()
        watch = asyncio.create_task(process.wait())
        watch.add_done_callback(lambda _: ended.set())
        for _ in range(self.TRIES):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                assert not await SystemClock().wait(ended, 0.02), f"smtp-sink ended: {process.returncode}"
            else:
                writer.close()
                await writer.wait_closed()
                return
        raise AssertionError("smtp-sink does not listen")


class AiosmtpdRelay:
    """aiosmtpd on a socket of its own; refuses NOBODY."""

    def __init__(self) -> None:
        self.port = 0
        self._handler = _Keep()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self._handler, hostname="relay.test", loop=loop), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def delivered(self) -> list[Delivered]:
        return list(self._handler.kept)


@dataclass
class _Keep:
    kept: list[Delivered] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == NOBODY:
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content
        assert isinstance(content, bytes)
        self.kept.append(Delivered(envelope.mail_from or "", tuple(envelope.rcpt_tos), content))
        return "250 2.0.0 Ok"


def _parse_dump(dump: bytes) -> Delivered:
    """smtp-sink writes the envelope as X- headers, adds a Received header, and ends lines with a bare LF."""
    head, received, rest = re.split(rb"^(Received: .*\n(?:\t.*\n)+)", dump, maxsplit=1, flags=re.MULTILINE)
    assert received
    arguments = re.findall(rb"^X-(Mail|Rcpt)-Args: <([^>]*)>", head, re.MULTILINE)
    senders = [path.decode() for kind, path in arguments if kind == b"Mail"]
    recipients = tuple(path.decode() for kind, path in arguments if kind == b"Rcpt")
    (sender,) = senders
    # A line of its own ends each dump.
    return Delivered(sender, recipients, rest.removesuffix(b"\n").replace(b"\n", b"\r\n"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
