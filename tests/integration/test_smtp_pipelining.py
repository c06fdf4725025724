"""A mail's commands in one group (RFC 2920): sent at once, answered one by one; on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from mailculator.errors import LeaseLapsed, RelayDeferred, RelayRefused, RelayUnavailable, TransportError
from mailculator.timing import Timing
from mailculator.transport.smtp import SmtpRelay
from tests.support.relays import ENVELOPE, MESSAGE, PIPELINED, PLAIN, SHORT, relay_to, send, unheard, yes
from tests.support.smtp_peer import Phase, SmtpPeer

Manner = Literal["each", "together", "octets"]


class Scripted:
    """A server that says what a script has for it, and keeps what came before each of its lines."""

    def __init__(self, *says: bytes) -> None:
        self.says = says
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in self.says:
            writer.write(line)
            self.heard.append(await reader.read(65536))
        writer.close()

    @asynccontextmanager
    async def relay(self) -> AsyncIterator[SmtpRelay]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            peer = SmtpPeer(port=server.sockets[0].getsockname()[1])
            async with relay_to(peer, helo="client.test") as relay:
                yield relay


def commands(heard: bytes) -> list[bytes]:
    return [line.partition(b" ")[0] for line in heard.splitlines()]


async def test_a_mail_is_one_segment_and_rset_is_part_of_the_next_one() -> None:
    script = Scripted(
        b"220 here\r\n",
        b"250-here\r\n250 PIPELINING\r\n",
        b"250 a\r\n250 b\r\n354 c\r\n",
        b"250 taken\r\n",
        b"250 r\r\n250 a\r\n250 b\r\n354 c\r\n",
        b"250 taken\r\n",
    )
    async with script.relay() as relay:
        assert await send(relay) == "250 taken"
        assert await send(relay) == "250 taken"
    assert [commands(heard) for heard in script.heard[1::2]] == [
        [b"MAIL", b"RCPT", b"DATA"],
        [b"RSET", b"MAIL", b"RCPT", b"DATA"],
        [b"QUIT"],
    ]


async def test_without_pipelining_each_command_waits_for_its_turn() -> None:
    script = Scripted(b"220 here\r\n", b"250 here\r\n", b"250 a\r\n", b"250 b\r\n", b"354 c\r\n", b"250 taken\r\n")
    async with script.relay() as relay:
        await send(relay)
    said = [commands(heard) for heard in script.heard]
    assert said[:4] == [[b"EHLO"], [b"MAIL"], [b"RCPT"], [b"DATA"]]
    assert said[5] == [b"QUIT"]


@pytest.mark.parametrize("manner", ["each", "together", "octets"])
async def test_however_the_replies_come_each_answers_its_command(manner: Manner) -> None:
    async with SmtpPeer(extensions=PIPELINED, manner=manner) as peer, relay_to(peer, connections=1) as relay:
        for number in range(1, 6):
            peer.answer("rcpt", f"550 5.1.1 not {number}", times=1)
            with pytest.raises(RelayRefused) as caught:
                await send(relay)
            assert (caught.value.phase, caught.value.detail) == ("rcpt", f"5.1.1 not {number}")
            assert await send(relay) == f"250 2.0.0 Ok: queued as {number}"
        assert peer.sessions == 1
        assert [one.content for one in peer.accepted] == [MESSAGE] * 5


async def test_many_at_once_each_get_their_own_reply() -> None:
    async with SmtpPeer(extensions=PIPELINED, manner="together") as peer, relay_to(peer, connections=4) as relay:
        replies = await asyncio.gather(*(send(relay, f"Subject: {n}\r\n\r\n".encode()) for n in range(60)))
        for number, reply in enumerate(replies):
            place = int(reply.rpartition(" ")[2])
            assert peer.accepted[place - 1].content == f"Subject: {number}\r\n\r\n".encode()


# Refusals within a group, and what the relay says to DATA behind them.


REFUSALS: list[tuple[Phase, str, type[TransportError]]] = [
    ("mail", "552 5.3.4 too big", RelayRefused),
    ("rcpt", "550 5.1.1 unknown", RelayRefused),
    ("rcpt", "450 4.2.0 later", RelayDeferred),
]


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("manner", ["each", "together", "octets"])
@pytest.mark.parametrize(("phase", "reply", "error"), REFUSALS)
async def test_a_refused_mail_whose_data_is_refused_too_leaves_the_session_in_order(
    phase: Phase, reply: str, error: type[TransportError], manner: Manner, used: bool
) -> None:
    async with SmtpPeer(extensions=PIPELINED, manner=manner) as peer, relay_to(peer) as relay:
        if used:
            await send(relay)
        peer.answer(phase, reply, times=1)
        with pytest.raises(error) as caught:
            await send(relay)
        assert (type(caught.value), caught.value.phase, caught.value.code) == (error, phase, int(reply[:3]))
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (1 + used, 1)


@pytest.mark.parametrize("manner", ["each", "together", "octets"])
@pytest.mark.parametrize(("phase", "reply", "error"), REFUSALS)
async def test_a_refused_mail_whose_data_is_granted_is_never_sent(
    phase: Phase, reply: str, error: type[TransportError], manner: Manner
) -> None:
    async with SmtpPeer(extensions=PIPELINED, manner=manner, stubborn=True) as peer, relay_to(peer) as relay:
        peer.answer(phase, reply, times=1)
        with pytest.raises(error) as caught:
            await send(relay)
        assert (type(caught.value), caught.value.phase, caught.value.code) == (error, phase, int(reply[:3]))
        await send(relay)
        assert (len(peer.accepted), peer.sessions, bytes(peer.unwanted)) == (1, 2, b"")
        assert peer.commands.count("DATA") == 2


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_sender_refused_in_a_group_is_the_relays_trouble(stubborn: bool) -> None:
    async with SmtpPeer(extensions=PIPELINED, stubborn=stubborn) as peer, relay_to(peer) as relay:
        peer.answer("mail", "550 5.7.1 not from you", times=1)
        with pytest.raises(RelayUnavailable) as caught:
            await send(relay)
        assert (caught.value.phase, caught.value.code) == ("mail", 550)
        await send(relay)
        assert (len(peer.accepted), peer.sessions, bytes(peer.unwanted)) == (1, 2, b"")


@pytest.mark.parametrize(("reply", "sessions"), [("451 4.3.0 later", 1), ("421 4.3.2 bye", 2)])
async def test_data_refused_in_a_group(reply: str, sessions: int) -> None:
    async with SmtpPeer(extensions=PIPELINED) as peer, relay_to(peer) as relay:
        peer.answer("data", reply, times=1)
        with pytest.raises(RelayDeferred, match=r"^data: "):
            await send(relay)
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (1, sessions)


@pytest.mark.parametrize("said", ["421 4.3.2 bye", "250 ok", "what?"])
async def test_what_a_relay_says_to_data_behind_a_refusal_does_not_change_it(said: str) -> None:
    async with SmtpPeer(extensions=PIPELINED, stubborn=True) as peer, relay_to(peer) as relay:
        peer.answer("rcpt", "550 5.1.1 unknown", times=1)
        peer.answer("data", said, times=1)
        with pytest.raises(RelayRefused, match=r"^rcpt: 550 5\.1\.1 unknown$"):
            await send(relay)
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (1, 2)


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
async def test_a_relay_that_fails_behind_a_refusal_does_not_change_it(kind: str) -> None:
    async with SmtpPeer(extensions=PIPELINED, stubborn=True) as peer, relay_to(peer, SHORT) as relay:
        peer.answer("rcpt", "450 4.2.0 later", times=1)
        getattr(peer, kind)("data", times=1)
        with pytest.raises(RelayDeferred, match=r"^rcpt: 450 4\.2\.0 later$"):
            await send(relay)
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (1, 2)


async def test_a_send_cancelled_behind_a_refusal_leaves_no_reply_for_the_next_mail() -> None:
    async with SmtpPeer(extensions=PIPELINED, stubborn=True) as peer, relay_to(peer, connections=1) as relay:
        peer.answer("rcpt", "450 4.2.0 later", times=1)
        peer.hang("data", times=1)
        sending = asyncio.create_task(send(relay))
        await peer.reached("data")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert peer.sessions == 2


# What is said beyond the replies that are due.


@pytest.mark.parametrize("more", ["250 more", "251-more", "junk", "550 5.1.1 no"])
@pytest.mark.parametrize("manner", ["each", "together", "octets"])
@pytest.mark.parametrize("phase", ["mail", "rcpt"])
async def test_one_reply_too_many_delivers_nothing(phase: Phase, manner: Manner, more: str) -> None:
    async with SmtpPeer(extensions=PIPELINED, manner=manner) as peer, relay_to(peer) as relay:
        peer.say(phase, more, times=1)
        with pytest.raises(TransportError):
            await send(relay)
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert (len(peer.accepted), peer.sessions) == (1, 2)


@pytest.mark.parametrize("manner", ["each", "together"])
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
async def test_a_flood_in_place_of_a_reply_is_bounded(phase: Phase, manner: Manner) -> None:
    async with SmtpPeer(extensions=PIPELINED, manner=manner) as peer, relay_to(peer) as relay:
        peer.answer(phase, b"250-x\r\n" * 2_000_000, times=1)
        with pytest.raises(RelayUnavailable, match="reply too long"):
            await send(relay)
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (1, 2)


# The lease.


async def test_the_lease_is_asked_about_before_the_group_leaves() -> None:
    async with SmtpPeer(extensions=PIPELINED) as peer, relay_to(peer) as relay:
        await send(relay)
        said = len(peer.commands)
        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, MESSAGE, before_data=lambda: False, before_dot=yes, after_reply=unheard)
        await send(relay)
        assert [command.split()[0] for command in peer.commands[said:]] == ["RSET", "MAIL", "RCPT", "DATA"]
        assert (len(peer.accepted), peer.sessions) == (2, 1)


async def test_it_is_asked_about_again_on_a_connection_that_replaces_another() -> None:
    asked: list[int] = []
    async with SmtpPeer(extensions=PIPELINED) as peer, relay_to(peer) as relay:

        def before_data() -> bool:
            asked.append(peer.sessions)
            return peer.sessions == 1

        await send(relay)
        peer.drop("rset", times=1)
        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, MESSAGE, before_data=before_data, before_dot=yes, after_reply=unheard)
        assert asked == [1, 2]
        assert peer.commands.count("DATA") == 1
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
async def test_a_lost_connection_costs_no_mail_and_sends_none_twice(extensions: tuple[str, ...], kind: str) -> None:
    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer, SHORT) as relay:
        for number in range(1, 5):
            getattr(peer, kind)("rset", times=1)
            assert await send(relay) == f"250 2.0.0 Ok: queued as {number}"
            relay._timing = Timing(smtp_connect=0.25)
        assert (len(peer.accepted), peer.sessions) == (4, 4)
