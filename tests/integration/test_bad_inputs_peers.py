"""Bad inputs 24 and 56 to 58 by their numbers (docs/bad-inputs.md): what relays and callback servers may do to us."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from mailculator import lifecycle
from mailculator.errors import RelayLost, RelayRefused, RelayUnavailable, TransportError
from mailculator.lifecycle import Acknowledged, Outcome, Retry
from mailculator.model import Status
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.callback import Callback
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.callback_format import CallbackFormat
from mailculator.transport.webhook import BODY_LIMIT, CallbackSettings, WebhookClient
from tests.support.callback_peer import CallbackPeer, endless, stalling
from tests.support.certificates import Certificates
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import email
from tests.support.relays import PLAIN, fails_once, relay_to, send
from tests.support.smtp_peer import Phase, SmtpPeer

ID = "550e8400-e29b-41d4-a716-446655440000"
UMLAUT = Envelope("bounce@example.com", "ü@ex.com", smtputf8=True)

# Relays


async def test_bad_input_24_smtputf8_is_used_where_it_is_offered_and_nothing_is_mangled() -> None:
    async with SmtpPeer(extensions=PLAIN) as peer, relay_to(peer) as relay:
        await send(relay, envelope=UMLAUT)
        assert peer.accepted[0].recipient == "ü@ex.com"
        assert "SMTPUTF8" in peer.accepted[0].parameters
    async with SmtpPeer(extensions=("8BITMIME",)) as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused, match="smtputf8_unsupported"):
            await send(relay, envelope=UMLAUT)
        assert not [command for command in peer.commands if command.startswith(("MAIL", "RCPT"))]


FLOODS = {
    "ten megabytes without a line end": b"250-" + b"x" * 10_000_000,
    "ten megabytes of lines": b"250-and more\r\n" * 700_000 + b"250 done",
    "octets that are no text": b"\xff\xfe\x00 junk",
    "no code": b"hello",
    "a code of no class": b"999 what",
}


@pytest.mark.parametrize("junk", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize(
    ("phase", "error"), [("greeting", RelayUnavailable), ("rcpt", RelayUnavailable), ("dot", RelayLost)]
)
async def test_bad_input_56_junk_ends_the_connection_and_blames_no_mail(
    phase: Phase, error: type[TransportError], junk: bytes
) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer(phase, junk)
        found = await fails_once(peer, relay)
        assert type(found) is error
        assert len(found.detail) <= 1000
        assert found.detail.isprintable()
        assert peer.sessions == 2


async def test_bad_input_56_a_yes_to_data_is_no_invitation() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("data", "250 ok")
        assert type(await fails_once(peer, relay)) is RelayUnavailable
        assert peer.sessions == 2


@pytest.mark.parametrize("phase", ["mail", "rcpt"])
async def test_bad_input_56_an_answer_too_many_answers_nothing_else(phase: Phase) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.say(phase, "250 2.0.0 queued as nothing")
        assert type(await fails_once(peer, relay)) is RelayUnavailable
        assert len(peer.accepted) == 1, "only the mail that followed"


async def test_bad_input_56_a_farewell_between_two_mails_is_nobodys_answer() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.say("after_dot", "421 4.3.2 going down", times=1)
        assert (await send(relay)).startswith("250 ")
        assert (await send(relay)).startswith("250 ")
        assert (len(peer.accepted), peer.sessions) == (2, 2)


async def test_bad_input_56_what_stands_behind_the_answer_to_starttls_is_not_believed(
    certificates: Certificates,
) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1")) as peer:
        peer.say("starttls", "250-peer.test\r\n250 AUTH PLAIN")
        async with relay_to(peer, tls="starttls", ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayUnavailable):
                await send(relay)
        assert peer.accepted == []


@pytest.mark.parametrize("trouble", ["unknown authority", "another name", "no STARTTLS", "no AUTH"])
async def test_bad_input_57_without_the_protection_asked_for_nothing_leaves(
    certificates: Certificates, trouble: str
) -> None:
    """RelayUnavailable is what no mail is blamed for; see test_bad_input_57_… of the service for the rows."""
    name = "elsewhere.test" if trouble == "another name" else "127.0.0.1"
    server: dict[str, Any] = {"tls": certificates.server(name), "users": {"we": "secret-canary"}}
    if trouble == "no STARTTLS":
        server["tls"] = None
    if trouble == "no AUTH":
        server["users"] = None
    ours: dict[str, Any] = {"tls": "starttls", "user": "we", "password": "secret-canary"}
    if trouble != "unknown authority":
        ours["ca_file"] = certificates.ca_file
    async with SmtpPeer(**server) as peer, relay_to(peer, **ours) as relay:
        with pytest.raises(RelayUnavailable) as caught:
            await send(relay)
        assert "secret-canary" not in str(caught.value)
        assert {command.split()[0] for command in peer.commands} <= {"EHLO", "STARTTLS", "QUIT"}
        assert (peer.accepted, peer.logins) == ([], 0)


# Callbacks


class Told:
    """The callback pipeline over a real client, to a server of this test."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.client = WebhookClient(CallbackSettings(url, **settings))
        clock, seen = FakeClock(), Recording()
        self.pipeline = Callback(
            lifecycle.SENT_CALLBACK,
            Timing(),
            client=self.client,
            wording=CallbackFormat({}, "Consegnato", wall_clock=lambda: 1_000),
            breaker=Breaker("callback", observer=seen, clock=clock, probe_every=5, probe_hold=60),
            clock=clock,
            rng=random.Random(3),
            observer=seen,
            concurrency=4,
        )

    async def tell(self) -> Outcome:
        sent = email(ID, Status.CALLING_SENT_CALLBACK, attempts=1, reached_at=datetime(2026, 11, 20, tzinfo=UTC))
        async with asyncio.timeout(20):
            outcome = await self.pipeline.handle(sent)
        assert lifecycle.move(sent, outcome)
        return outcome


@asynccontextmanager
async def telling(url: str, **settings: Any) -> AsyncIterator[Told]:
    told = Told(url, **settings)
    try:
        yield told
    finally:
        await told.client.close()


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_bad_input_58_any_2xx_acknowledges(status: int) -> None:
    async with CallbackPeer(status=status) as peer, telling(peer.url) as told:
        assert await told.tell() == Acknowledged(str(status))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_bad_input_58_a_redirect_is_not_followed_and_acknowledges_nothing(status: int) -> None:
    async with CallbackPeer() as elsewhere, CallbackPeer() as peer, telling(peer.url) as told:
        peer.script.append(web.Response(status=status, headers={"Location": elsewhere.url}))
        outcome = await told.tell()
        assert isinstance(outcome, Retry)
        assert (len(peer.calls), len(elsewhere.calls)) == (1, 0)


async def test_bad_input_58_a_body_of_5_gb_is_read_to_4_kb() -> None:
    assert BODY_LIMIT == 4096
    async with CallbackPeer(script=[endless, 200]) as peer, telling(peer.url) as told:
        assert await told.tell() == Acknowledged("200")
        assert await told.tell() == Acknowledged("200")
        assert len({call.port for call in peer.calls}) == 2, "the endless one's connection is given up"


async def test_bad_input_58_a_compressed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(b"inflated " * 1_000_000)
    refusal = web.Response(status=500, body=bomb, headers={"Content-Encoding": "gzip"})
    async with CallbackPeer(script=[refusal]) as peer, telling(peer.url) as told:
        outcome = await told.tell()
        assert isinstance(outcome, Retry)
        assert "inflated" not in outcome.reason
        assert peer.calls[0].headers["Accept-Encoding"] == "identity"


async def test_bad_input_58_an_answer_that_drips_ends_in_time() -> None:
    assert CallbackSettings("http://x/").timeout == 15.0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: x")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with telling(url, timeout=0.2) as told:
            outcome = await told.tell()
    assert isinstance(outcome, Retry)
    assert "no answer within" in outcome.reason


async def test_bad_input_58_a_status_counts_though_its_body_never_ends() -> None:
    async with CallbackPeer(script=[stalling]) as peer, telling(peer.url, timeout=0.3) as told:
        assert await told.tell() == Acknowledged("200")


async def test_bad_input_58_a_certificate_of_nobody_we_know(certificates: Certificates) -> None:
    async with CallbackPeer(tls=certificates.server("127.0.0.1")) as peer, telling(peer.url) as told:
        outcome = await told.tell()
        assert isinstance(outcome, Retry)
        assert "certificate" in outcome.reason
        assert peer.calls == []
