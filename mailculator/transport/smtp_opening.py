"""How a session begins: connected, greeted, secured, logged in.

RFC 5321 section 3.1 for the greeting and EHLO, and section 4.5.3.2 for the time they may take; RFC 3207 for STARTTLS,
RFC 4954 for AUTH.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl

from mailculator.errors import RelayUnavailable
from mailculator.timing import Timing
from mailculator.transport import smtp_auth
from mailculator.transport.masking import Mask, relay_mask
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.replies import describe
from mailculator.transport.smtp_extensions import Extensions, parse_extensions
from mailculator.transport.smtp_judgement import Guard, require
from mailculator.transport.smtp_wire import Trace, Wire


async def open_wire(
    settings: RelaySettings,
    timing: Timing,
    address: tuple[str, int],
    context: ssl.SSLContext | None,
    trace: Trace | None,
) -> tuple[Wire, Extensions]:
    """A connection over which mail can be offered, and what the relay offers. Errors: RelayUnavailable.

    Arguments:
        context: needed unless tls is `none`.
    """
    wire = await _connect(timing, address, trace, relay_mask(settings.user, settings.password))
    if settings.tls == "implicit":
        await _secure(wire, settings, timing, context)
    # As long as any command: relays that are busy, or that make strangers wait, say nothing for a while (4.5.3.2.1).
    with Guard(wire, "greeting"):
        require("greeting", await wire.read_reply(timing.smtp_command))
    extensions = await _hello(wire, settings, timing)
    if settings.tls == "starttls":
        with Guard(wire, "tls"):
            if "starttls" not in extensions:
                raise RelayUnavailable("tls", "STARTTLS is required and the relay does not offer it")
            require("tls", await wire.exchange(b"STARTTLS", timing.smtp_connect), 220)
        await _secure(wire, settings, timing, context)
        # What was offered in clear text counts no more (RFC 3207 section 4.2).
        extensions = await _hello(wire, settings, timing)
    if settings.user:
        await _log_in(wire, settings, timing, extensions)
    return wire, extensions


def is_loopback(wire: Wire) -> bool:
    """Whether the relay is on this host."""
    return ipaddress.ip_address(wire.address("peername")).is_loopback


async def _connect(timing: Timing, address: tuple[str, int], trace: Trace | None, mask: Mask) -> Wire:
    host, port = address
    try:
        async with asyncio.timeout(timing.smtp_connect):
            _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire(trace, mask), host, port)
    except OSError as cause:
        raise RelayUnavailable("connect", describe(cause)) from cause
    wire.tell("*", f"connected to {host} port {port}")
    return wire


async def _secure(wire: Wire, settings: RelaySettings, timing: Timing, context: ssl.SSLContext | None) -> None:
    with Guard(wire, "tls"):
        if context is None:
            raise RelayUnavailable("tls", "TLS is required, and there is nothing to verify the relay by")
        await wire.secure(context, settings.host, timing.smtp_connect)


async def _hello(wire: Wire, settings: RelaySettings, timing: Timing) -> Extensions:
    name = settings.helo or _own_name(wire)
    with Guard(wire, "ehlo"):
        reply = await wire.exchange(f"EHLO {name}".encode(), timing.smtp_command)
        require("ehlo", reply)
    return parse_extensions(reply)


async def _log_in(wire: Wire, settings: RelaySettings, timing: Timing, extensions: Extensions) -> None:
    with Guard(wire, "auth"):
        if not (settings.tls != "none" or settings.allow_plaintext_auth or is_loopback(wire)):
            raise RelayUnavailable("auth", "AUTH without TLS is not allowed to an address that is not loopback")
        for step in smtp_auth.login(extensions.mechanisms, settings.user, settings.password):
            require("auth", await wire.exchange(step.line, timing.smtp_command, step.shown), step.wanted)


def _own_name(wire: Wire) -> str:
    """This host's full name, or an address literal where it has none (RFC 5321 section 4.1.4)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = ipaddress.ip_address(wire.address("sockname"))
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
