"""One session with the relay: connected, greeted, secured, logged in; then one mail after another.

RFC 5321 for the commands and replies, RFC 3207 for STARTTLS, RFC 4954 for AUTH, RFC 1870 for SIZE, RFC 6152 for
8BITMIME, RFC 6531 for SMTPUTF8. What fails before RCPT is the relay's trouble (RelayUnavailable); from RCPT on the
relay's refusals are about this mail (RelayDeferred, RelayRefused).
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException
from aiosmtplib.esmtp import parse_esmtp_extensions

from mailculator.errors import (
    LeaseLapsed,
    RelayDeferred,
    RelayLost,
    RelayRefused,
    RelayUnavailable,
    TransportError,
)
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.outgoing import Outgoing
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.replies import describe, enhanced_code, one_line
from mailculator.transport.smtp_wire import Trace, Wire


class Session:
    """One connection, used by one task at a time. After any failure it is aborted and never used again.

    Arguments:
        used: mails offered over it.
        opened_at: monotonic seconds.
        gone: the relay had ended the session before it heard of the mail: another connection may do.
    """

    def __init__(
        self, wire: Wire, settings: RelaySettings, timing: Timing, *, opened_at: float, secure: bool = False
    ) -> None:
        self.used = 0
        self.opened_at = opened_at
        self.gone = False
        self._wire = wire
        self._settings = settings
        self._timing = timing
        self._secure = secure
        self._extensions: dict[str, str] = {}
        self._mechanisms: list[str] = []

    @classmethod
    async def open(
        cls,
        settings: RelaySettings,
        timing: Timing,
        address: tuple[str, int],
        context: ssl.SSLContext | None,
        *,
        clock: Callable[[], float],
        trace: Trace | None = None,
    ) -> Session:
        """Connect to one address and bring the session to where mail can be offered. Errors: RelayUnavailable.

        Arguments:
            context: needed unless tls is `none`.
        """
        implicit = settings.tls == "implicit"
        wire = await _connect(settings, timing, address, context if implicit else None, trace)
        session = cls(wire, settings, timing, opened_at=clock(), secure=implicit)
        await session._greet()
        await session._hello()
        if settings.tls == "starttls":
            await session._upgrade(context)
            await session._hello()
        if settings.user:
            await session._log_in()
        return session

    @property
    def alive(self) -> bool:
        """Whether it can be used again."""
        return self._wire.alive

    def abort(self) -> None:
        """Drop the connection at once."""
        self._wire.abort()

    async def quit(self) -> None:
        """Say goodbye and close, within a short time. Never fails: no mail depends on it."""
        try:
            if self.alive:
                await self._wire.exchange(b"QUIT", self._timing.smtp_connect / 10)
        except (OSError, SMTPException):
            pass
        finally:
            self.abort()

    async def reset(self) -> None:
        """RSET before another mail. Errors: RelayUnavailable, and `gone` is set.

        It may take no longer than a new connection would: this one is given up for one.
        """
        self.gone = True
        self._require("rset", await self._ask("rset", b"RSET", self._timing.smtp_connect))
        self.gone = False

    async def offer_sender(self, envelope: Envelope, message: Outgoing) -> None:
        """MAIL FROM. Errors: RelayUnavailable; RelayRefused: too large, or it needs an extension not offered."""
        self.used += 1
        command = f"MAIL FROM:<{envelope.sender}>{self._mail_parameters(envelope, message)}"
        reply = await self._ask("mail", command.encode(), self._timing.smtp_command)
        if _too_large(reply):
            raise RelayRefused("mail", one_line(reply.message), reply.code)
        self.gone = reply.code == 421
        self._require("mail", reply)

    async def hand_over(
        self,
        envelope: Envelope,
        message: Outgoing,
        before_data: Callable[[], bool],
        before_dot: Callable[[], bool],
    ) -> str:
        """RCPT, DATA and the message; returns the relay's reply on one line. Errors: as Relay.send."""
        reply = await self._ask("rcpt", f"RCPT TO:<{envelope.recipient}>".encode(), self._timing.smtp_command)
        self._judge("rcpt", reply, reply.code // 100 == 2, RelayUnavailable)
        if not before_data():
            raise LeaseLapsed("the claim was about to run out before DATA")
        reply = await self._ask("data", b"DATA", self._timing.smtp_data)
        self._judge("data", reply, reply.code == 354, RelayUnavailable)
        with self._guarded("body"):
            early = await self._wire.transmit(message.wire, before_dot=before_dot, block_seconds=self._timing.smtp_body)
        # The dot is out: from here on nobody but the relay knows whether it has taken the mail.
        with self._guarded("body", RelayLost):
            reply = early or await self._wire.read_response(timeout=self._timing.smtp_dot)
        self._judge("body", reply, reply.code // 100 == 2, RelayLost)
        return one_line(f"{reply.code} {reply.message}")

    async def _greet(self) -> None:
        # The greeting belongs to connecting: a balancer that accepts for a dead relay must not cost five minutes.
        with self._guarded("greeting"):
            reply = await self._wire.read_response(timeout=self._timing.smtp_connect)
        self._require("greeting", reply)

    async def _hello(self) -> None:
        name = self._settings.helo or _own_name(self._wire)
        reply = await self._ask("ehlo", f"EHLO {name}".encode(), self._timing.smtp_command)
        self._require("ehlo", reply)
        self._extensions, self._mechanisms = parse_esmtp_extensions(reply.message)

    async def _upgrade(self, context: ssl.SSLContext | None) -> None:
        if context is None or "starttls" not in self._extensions:
            self.abort()
            raise RelayUnavailable("tls", "STARTTLS is required and the relay does not offer it")
        with self._guarded("tls"):
            await self._wire.upgrade(context, self._settings.host, self._timing.smtp_connect)
        self._secure = True

    async def _log_in(self) -> None:
        if not (self._secure or self._settings.allow_plaintext_auth or _is_loopback(self._wire)):
            self.abort()
            raise RelayUnavailable("auth", "AUTH without TLS is not allowed to an address that is not loopback")
        user, password = self._settings.user.encode(), self._settings.password.encode()
        if "plain" in self._mechanisms:
            steps = [(b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password), "AUTH PLAIN ***")]
        elif "login" in self._mechanisms:
            steps = [
                (b"AUTH LOGIN", "AUTH LOGIN"),
                (base64.b64encode(user), "***"),
                (base64.b64encode(password), "***"),
            ]
        else:
            self.abort()
            raise RelayUnavailable("auth", "the relay offers neither AUTH PLAIN nor AUTH LOGIN")
        for step, (command, shown) in enumerate(steps, start=1):
            reply = await self._ask("auth", command, self._timing.smtp_command, shown)
            self._require("auth", reply, 235 if step == len(steps) else 334)

    def _mail_parameters(self, envelope: Envelope, message: Outgoing) -> str:
        parameters = ""
        if "size" in self._extensions:
            limit = self._extensions["size"].strip()
            if limit.isdecimal() and 0 < int(limit) < message.size:
                raise RelayRefused("mail", f"message size {message.size} exceeds the relay's limit of {limit}")
            parameters += f" SIZE={message.size}"
        international = envelope.smtputf8 or not (envelope.sender + envelope.recipient).isascii()
        if international and "smtputf8" not in self._extensions:
            raise RelayRefused("mail", "the relay does not take such an address: smtputf8_unsupported")
        if message.eight_bit:
            if "8bitmime" not in self._extensions:
                raise RelayRefused("mail", "the relay does not take 8-bit messages: 8bitmime_unsupported")
            parameters += " BODY=8BITMIME"
        return parameters + (" SMTPUTF8" if international else "")

    async def _ask(self, phase: str, command: bytes, seconds: float, shown: str | None = None) -> SMTPResponse:
        with self._guarded(phase):
            return await self._wire.exchange(command, seconds, shown)

    @contextmanager
    def _guarded(self, phase: str, error: type[TransportError] = RelayUnavailable) -> Iterator[None]:
        """Whatever ends an exchange early, cancellation included, ends the connection: a late reply is nobody's."""
        try:
            yield
        except (OSError, SMTPException) as cause:
            self.abort()
            self.gone = self.gone or (phase == "mail" and not isinstance(cause, TimeoutError))
            code = cause.code if isinstance(cause, SMTPResponseException) and cause.code > 0 else None
            raise error(phase, describe(cause), code) from cause
        except BaseException:
            self.abort()
            raise

    def _require(self, phase: str, reply: SMTPResponse, code: int | None = None) -> None:
        """Before RCPT: anything but the wanted reply is the relay's trouble, and ends the connection."""
        if reply.code == code or (code is None and reply.code // 100 == 2):
            return
        self.abort()
        raise RelayUnavailable(phase, one_line(reply.message), reply.code)

    def _judge(self, phase: str, reply: SMTPResponse, wanted: bool, nonsense: type[TransportError]) -> None:
        """From RCPT on: 4yz and 5yz are about the mail; 421 and what fits no step also end the connection."""
        if wanted:
            return
        error = {4: RelayDeferred, 5: RelayRefused}.get(reply.code // 100, nonsense)
        if reply.code == 421 or error is nonsense:
            self.abort()
        raise error(phase, one_line(reply.message), reply.code)


async def _connect(
    settings: RelaySettings,
    timing: Timing,
    address: tuple[str, int],
    context: ssl.SSLContext | None,
    trace: Trace | None,
) -> Wire:
    host, port = address
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timing.smtp_connect):
            _, wire = await loop.create_connection(
                lambda: Wire(trace), host, port, ssl=context, server_hostname=settings.host if context else None
            )
    except OSError as cause:
        phase = "tls" if isinstance(cause, ssl.SSLError) else "connect"
        raise RelayUnavailable(phase, describe(cause)) from cause
    wire.tell("*", f"connected to {host} port {port}")
    return wire


def _too_large(reply: SMTPResponse) -> bool:
    """Whether MAIL was refused for its SIZE parameter (RFC 1870 section 6.1), not for what the relay lacks.

    452 there is the relay's disk, and 552 with another enhanced code (5.2.2: quota) is the account's.
    """
    enhanced = enhanced_code(reply.message)
    return (reply.code == 552 and enhanced is None) or (reply.code // 100 == 5 and enhanced in ("5.3.4", "5.2.3"))


def _own_name(wire: Wire) -> str:
    """This host's full name, or an address literal where it has none (RFC 5321 section 4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = ipaddress.ip_address(wire.address("sockname"))
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _is_loopback(wire: Wire) -> bool:
    return ipaddress.ip_address(wire.address("peername")).is_loopback
