"""A local SMTP server that keeps each mail as an .eml file and refuses whom it is told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

REFUSED_DOMAIN = "refused.example"
"""Recipients there do not exist, says the sink."""

GREYLISTED_DOMAIN = "greylisted.example"
"""Recipients there are deferred at their first try."""


class _Handler:
    """What the sink says to each command; aiosmtpd calls these by name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: set[str] = set()
        self.count = 0

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        domain = address.rpartition("@")[2]
        if domain == REFUSED_DOMAIN:
            return f"550 5.1.1 <{address}>: no such user here"
        if domain == GREYLISTED_DOMAIN and address not in self._seen:
            self._seen.add(address)
            return "451 4.7.1 Greylisted, please try again"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.count += 1
        name = f"{self.count:05}.eml"
        await asyncio.to_thread((self._directory / name).write_bytes, envelope.original_content or b"")
        return f"250 2.0.0 Ok: kept as {name}"


class Sink:
    """The server, on a free port of 127.0.0.1.

    Arguments:
        directory: where the mails go, one file each, in the order of their arrival.
    """

    def __init__(self, directory: Path) -> None:
        self._handler = _Handler(directory)
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def count(self) -> int:
        """Mails kept."""
        return self._handler.count

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self._handler, hostname="sink.localhost", ident="mailculator demo", loop=loop),
            host="127.0.0.1",
            port=0,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
