"""The bytes of one SMTP connection: commands, replies and the message, over aiosmtplib's protocol.

aiosmtplib parses the replies, bounds them (32 KB) and upgrades to TLS. Three things are done here instead. A
cancelled or timed-out read must never be answered later, so whoever uses a wire aborts it after any failure. What the
relay says out of turn is noticed, not paired with the next command. And the message leaves in pieces, with the dot
told apart from what precedes it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Literal, cast

from aiosmtplib import SMTPResponse, SMTPResponseException
from aiosmtplib.protocol import SMTPProtocol

from mailculator.errors import LeaseLapsed

Trace = Callable[[str, str], None]
"""Told of the conversation: who speaks ("C", "S", or "*" for what happens to the connection), and one line."""

BLOCK = 65536
"""Octets of a message that are written before the relay must have taken the ones before."""

_LONGEST_REPLY = 65536
# The first reply in what was received; a line goes on when its fourth octet is a hyphen (RFC 5321 section 4.2.1).
_REPLY = re.compile(rb"(?:[^\n]{3}-[^\n]*\n)*[^\n]*\n")


class Wire(SMTPProtocol):
    """One connection. `asyncio` makes it, `exchange` and `transmit` use it, `abort` ends it.

    Arguments:
        trace: told of every line, secrets and message left out.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._trace = trace
        self._received = bytearray()

    @property
    def alive(self) -> bool:
        """Whether another command may be sent: the link stands and the relay has said nothing unasked."""
        return self.is_connected and not self._received

    def data_received(self, data: bytes) -> None:
        """Keep the raw bytes: what is left of them once a reply was taken was said out of turn."""
        if len(self._received) < _LONGEST_REPLY:
            self._received += data
        super().data_received(data)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109  # aiosmtplib's signature
        """The next reply. Errors: TimeoutError, SMTPServerDisconnected, SMTPResponseException (not a reply)."""
        # Not aiosmtplib's own wait_for: before 3.12 it swallows a cancellation that comes with the reply
        # (cpython #86296).
        async with asyncio.timeout(timeout):
            reply = await super().read_response()
        taken = _REPLY.match(self._received)
        if taken is not None:
            for line in taken[0].splitlines():
                self.tell("S", line.decode("utf-8", "replace"))
            del self._received[: taken.end()]
        return reply

    async def exchange(self, command: bytes, seconds: float, shown: str | None = None) -> SMTPResponse:
        """Send one command, without its line end, and take its reply within that many seconds.

        Arguments:
            shown: what the trace is told instead of the command; for secrets.
        """
        self._check_turn()
        self.tell("C", command.decode("utf-8", "replace") if shown is None else shown)
        return await self.execute_command(command, timeout=seconds)

    async def upgrade(self, context: ssl.SSLContext, hostname: str, seconds: float) -> SMTPResponse:
        """STARTTLS (RFC 3207). Errors: also ssl.SSLError.

        What came in plain text behind the relay's answer is an injection, or a relay that cannot keep to its turn:
        the connection is of no use, though aiosmtplib would only drop those bytes.
        """
        self._check_turn()
        self.tell("C", "STARTTLS")
        reply = await self.start_tls(context, server_hostname=hostname, timeout=seconds)
        self._check_turn()
        self.tell("*", "TLS established")
        return reply

    async def transmit(
        self, content: bytes, *, before_dot: Callable[[], bool], block_seconds: float
    ) -> SMTPResponse | None:
        """Send a dot-stuffed message that ends in its dot line; `read_response` takes the reply to it.

        Returns None once the dot is written. A relay that answers before it has seen the dot gets no dot; what it said
        is returned.

        Arguments:
            before_dot: asked right before the last block, dot included; the wire must be aborted when it says no.
            block_seconds: for each block, the time the relay has to take what precedes it.

        Errors: as `read_response`; LeaseLapsed. Whatever is raised, the dot was not written.
        """
        self.tell("C", f"(message, {len(content)} octets with its final dot)")
        for start in range(0, len(content), BLOCK):
            # Drained before a block, not after: between the last block and the reading of its reply nothing may run,
            # or a quick reply would count as said out of turn, and an error here would not mean "before the dot".
            async with asyncio.timeout(block_seconds):
                await self._drain_helper()
            if self._received:
                return self._early_reply()
            if start + BLOCK >= len(content) and not before_dot():
                raise LeaseLapsed("the claim was about to run out before the final dot")
            self.write(content[start : start + BLOCK])
        return None

    def abort(self) -> None:
        """Drop the connection at once; unsent bytes are discarded."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()

    def address(self, end: Literal["sockname", "peername"]) -> str:
        """The IP address of one end, without an IPv6 zone; the unspecified one where the link is gone."""
        found = self.transport.get_extra_info(end) if self.transport is not None else None
        return str(found[0]).split("%", maxsplit=1)[0] if found else "0.0.0.0"  # noqa: S104  # nothing is bound to it

    def tell(self, who: str, line: str) -> None:
        """Tell the trace, if there is one."""
        if self._trace is not None:
            self._trace(who, line)

    def _check_turn(self) -> None:
        if self._received:
            raise SMTPResponseException(-1, f"said out of turn: {self._received[:200].decode('utf-8', 'replace')}")

    def _early_reply(self) -> SMTPResponse:
        line = bytes(self._received).split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
        self.tell("S", line)
        if not re.match(r"[45]\d\d[ -]", line):
            raise SMTPResponseException(-1, f"said out of turn: {line[:200]}")
        return SMTPResponse(int(line[:3]), line[4:])
