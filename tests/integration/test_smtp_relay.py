"""The SMTP relay against a server that refuses, hangs, resets and babbles, on real sockets."""

from __future__ import annotations

import asyncio
import getpass
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.smtp import MAILS_PER_CONNECTION, SmtpRelay
from tests.support.certificates import Certificates, make_certificates
from tests.support.smtp_peer import Phase, SmtpPeer

ENVELOPE = Envelope("bounce@example.com", "ann@example.org")
MESSAGE = b"From: a@example.com\r\nTo: ann@example.org\r\nSubject: x\r\n\r\nHello\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"0123456789" * 90 + b"\r\n") * 8_000  # 7 MB: more than a socket takes unread
SHORT = Timing(smtp_connect=0.25, smtp_command=0.25, smtp_data=0.25, smtp_body=0.25, smtp_dot=0.25)


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def always() -> bool:
    return True


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("ca"))


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
        return await relay.send(envelope, message, before_data=always, before_dot=always)


# What leaves, and how.


async def test_the_message_arrives_octet_for_octet() -> None:
    hard = (
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n"
        + b"a" * 998
        + b"\r\n"
        + b"." * 998
        + b"\r\n"
    )
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        reply = await send(relay, hard)
        assert reply == "250 2.0.0 Ok: queued as 1"
        assert peer.accepted[0].content == hard
        assert peer.accepted[0].envelope == ("bounce@example.com", "ann@example.org")
        assert peer.accepted[0].parameters == f"SIZE={len(hard)}"


async def test_a_message_that_begins_with_a_dot_arrives() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay, b".hidden\r\n")
        assert peer.accepted[0].content == b".hidden\r\n"


async def test_a_large_message_leaves_in_pieces_and_arrives_whole() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay, LARGE)
        assert peer.accepted[0].content == LARGE


async def test_a_missing_last_line_end_is_added() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay, b"Subject: x\r\n\r\nno end")
        assert peer.accepted[0].content == b"Subject: x\r\n\r\nno end\r\n"


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: x\r\n\r\nbare\nLF\r\n",
        b"Subject: x\r\n\r\nbare\rCR\r\n",
        b"Subject: x\r\n\r\n\n.\r\nMAIL FROM:<smuggled@example.com>\r\n",
        b"Subject: x\r\n\r\n" + b"a" * 999 + b"\r\n",
    ],
)
async def test_octets_that_no_relay_may_be_given_do_not_leave(message: bytes) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused) as caught:
            await send(relay, message)
        assert caught.value.phase == "body"
        assert peer.sessions == 0


@pytest.mark.parametrize(
    "recipient",
    ["a@b.com>\r\nRCPT TO:<v@x", "a@b.com> SIZE=1", "a b@c.com", "a@b.com\x00", "<a@b.com", "a\u2028b@c.com"],
)
async def test_no_command_is_injected_through_an_address(recipient: str) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused):
            await send(relay, envelope=Envelope("bounce@example.com", recipient))
        assert peer.commands == []


async def test_a_quoted_local_part_is_sent_as_it_stands() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay, envelope=Envelope("bounce@example.com", '"ann > b"@example.org'))
        assert peer.accepted[0].recipient == '"ann > b"@example.org'


async def test_smtp_sink_of_postfix_takes_our_mail(smtp_sink: tuple[int, Path]) -> None:
    port, dump = smtp_sink
    relay = SmtpRelay(RelaySettings("127.0.0.1", port, tls="none"), Timing())
    body = b"Subject: sink\r\n\r\n.first\r\n..second\r\nlast\r\n"
    async with asyncio.TaskGroup() as tasks:
        replies = [tasks.create_task(send(relay, body)) for _ in range(30)]
    await relay.close()
    assert all(reply.result().startswith("250 2.0.0 Ok") for reply in replies)
    received = dump.read_bytes()
    assert received.count(b"X-Rcpt-Args: <ann@example.org>") == 30
    assert received.count(b"\n.first\n..second\nlast\n") == 30


@pytest.fixture
async def smtp_sink(tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    listening.close()
    dump = tmp_path / "received"
    sink = await asyncio.create_subprocess_exec(
        "/usr/sbin/smtp-sink", "-u", getpass.getuser(), "-D", str(dump), f"127.0.0.1:{port}", "100"
    )
    probe = RelaySettings("127.0.0.1", port, tls="none")
    try:
        async with asyncio.timeout(10):
            while not await _answers(SmtpRelay(probe, Timing())):
                assert sink.returncode is None
        yield port, dump
    finally:
        if sink.returncode is None:
            sink.terminate()
        await sink.wait()


async def _answers(relay: SmtpRelay) -> bool:
    try:
        await relay.ping()
    except RelayUnavailable:
        return False
    return True


# Every phase, refused, hung and cut.

BEFORE_RCPT: list[Phase] = ["greeting", "ehlo", "starttls", "auth", "mail"]
FROM_RCPT: list[Phase] = ["rcpt", "data", "dot"]
PHASE_NAMES = {"starttls": "tls", "dot": "body", "after_dot": "body", "connect": "greeting"}


@asynccontextmanager
async def full_session(certificates: Certificates, timing: Timing) -> AsyncIterator[tuple[SmtpPeer, SmtpRelay]]:
    """A peer with STARTTLS and AUTH, so that every phase comes about."""
    peer = SmtpPeer(tls=certificates.server("127.0.0.1"), users={"we": "secret"})
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


@pytest.mark.parametrize("code", [421, 451, 454, 500, 530, 535, 550, 554])
@pytest.mark.parametrize("phase", BEFORE_RCPT)
async def test_g8_a_refusal_before_rcpt_blames_no_mail(phase: Phase, code: int, certificates: Certificates) -> None:
    async with full_session(certificates, Timing()) as (peer, relay):
        peer.answer(phase, f"{code} 4.7.0 not you")
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert (error.phase, error.code) == (PHASE_NAMES.get(phase, phase), code)
        assert error.detail == "127.0.0.1: 4.7.0 not you" or phase == "mail"
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("phase", FROM_RCPT)
async def test_g8_a_transient_refusal_from_rcpt_on_is_deferred(phase: Phase, certificates: Certificates) -> None:
    for code in (421, 450, 451, 452, 454):
        async with full_session(certificates, Timing()) as (peer, relay):
            peer.answer(phase, f"{code} 4.2.0 later")
            error = await fails_once(peer, relay)
            assert type(error) is RelayDeferred
            assert (error.phase, error.code, error.detail) == (PHASE_NAMES.get(phase, phase), code, "4.2.0 later")
            assert peer.sessions == (2 if code == 421 else 1)


@pytest.mark.parametrize("phase", FROM_RCPT)
async def test_a_permanent_refusal_from_rcpt_on_is_about_the_mail(phase: Phase, certificates: Certificates) -> None:
    async with full_session(certificates, Timing()) as (peer, relay):
        peer.answer(phase, "550-5.1.1 no such user\r\n550 5.1.1 here")
        error = await fails_once(peer, relay)
        assert type(error) is RelayRefused
        assert (error.code, error.detail) == (550, "5.1.1 no such user 5.1.1 here")
        assert peer.sessions == 1


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["connect", *BEFORE_RCPT, "rcpt", "data"])
async def test_g5_a_relay_that_hangs_or_cuts_before_the_message_leaves_is_unavailable(
    phase: Phase, kind: str, certificates: Certificates
) -> None:
    async with full_session(certificates, SHORT) as (peer, relay):
        getattr(peer, kind)(phase)
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert (error.phase, error.code) == (PHASE_NAMES.get(phase, phase), None)
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["dot", "after_dot"])
async def test_g5_a_relay_that_hangs_or_cuts_after_the_dot_leaves_the_outcome_unknown(phase: Phase, kind: str) -> None:
    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        getattr(peer, kind)(phase)
        error = await fails_once(peer, relay)
        assert type(error) is RelayLost
        assert error.phase == "body"


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
async def test_g5_a_relay_that_hangs_or_cuts_before_the_dot_cannot_have_taken_the_mail(kind: str) -> None:
    dots: list[str] = []

    def before_dot() -> bool:
        dots.append("asked")
        return True

    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        getattr(peer, kind)("body")
        with pytest.raises(RelayUnavailable) as caught:
            await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=before_dot)
        assert type(caught.value) is RelayUnavailable
        assert caught.value.phase == "body"
        assert dots == []
        assert peer.accepted == []


async def test_a_lease_that_lapses_while_the_message_is_under_way_keeps_the_dot_here() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=lambda: False)
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert [one.content for one in peer.accepted] == [MESSAGE]


async def test_a_relay_that_refuses_before_the_dot_gets_none() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("body", "552 5.3.4 too much", closes=False)
        error = await fails_once(peer, relay, LARGE)
        assert type(error) is RelayRefused
        assert error.code == 552
        assert len(peer.accepted) == 1


# Sizes and extensions.


async def test_a_message_over_the_advertised_size_is_refused_before_it_is_offered() -> None:
    async with SmtpPeer(size=100) as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused, match="message size 218 exceeds the relay's limit of 100"):
            await send(relay, b"Subject: x\r\n\r\n" + b"x" * 200 + b"\r\n\r\n")
        assert not [command for command in peer.commands if command.startswith("MAIL")]
        await send(relay)
        assert peer.sessions == 1


async def test_size_zero_is_no_limit() -> None:
    async with SmtpPeer(size=0) as peer, relay_to(peer) as relay:
        await send(relay)
        assert len(peer.accepted) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("552 message too big", RelayRefused),
        ("552 5.3.4 message too big", RelayRefused),
        ("550 5.3.4 message too big", RelayRefused),
        ("552 5.2.2 your account is over its quota", RelayUnavailable),
        ("452 4.3.1 disk full", RelayUnavailable),
    ],
)
async def test_mail_refused_for_its_size_is_the_mails_fault(reply: str, error: type[TransportError]) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("mail", reply)
        assert type(await fails_once(peer, relay)) is error


async def test_smtputf8_is_asked_for_where_offered() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay, envelope=Envelope("bounce@example.com", "üser@example.org", smtputf8=True))
        assert peer.accepted[0].recipient == "üser@example.org"
        assert peer.accepted[0].parameters.endswith(" SMTPUTF8")


@pytest.mark.parametrize("flag", [True, False])
async def test_smtputf8_not_offered_is_a_refusal(flag: bool) -> None:
    async with SmtpPeer(extensions=("8BITMIME",)) as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused, match="smtputf8_unsupported"):
            await send(relay, envelope=Envelope("bounce@example.com", "üser@example.org", smtputf8=flag))
        assert not peer.accepted


async def test_8_bit_messages_need_8bitmime() -> None:
    eight_bit = "Subject: x\r\n\r\nperché\r\n".encode()
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay, eight_bit)
        assert peer.accepted[0].content == eight_bit
        assert peer.accepted[0].parameters.endswith(" BODY=8BITMIME")
    async with SmtpPeer(extensions=()) as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused, match="8bitmime_unsupported"):
            await send(relay, eight_bit)


# Junk.


@pytest.mark.parametrize(
    ("phase", "error"),
    [("greeting", RelayUnavailable), ("mail", RelayUnavailable), ("data", RelayUnavailable), ("dot", RelayLost)],
)
@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xfe\x00 junk",
        b"abc",
        b"",
        b"999 what",
        b"12",
        b"250-" + b"x" * 10_000,
        b"\r\n".join([b"250-more and more"] * 5_000) + b"\r\n250 done",
        b"2" * 100_000,
    ],
)
async def test_a_reply_that_is_none_ends_the_connection(phase: Phase, error: type[TransportError], junk: bytes) -> None:
    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        peer.answer(phase, junk or b" ")
        found = await fails_once(peer, relay)
        assert type(found) is error
        assert len(found.detail) <= 1000
        assert found.detail.isprintable()
        assert peer.sessions == 2


async def test_an_endless_reply_without_line_end_is_bounded() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("rcpt", b"250-" + b"x" * 10_000_000)
        assert type(await fails_once(peer, relay)) is RelayUnavailable


async def test_250_in_reply_to_data_is_no_invitation() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("data", "250 ok")
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert peer.sessions == 2


async def test_354_after_the_dot_is_no_acceptance() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("dot", "354 more please")
        assert type(await fails_once(peer, relay)) is RelayLost


async def test_two_replies_in_one_packet_never_answer_the_next_command() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.say("rcpt", "354 go")
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert "out of turn" in error.detail
        assert len(peer.accepted) == 1


async def test_a_reply_that_comes_octet_by_octet_is_one_reply() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (b"220 a\r\n", b"250-a\r\n250 b\r\n", b"250 ok\r\n", b"451 4.3.0 no\r\n"):
            for octet in reply:
                writer.write(bytes([octet]))
                await writer.drain()
                await asyncio.sleep(0)
            await reader.readline()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        relay = SmtpRelay(RelaySettings("127.0.0.1", port, tls="none"), Timing())
        with pytest.raises(RelayDeferred, match=r"rcpt: 451 4\.3\.0 no"):
            await send(relay)
        await relay.close()


# TLS and AUTH.


async def test_starttls_verified(certificates: Certificates) -> None:
    async with full_session(certificates, Timing()) as (peer, relay):
        await send(relay)
        await send(relay)
        assert (len(peer.accepted), peer.sessions, peer.logins) == (2, 1, 1)
        assert peer.commands[:2] == [peer.commands[2], "STARTTLS"]  # EHLO again, inside TLS


async def test_g13_no_starttls_offered_means_no_mail_and_no_password() -> None:
    async with SmtpPeer(users={"we": "secret"}) as peer:
        async with relay_to(peer, tls="starttls", user="we", password="secret") as relay:
            with pytest.raises(RelayUnavailable, match="STARTTLS is required"):
                await send(relay)
        assert [command.split()[0] for command in peer.commands] == ["EHLO"]


async def test_g13_without_a_user_the_mail_does_not_go_in_clear_either() -> None:
    async with SmtpPeer() as peer, relay_to(peer, tls="starttls") as relay:
        with pytest.raises(RelayUnavailable):
            await send(relay)
        assert not peer.accepted


@pytest.mark.parametrize("implicit", [True, False])
async def test_g13_a_certificate_of_an_unknown_authority_is_refused(certificates: Certificates, implicit: bool) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), implicit=implicit) as peer:
        tls = "implicit" if implicit else "starttls"
        async with relay_to(peer, tls=tls) as relay:
            with pytest.raises(RelayUnavailable, match="certificate not accepted") as caught:
                await send(relay)
            assert caught.value.phase == "tls"
        async with relay_to(peer, tls=tls, allow_insecure_tls=True) as relay:
            await send(relay)
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("implicit", [True, False])
async def test_g13_a_certificate_for_another_name_is_refused(certificates: Certificates, implicit: bool) -> None:
    async with SmtpPeer(tls=certificates.server("elsewhere.test"), implicit=implicit) as peer:
        settings: dict[str, Any] = {"tls": "implicit" if implicit else "starttls", "ca_file": certificates.ca_file}
        async with relay_to(peer, **settings) as relay:
            with pytest.raises(RelayUnavailable, match="certificate not accepted"):
                await send(relay)
        assert not peer.accepted


async def test_the_certificate_must_bear_the_configured_name(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("relay.test")) as peer:
        settings: dict[str, Any] = {"host": "relay.test", "tls": "starttls", "ca_file": certificates.ca_file}
        async with relay_to(peer, arguments={"resolve": to("127.0.0.1")}, **settings) as relay:
            await send(relay)
        assert len(peer.accepted) == 1


async def test_implicit_tls(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), implicit=True, users={"we": "secret"}) as peer:
        settings: dict[str, Any] = {
            "tls": "implicit",
            "ca_file": certificates.ca_file,
            "user": "we",
            "password": "secret",
        }
        async with relay_to(peer, **settings) as relay:
            await send(relay, LARGE)
        assert peer.accepted[0].content == LARGE


async def test_old_tls_is_refused(certificates: Certificates) -> None:
    context = certificates.server("127.0.0.1")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with SmtpPeer(tls=context) as peer:
        async with relay_to(peer, tls="starttls", ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayUnavailable) as caught:
                await send(relay)
        assert caught.value.phase == "tls"


async def test_plain_text_behind_the_answer_to_starttls_ends_the_connection(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1")) as peer:
        peer.say("starttls", "250 injected")
        async with relay_to(peer, tls="starttls", ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayUnavailable):
                await send(relay)
        assert not peer.accepted


async def test_a_hung_tls_handshake_ends_in_time() -> None:
    async with SmtpPeer() as peer:
        peer.hang("connect")
        async with relay_to(peer, SHORT, tls="implicit") as relay:
            with pytest.raises(RelayUnavailable, match="no answer in time"):
                await send(relay)


async def test_a_ca_file_that_cannot_be_read_is_the_relays_trouble(tmp_path: Path) -> None:
    async with SmtpPeer() as peer, relay_to(peer, tls="starttls", ca_file=tmp_path / "none.pem") as relay:
        with pytest.raises(RelayUnavailable, match="CA file"):
            await send(relay)


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "PLAIN LOGIN", "CRAM-MD5 LOGIN"])
async def test_auth_by_what_is_offered(mechanisms: str) -> None:
    async with SmtpPeer(users={"wé@x": 'p"a#$s%è'}, mechanisms=mechanisms) as peer:
        async with relay_to(peer, user="wé@x", password='p"a#$s%è') as relay:
            await send(relay)
        assert peer.logins == 1


async def test_auth_not_offered_sends_nothing() -> None:
    async with SmtpPeer() as peer, relay_to(peer, user="we", password="secret") as relay:
        with pytest.raises(RelayUnavailable, match="neither AUTH PLAIN nor AUTH LOGIN"):
            await send(relay)
        assert not peer.accepted


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN"])
async def test_a_wrong_password_blames_no_mail_and_is_shown_nowhere(mechanisms: str) -> None:
    async with SmtpPeer(users={"we@example.com": "right"}, mechanisms=mechanisms) as peer:
        async with relay_to(peer, user="we@example.com", password="hunter2-canary") as relay:
            with pytest.raises(RelayUnavailable) as caught:
                await send(relay)
            assert "hunter2-canary" not in repr(relay._settings) + repr(caught.value) + str(caught.value)
        assert (caught.value.phase, caught.value.code) == ("auth", 535)
        assert caught.value.detail == "127.0.0.1: 5.7.8 bad credentials for ***@example.com"


async def test_auth_without_tls_only_to_loopback_or_by_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailculator.transport.smtp_session._is_loopback", lambda _: False)
    async with SmtpPeer(users={"we": "secret"}) as peer:
        async with relay_to(peer, user="we", password="secret") as relay:
            with pytest.raises(RelayUnavailable, match="AUTH without TLS"):
                await send(relay)
        assert [command.split()[0] for command in peer.commands] == ["EHLO"]
        async with relay_to(peer, user="we", password="secret", allow_plaintext_auth=True) as relay:
            await send(relay)
        assert peer.logins == 1


# Several addresses.


def to(*hosts: str, ports: tuple[int, ...] = ()) -> Any:
    async def resolve(_: str, port: int) -> list[tuple[str, int]]:
        return [(host, ports[at] if ports else port) for at, host in enumerate(hosts)]

    return resolve


async def test_every_address_is_tried_and_none_is_preferred() -> None:
    async with SmtpPeer() as one, SmtpPeer(host="127.0.0.2", port=one.port) as two:
        resolve = to("127.0.0.1", "127.0.0.2")
        async with relay_to(one, replace(Timing(), smtp_age=0.0), arguments={"resolve": resolve}) as relay:
            for _ in range(6):
                await send(relay)
        assert (len(one.accepted), len(two.accepted)) == (3, 3)


async def test_an_address_that_fails_is_tried_last_for_a_while() -> None:
    clock = Clock()
    async with SmtpPeer() as one, SmtpPeer(host="127.0.0.2", port=one.port) as two:
        arguments: dict[str, Any] = {"resolve": to("127.0.0.1", "127.0.0.2"), "clock": clock}
        async with relay_to(one, arguments=arguments) as relay:
            one.answer("greeting", "554 not today")
            for _ in range(4):
                await relay.ping()
            assert (one.sessions, two.sessions) == (1, 4)
            clock.now += 61
            one.behave()
            await relay.ping()
            await relay.ping()
            assert one.sessions == 2


async def test_one_address_refusing_connections_costs_no_mail() -> None:
    async with SmtpPeer() as peer:
        arguments: dict[str, Any] = {"resolve": to("127.0.0.2", "127.0.0.1")}
        async with relay_to(peer, arguments=arguments) as relay:
            await send(relay)
        assert len(peer.accepted) == 1


async def test_all_addresses_failing_names_each() -> None:
    async with SmtpPeer() as peer:
        peer.answer("greeting", "421 4.3.2 busy")
        arguments: dict[str, Any] = {"resolve": to("127.0.0.2", "127.0.0.1")}
        async with relay_to(peer, arguments=arguments) as relay:
            with pytest.raises(RelayUnavailable) as caught:
                await send(relay)
        assert caught.value.detail == "127.0.0.2: connect: Connection refused; 127.0.0.1: greeting: 421 4.3.2 busy"
        assert (caught.value.phase, caught.value.code) == ("greeting", 421)


async def test_a_wrong_password_is_not_tried_at_every_address() -> None:
    async with SmtpPeer(users={}) as one, SmtpPeer(host="127.0.0.2", port=one.port, users={}) as two:
        settings: dict[str, Any] = {"user": "we", "password": "wrong"}
        async with relay_to(one, arguments={"resolve": to("127.0.0.1", "127.0.0.2")}, **settings) as relay:
            with pytest.raises(RelayUnavailable):
                await send(relay)
        assert one.sessions + two.sessions == 1


async def test_a_name_that_does_not_resolve() -> None:
    async with SmtpPeer() as peer, relay_to(peer, host="relay.invalid") as relay:
        with pytest.raises(RelayUnavailable, match=r"connect: relay\.invalid: name not resolved"):
            await send(relay)


async def test_a_resolver_that_hangs_ends_in_time() -> None:
    async def hang(_: str, __: int) -> list[tuple[str, int]]:
        await asyncio.Event().wait()
        return []

    async with SmtpPeer() as peer, relay_to(peer, SHORT, arguments={"resolve": hang}) as relay:
        with pytest.raises(RelayUnavailable, match="no answer in time"):
            await send(relay)


async def test_the_real_resolver_finds_localhost() -> None:
    async with SmtpPeer() as peer, relay_to(peer, host="localhost") as relay:
        await send(relay)
        assert len(peer.accepted) == 1


# Reuse.


async def test_a_connection_is_reused_after_rset_up_to_its_cap() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        for _ in range(MAILS_PER_CONNECTION + 1):
            await send(relay)
        assert peer.sessions == 2
        assert peer.commands.count("RSET") == MAILS_PER_CONNECTION - 1
        await peer.reached("quit")


async def test_a_connection_is_not_reused_past_its_age() -> None:
    clock = Clock()
    async with SmtpPeer() as peer, relay_to(peer, arguments={"clock": clock}) as relay:
        await send(relay)
        clock.now += 59
        await send(relay)
        assert peer.sessions == 1
        clock.now += 2
        await send(relay)
        assert peer.sessions == 2


async def test_an_idle_connection_says_goodbye() -> None:
    async with SmtpPeer() as peer, relay_to(peer, replace(Timing(), smtp_idle=0.01)) as relay:
        await send(relay)
        await peer.reached("quit")
        await send(relay)
        assert peer.sessions == 2


async def test_no_more_connections_than_allowed() -> None:
    async with SmtpPeer() as peer, relay_to(peer, connections=3) as relay:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(30):
                tasks.create_task(send(relay))
        assert len(peer.accepted) == 30
        assert peer.sessions <= 3


async def test_many_at_once_each_get_their_own_reply() -> None:
    async with SmtpPeer() as peer, relay_to(peer, connections=8) as relay:
        async with asyncio.TaskGroup() as tasks:
            sends = {
                name: tasks.create_task(send(relay, MESSAGE, Envelope("b@example.com", f"{name}@example.org")))
                for name in map(str, range(200))
            }
        for name, task in sends.items():
            number = int(task.result().rpartition(" ")[2])
            assert peer.accepted[number - 1].recipient == f"{name}@example.org"


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["rset", "mail"])
async def test_a_stale_connection_is_replaced_within_the_send(phase: Phase, kind: str) -> None:
    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        await send(relay)
        getattr(peer, kind)(phase, times=1)
        if (phase, kind) == ("mail", "hang"):
            # It had just answered RSET: this is a relay that hangs, not a connection that died.
            with pytest.raises(RelayUnavailable):
                await send(relay)
            return
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


@pytest.mark.parametrize("phase", ["rset", "mail"])
@pytest.mark.parametrize("closes", [True, False])
async def test_a_421_on_a_used_connection_means_a_new_one(phase: Phase, closes: bool) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        peer.answer(phase, "421 4.4.2 idle too long", times=1, closes=closes)
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


async def test_a_failed_rset_is_no_failed_mail() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        peer.answer("rset", "502 5.5.1 no RSET here")
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (2, 2)


async def test_a_relay_gone_for_good_is_found_out_within_one_send() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        await peer.stop()
        with pytest.raises(RelayUnavailable, match="Connection refused"):
            await send(relay)


async def test_a_relay_that_comes_back_is_used_again() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        await peer.stop()
        with pytest.raises(RelayUnavailable):
            await send(relay)
        await peer.start()
        await send(relay)
        await peer.delivered(2)
        assert len(peer.accepted) == 2


async def test_an_unsolicited_421_between_two_mails_is_nobodys_reply() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.say("after_dot", "421 4.3.2 going down", times=1)
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


# The lease, cancellation, and the end.


async def test_a_lapsed_lease_keeps_the_message_here() -> None:
    asked: list[list[str]] = []
    async with SmtpPeer() as peer, relay_to(peer) as relay:

        def before_data() -> bool:
            asked.append([command.split()[0] for command in peer.commands])
            return False

        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, MESSAGE, before_data=before_data, before_dot=always)
        assert asked == [["EHLO", "MAIL", "RCPT"]]
        assert await send(relay, b"Subject: other\r\n\r\n") == "250 2.0.0 Ok: queued as 1"
        assert [one.content for one in peer.accepted] == [b"Subject: other\r\n\r\n"]
        assert peer.commands.count("DATA") == 1


@pytest.mark.parametrize("phase", ["greeting", "ehlo", "mail", "rcpt", "data", "body", "dot", "after_dot"])
async def test_a_cancelled_send_leaves_no_reply_for_the_next_mail(phase: Phase) -> None:
    message = LARGE if phase == "body" else MESSAGE
    async with SmtpPeer() as peer, relay_to(peer, connections=1) as relay:
        peer.hang(phase)
        sending = asyncio.create_task(send(relay, message))
        await peer.reached(phase)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        peer.behave()
        before = len(peer.accepted)
        assert await send(relay) == f"250 2.0.0 Ok: queued as {before + 1}"
        assert peer.sessions == 2
        assert "QUIT" not in peer.commands


async def test_a_send_given_up_by_its_caller_is_not_reused() -> None:
    async with SmtpPeer() as peer, relay_to(peer, connections=1) as relay:
        await send(relay)
        peer.hang("dot", times=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=always)
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
async def test_g4_a_failing_quit_changes_no_outcome(kind: str) -> None:
    async with SmtpPeer() as peer:
        getattr(peer, kind)("quit")
        async with relay_to(peer, SHORT) as relay:
            assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert len(peer.accepted) == 1


async def test_g4_a_refused_quit_changes_no_outcome() -> None:
    async with SmtpPeer() as peer:
        peer.answer("quit", "500 5.5.1 stay")
        async with relay_to(peer) as relay:
            assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        await peer.reached("quit")


async def test_g4_a_connection_cut_right_after_the_250_changes_no_outcome() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("after_dot", "250 2.0.0 taken", closes=True, times=1)
        assert await send(relay) == "250 2.0.0 taken"
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"


async def test_a_closed_relay_sends_no_more() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        await relay.close()
        with pytest.raises(RelayUnavailable, match="closed"):
            await send(relay)
        assert peer.commands[-1] == "QUIT"


async def test_a_send_under_way_outlives_close() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        closing: list[asyncio.Task[None]] = []

        def before_data() -> bool:
            closing.append(asyncio.create_task(relay.close()))
            return True

        assert (
            await relay.send(ENVELOPE, MESSAGE, before_data=before_data, before_dot=always)
            == "250 2.0.0 Ok: queued as 1"
        )
        await asyncio.gather(*closing)
        await peer.reached("quit")


async def test_g3_failures_and_successes_at_once_are_not_mixed_up() -> None:
    async with SmtpPeer() as good, SmtpPeer() as bad, relay_to(good) as to_good, relay_to(bad) as to_bad:
        bad.answer("rcpt", "550 5.1.1 no")
        tasks = [asyncio.create_task(send(relay)) for _ in range(20) for relay in (to_good, to_bad)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, str) for result in results[::2])
        assert all(isinstance(result, RelayRefused) for result in results[1::2])
        assert (len(good.accepted), len(bad.accepted)) == (20, 0)


async def test_the_trace_shows_the_conversation_without_secrets(certificates: Certificates) -> None:
    lines: list[tuple[str, str]] = []
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), users={"we": "secret"}, mechanisms="LOGIN") as peer:
        settings: dict[str, Any] = {
            "tls": "starttls",
            "ca_file": certificates.ca_file,
            "user": "we",
            "password": "secret",
        }
        arguments: dict[str, Any] = {"trace": lambda who, line: lines.append((who, line))}
        async with relay_to(peer, arguments=arguments, helo="client.test", **settings) as relay:
            await send(relay)
    assert lines == [
        ("*", f"connected to 127.0.0.1 port {peer.port}"),
        ("S", "220 peer.test ESMTP"),
        ("C", "EHLO client.test"),
        ("S", "250-peer.test"),
        ("S", "250-8BITMIME"),
        ("S", "250-SMTPUTF8"),
        ("S", "250-SIZE 50000000"),
        ("S", "250-STARTTLS"),
        ("S", "250 AUTH LOGIN"),
        ("C", "STARTTLS"),
        ("S", "220 2.0.0 go ahead"),
        ("*", "TLS established"),
        ("C", "EHLO client.test"),
        ("S", "250-peer.test"),
        ("S", "250-8BITMIME"),
        ("S", "250-SMTPUTF8"),
        ("S", "250-SIZE 50000000"),
        ("S", "250 AUTH LOGIN"),
        ("C", "AUTH LOGIN"),
        ("S", "334 VXNlcm5hbWU6"),
        ("C", "***"),
        ("S", "334 UGFzc3dvcmQ6"),
        ("C", "***"),
        ("S", "235 2.7.0 welcome"),
        ("C", f"MAIL FROM:<bounce@example.com> SIZE={len(MESSAGE)}"),
        ("S", "250 2.1.0 ok"),
        ("C", "RCPT TO:<ann@example.org>"),
        ("S", "250 2.1.5 ok"),
        ("C", "DATA"),
        ("S", "354 go"),
        ("C", f"(message, {len(MESSAGE) + 3} octets with its final dot)"),
        ("S", "250 2.0.0 Ok: queued as 1"),
        ("C", "QUIT"),
        ("S", "221 2.0.0 bye"),
    ]
