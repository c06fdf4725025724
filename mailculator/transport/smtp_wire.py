"""The bytes of one SMTP connection: commands, replies and the message.

A cancelled or timed-out read must never be answered later, so whoever uses a wire aborts it after any failure. Replies
are taken one by one in the order of the commands; what the relay says beyond them is noticed, not paired with the next
command. And the message leaves in pieces, with its end told apart from what precedes it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Iterable
from typing import Literal, cast

from mailculator.transport.masking import Mask
from mailculator.transport.smtp_flow import Flow
from mailculator.transport.smtp_replies import Reply, ReplyError, ReplyReader
from mailculator.transport.smtp_waiting import Waiting

Trace = Callable[[str, str], None]
"""Told of the conversation: who speaks ("C", "S", or "*" for what happens to the connection), and one line."""

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Wire(asyncio.Protocol):
    """One connection, used by one task at a time. `asyncio` makes it, its user ends it with `abort`.

    Arguments:
        trace: told of every line, secrets and message left out.
        mask: takes our secrets out of what the relay says.
    """

    def __init__(self, trace: Trace | None = None, mask: Mask | None = None) -> None:
        self._trace = trace
        self._mask = mask or Mask()
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader(self._mask)
        self._waiting = Waiting()
        self._flow = Flow(self._waiting.wake)
        self._owed = 1  # the greeting
        self._ended = False
        self._cause: Exception | None = None

    @property
    def alive(self) -> bool:
        """Whether another command may be sent: the link stands, nothing is owed and nothing was said unasked."""
        return not self._is_down() and self._owed == 0 and self._reader.silent

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link stands."""
        self._transport = cast(asyncio.Transport, transport)
        self._flow.watch(self._transport)

    def data_received(self, data: bytes) -> None:
        """The relay has said something; whoever waits takes it."""
        if not self._reader.feed(data):
            self.abort()  # nobody who means us well says so much
        self._waiting.wake()

    def eof_received(self) -> None:
        """The relay will say no more: of no use to us, though it could still listen."""
        self._ended = True
        self._waiting.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The link has ended."""
        self._ended = True
        self._cause = exc
        self._waiting.end()
        self._waiting.wake()

    def pause_writing(self) -> None:
        """Something written has not left yet."""
        self._flow.pause()

    def resume_writing(self) -> None:
        """All of it has."""
        self._flow.resume()

    # What a session calls.

    def send(self, *commands: bytes, shown: str | None = None) -> None:
        """Send commands, without their line ends, in one write; each is owed a reply.

        Arguments:
            shown: what the trace is told instead of the one command; for secrets.

        Errors: ConnectionError; ReplyError: the relay has said something unasked; ValueError: a control character.
        """
        if _CONTROL.search(b"".join(commands)):
            raise ValueError("a command has a control character")
        if not self._reader.silent:
            raise ReplyError(f"said out of turn: {self._reader.peek()}")
        if self._trace is not None:
            for command in commands:
                self.tell("C", command.decode("utf-8", "replace") if shown is None else shown)
        self._write(b"\r\n".join(commands) + b"\r\n")
        self._owed += len(commands)

    async def read_reply(self, seconds: float) -> Reply:
        """The next reply. Errors: TimeoutError, ConnectionError, ReplyError."""
        reply = self._reader.take() or await self._await_reply(seconds)
        self._owed -= 1
        if self._trace is not None:
            for line in reply.lines:
                self.tell("S", self._mask(line))
        return reply

    async def exchange(self, command: bytes, seconds: float, shown: str | None = None) -> Reply:
        """Send one command and take its reply within that many seconds. Errors: as `send` and `read_reply`."""
        self.send(command, shown=shown)
        return await self.read_reply(seconds)

    async def secure(self, context: ssl.SSLContext, hostname: str, seconds: float) -> None:
        """Go on in TLS (RFC 3207). Errors: OSError (ssl.SSLError is one), TimeoutError, ReplyError.

        What came in clear text behind the answer to STARTTLS is an injection, or a relay that cannot keep to its turn:
        the connection is of no use. From here to the handshake nothing is awaited, so nothing can come in between.
        """
        self._check_link()
        if not self._reader.silent:
            raise ReplyError(f"said in clear text when TLS was due: {self._reader.peek()}")
        self._reader = ReplyReader(self._mask)
        raw = cast(asyncio.Transport, self._transport)
        async with asyncio.timeout(seconds):
            tls = await asyncio.get_running_loop().start_tls(
                # The loop's own limit stays behind the one that is around this.
                raw, self, context, server_hostname=hostname, ssl_handshake_timeout=2 * seconds
            )  # fmt: skip
        if tls is None:
            raise ConnectionResetError("connection lost")
        self._transport = tls
        self._flow.watch_tls(raw, tls)
        self.tell("*", "TLS established")

    async def transmit(self, pieces: Iterable[bytes], seconds: float) -> bool:
        """Write a message up to its end, and wait until all of it has left; `finish` must follow.

        Returns False as soon as the relay says something: what it said is to be read, and nothing to be sent.

        Arguments:
            seconds: for each piece, the time the relay has to take it.

        Errors: TimeoutError, ConnectionError.
        """
        self._owed = 1  # one reply to a message, in however many calls it leaves
        for piece in pieces:
            if not self._reader.silent:
                return False
            self._write(piece)
            if not self._flow.empty:
                await self._drained(seconds)
        return self._reader.silent

    def finish(self, end: bytes) -> bool:
        """Write the end of a message; not if the relay has said something by now: False. Errors: ConnectionError.

        Where it does not return True, nothing was written.
        """
        if self._reader.silent:
            self._write(end)
            return True
        return False

    def abort(self) -> None:
        """Drop the connection at once; unsent bytes are discarded."""
        self._ended = True
        self._waiting.end()
        if self._transport is not None:
            self._transport.abort()

    def address(self, end: Literal["sockname", "peername"]) -> str:
        """The IP address of one end, without an IPv6 zone; the unspecified one where the link is gone."""
        found = self._transport.get_extra_info(end) if self._transport is not None else None
        return str(found[0]).split("%", maxsplit=1)[0] if found else "0.0.0.0"  # noqa: S104  # nothing is bound to it

    def tell(self, who: str, line: str) -> None:
        """Tell the trace, if there is one."""
        if self._trace is not None:
            self._trace(who, line)

    def _write(self, data: bytes) -> None:
        self._check_link()
        cast(asyncio.Transport, self._transport).write(data)

    async def _await_reply(self, seconds: float) -> Reply:
        deadline = asyncio.get_running_loop().time() + seconds
        while (reply := self._reader.take()) is None:
            self._check_link()
            await self._waiting.wait(deadline)
        return reply

    async def _drained(self, seconds: float) -> None:
        """Until all that was written has left, or the relay has said something: then the rest need not leave."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._reader.silent and not self._flow.empty:
            self._check_link()
            await self._waiting.wait(deadline)

    def _check_link(self) -> None:
        if self._is_down():
            raise ConnectionResetError("connection lost") from self._cause

    def _is_down(self) -> bool:
        return self._ended or self._transport is None or self._transport.is_closing()
