"""A relay of ours before a scripted server, and what every test of it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mailculator.errors import (
    TransportError,
)
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.smtp import SmtpRelay
from tests.support.certificates import Certificates
from tests.support.smtp_peer import SmtpPeer

ENVELOPE = Envelope("bounce@example.com", "ann@example.org")
MESSAGE = b"From: a@example.com\r\nTo: ann@example.org\r\nSubject: x\r\n\r\nHello\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"0123456789" * 90 + b"\r\n") * 8_000  # 7 MB: more than a socket takes unread
PLAIN = ("8BITMIME", "SMTPUTF8")
PIPELINED = (*PLAIN, "PIPELINING")
SHORT = Timing(smtp_connect=0.25, smtp_command=0.25, smtp_data=0.25, smtp_body=0.25, smtp_dot=0.25)


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def always() -> bool:
    return True


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def unheard(_code: int, _text: str) -> None:
    return None


@asynccontextmanager
async def relay_to(
    peer: SmtpPeer,
    timing: Timing | None = None,
    *,
    arguments: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[SmtpRelay]:
    wanted: dict[str, Any] = {"host": "127.0.0.1", "port": peer.port, "tls": "none"} | settings
    relay = SmtpRelay(RelaySettings(**wanted), timing or Timing(), **(arguments or {}))
    try:
        yield relay
    finally:
        await relay.close()


async def send(relay: SmtpRelay, message: bytes = MESSAGE, envelope: Envelope = ENVELOPE) -> str:
    async with asyncio.timeout(10):
        return await relay.send(envelope, message, before_data=always, before_dot=yes, after_reply=unheard)


@asynccontextmanager
async def full_session(
    certificates: Certificates, timing: Timing, extensions: tuple[str, ...] = PLAIN
) -> AsyncIterator[tuple[SmtpPeer, SmtpRelay]]:
    """A peer with STARTTLS and AUTH, so that every phase comes about."""
    peer = SmtpPeer(tls=certificates.server("127.0.0.1"), users={"we": "secret"}, extensions=extensions)
    account: dict[str, Any] = {"tls": "starttls", "ca_file": certificates.ca_file, "user": "we", "password": "secret"}
    async with peer, relay_to(peer, timing, **account) as relay:
        yield peer, relay


async def fails_once(peer: SmtpPeer, relay: SmtpRelay, message: bytes = MESSAGE) -> TransportError:
    """The error of one send; then the peer behaves, and the next mail gets its own reply."""
    with pytest.raises(TransportError) as caught:
        await send(relay, message)
    before = len(peer.accepted)
    peer.behave()
    relay._timing = Timing()  # what hung has been found out; a slow machine shall not fail the next mail
    assert await send(relay, b"Subject: next\r\n\r\nnext\r\n") == f"250 2.0.0 Ok: queued as {before + 1}"
    assert peer.accepted[-1].content == b"Subject: next\r\n\r\nnext\r\n"
    return caught.value


def to(*hosts: str, ports: tuple[int, ...] = ()) -> Any:
    async def resolve(_: str, port: int) -> list[tuple[str, int]]:
        return [(host, ports[at] if ports else port) for at, host in enumerate(hosts)]

    return resolve
