"""A message that is made while it leaves, to a real peer: slow, gone, or talking; and a maker that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailculator.errors import LeaseLapsed, PayloadError, RelayRefused, RelayUnavailable, TransportError
from mailculator.timing import Timing
from mailculator.transport.outgoing import PIECE
from mailculator.transport.smtp import SmtpRelay
from mailculator.transport.smtp_wire import Wire
from tests.support.certificates import Certificates
from tests.support.relays import ENVELOPE, LARGE, MESSAGE, PIPELINED, PLAIN, SHORT, always, relay_to, send, unheard, yes
from tests.support.smtp_peer import SmtpPeer
from tests.support.streams import Stream

DOTS = b"Subject: x\r\n\r\n" + b".dot\r\n..\r\n" * 30_000 + b".\r\n"


async def stream(
    relay: SmtpRelay, message: Stream, before_dot: Callable[[], Awaitable[bool]] = yes, seconds: float = 10
) -> str:
    async with asyncio.timeout(seconds):
        return await relay.send(ENVELOPE, message, before_data=always, before_dot=before_dot, after_reply=unheard)


async def never() -> bool:
    raise AssertionError("the dot was asked for")


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
@pytest.mark.parametrize("tls", ["none", "implicit"])
@pytest.mark.parametrize(("message", "size"), [(MESSAGE, 1), (DOTS, 4093), (DOTS, 1_000_000), (LARGE, 1_000_000)])
async def test_it_comes_as_one_that_is_held_does(
    message: bytes, size: int, tls: Any, extensions: tuple[str, ...], certificates: Certificates
) -> None:
    implicit = tls == "implicit"
    certificate = certificates.server("127.0.0.1") if implicit else None
    async with (
        SmtpPeer(tls=certificate, implicit=implicit, extensions=extensions) as peer,
        relay_to(peer, tls=tls, ca_file=certificates.ca_file) as relay,
    ):
        for _ in range(2):
            await stream(relay, Stream(message, [size]))
        await send(relay, message)
    assert [one.content for one in peer.accepted] == [message] * 3
    assert len({one.octets for one in peer.accepted}) == 1
    assert len({one.parameters for one in peer.accepted}) == 1
    assert peer.sessions == 1


async def test_eight_bit_is_asked_for_where_it_is_announced() -> None:
    message = "Subject: x\r\n\r\nè\r\n".encode()
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await stream(relay, Stream(message, [3], eight_bit=True))
        assert peer.accepted[0].parameters == f"SIZE={len(message)} BODY=8BITMIME"


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
async def test_nothing_is_made_for_a_relay_that_refuses_the_mail(extensions: tuple[str, ...]) -> None:
    asked: list[int] = []

    async def before(at: int) -> None:
        asked.append(at)

    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer) as relay:
        peer.answer("rcpt", "550 5.1.1 unknown", times=1)
        with pytest.raises(RelayRefused):
            await stream(relay, Stream(MESSAGE, before=before))
        assert asked == []
        await send(relay)
        assert peer.sessions == 1


async def test_the_next_piece_is_made_when_the_one_before_has_left() -> None:
    """What a slow reader has not taken is bounded by what the kernel holds, and by one PIECE of ours."""
    held: list[int] = []
    wires: list[Wire] = []
    made = Wire.connection_made

    def connection_made(wire: Wire, transport: asyncio.BaseTransport) -> None:
        wires.append(wire)
        made(wire, transport)

    async def before(_: int) -> None:
        held.append(wires[0]._transport.get_write_buffer_size())  # type: ignore[union-attr]

    async def before_dot() -> bool:
        await before(0)
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wire, "connection_made", connection_made)
        async with SmtpPeer() as peer, relay_to(peer) as relay:
            await stream(relay, Stream(LARGE, [500_000], before=before), before_dot)
            assert [one.content for one in peer.accepted] == [LARGE]
    assert len(held) > len(LARGE) // 500_000
    assert not any(held)


async def test_our_buffer_holds_one_piece_of_the_network_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = Wire._write

    def counted(wire: Wire, data: bytes) -> None:
        written.append(len(data))
        write(wire, data)

    monkeypatch.setattr(Wire, "_write", counted)
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await stream(relay, Stream(LARGE, [1_000_000]))
    assert max(written) <= PIECE


@pytest.mark.parametrize("error", [PayloadError("attachment_changed", "a.pdf"), OSError(5, "share"), LeaseLapsed("x")])
@pytest.mark.parametrize("at", [0, 500_000, len(LARGE)])
async def test_a_maker_that_fails_ends_the_connection_before_the_dot(error: Exception, at: int) -> None:
    async def before(made: int) -> None:
        if made >= at:
            raise error

    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(type(error)) as caught:
            await stream(relay, Stream(LARGE, [500_000], before=before), never)
        assert caught.value is error
        assert relay._idle == []
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert [one.content for one in peer.accepted] == [MESSAGE]
        assert peer.sessions == 2


@pytest.mark.parametrize(
    "message",
    [
        Stream(LARGE, [500_000], size=len(LARGE) - 1),
        Stream(LARGE, [500_000], size=len(LARGE) + 1),
        Stream(LARGE + b"\n\r\n", [500_000]),
        Stream(LARGE + b"x" * 999 + b"\r\n", [500_000]),
        Stream(LARGE + b"x", [500_000]),
        Stream(LARGE + b"\xff\r\n", [500_000]),
    ],
    ids=["more", "less", "bare", "long", "endless", "eight-bit"],
)
async def test_one_that_turns_out_otherwise_than_announced_gets_no_dot(message: Stream) -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(RelayRefused, match=r"^body: "):
            await stream(relay, message, never)
        assert relay._idle == []
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert (len(peer.accepted), peer.sessions) == (1, 2)


@pytest.mark.parametrize(("kind", "detail"), [("hang", "no answer in time"), ("reset", ""), ("drop", "")])
async def test_a_relay_that_takes_no_more_or_goes(kind: str, detail: str) -> None:
    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        getattr(peer, kind)("body", times=1)
        with pytest.raises(RelayUnavailable, match=f"^body: {detail}"):
            await stream(relay, Stream(LARGE, [500_000]), never)
        peer.behave()
        relay._timing = Timing()
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (1, 2)


@pytest.mark.parametrize("at", [0, 500_000])
async def test_a_relay_that_speaks_while_a_piece_is_made_gets_no_more(at: int) -> None:
    came: list[bytes] = []

    async def before(made: int) -> None:
        if made == at:
            spoken.set()
            while wires[0]._reader.silent:
                await asyncio.sleep(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while not (await reader.readline()).startswith(b"DATA"):
            writer.write(b"250 ok\r\n")
        writer.write(b"354 go\r\n")
        reading = asyncio.create_task(reader.read())
        await spoken.wait()
        writer.write(b"552 5.3.4 too much\r\n")
        came.append((await asyncio.gather(reading, return_exceptions=True))[0])  # type: ignore[arg-type]
        writer.transport.abort()
        ended.set()

    spoken, ended = asyncio.Event(), asyncio.Event()
    wires: list[Wire] = []
    made = Wire.connection_made

    def connection_made(wire: Wire, transport: asyncio.BaseTransport) -> None:
        wires.append(wire)
        made(wire, transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wire, "connection_made", connection_made)
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            async with relay_to(SmtpPeer(port=server.sockets[0].getsockname()[1])) as relay:
                with pytest.raises(TransportError) as caught:
                    await stream(relay, Stream(LARGE, [500_000], before=before), never)
            await ended.wait()
    assert (type(caught.value), caught.value.phase, caught.value.code) == (RelayRefused, "body", 552)
    assert isinstance(came[0], ConnectionError) or len(came[0]) <= at


async def test_a_send_cancelled_while_a_piece_is_made_leaves_no_reply_for_the_next_mail() -> None:
    making = asyncio.Event()

    async def before(made: int) -> None:
        if made:
            making.set()
            await asyncio.Event().wait()

    async with SmtpPeer() as peer, relay_to(peer, connections=1) as relay:
        sending = asyncio.create_task(stream(relay, Stream(LARGE, [500_000], before=before), never))
        await making.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert peer.sessions == 2
