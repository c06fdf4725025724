"""What leaves through the relay, and what the relay may say to it; on real sockets."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailculator.errors import (
    RelayDeferred,
    RelayLost,
    RelayRefused,
    RelayUnavailable,
    TransportError,
)
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.smtp import SmtpRelay
from tests.support.relays import (
    LARGE,
    SHORT,
    fails_once,
    relay_to,
    send,
)
from tests.support.smtp_peer import Phase, SmtpPeer

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
