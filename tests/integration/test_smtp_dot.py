"""The moment of the final dot: what has left before it, what may keep it here, and what is told after the reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mailculator.errors import LeaseLapsed, RelayDeferred, RelayLost, RelayRefused, RelayUnavailable
from mailculator.timing import Timing
from mailculator.transport.outgoing import END, PIECE, check
from mailculator.transport.relay_settings import RelaySettings, tls_context
from mailculator.transport.smtp_wire import Wire
from tests.support.certificates import Certificates
from tests.support.relays import ENVELOPE, LARGE, MESSAGE, PIPELINED, SHORT, always, relay_to, send, unheard, yes
from tests.support.smtp_peer import SmtpPeer

PIECES = 600  # more than two sockets hold between them, where the system lets their buffers grow to 32 MB
DOTS = b"Subject: x\r\n\r\n" + b".dot\r\n" * 30_000 + b"."


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("message", [MESSAGE, DOTS, LARGE, b"", b"\r\n", b"."])
async def test_all_but_the_end_has_come_before_the_dot_is_asked_for(
    message: bytes, tls: Any, certificates: Certificates
) -> None:
    expected = b"".join(check(message).pieces())
    seen: list[bytes] = []
    came = bytearray()
    grown = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while not (line := await reader.readline()).startswith(b"DATA"):
            writer.write(b"220 go\r\n" if line.startswith(b"STARTTLS") else b"250-ok\r\n250 STARTTLS\r\n")
            if line.startswith(b"STARTTLS"):
                await writer.start_tls(certificates.server("127.0.0.1"))
        writer.write(b"354 go\r\n")
        while not came.endswith(END):
            came.extend(await reader.read(65536))
            grown.set()
        writer.write(b"250 taken\r\n")
        await reader.readline()
        writer.transport.abort()

    async def before_dot() -> bool:
        async with asyncio.timeout(10):
            while len(came) < len(expected):
                grown.clear()
                await grown.wait()
        seen.append(bytes(came))
        return True

    server_tls = certificates.server("127.0.0.1") if tls == "implicit" else None
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls) as server:
        peer = SmtpPeer(port=server.sockets[0].getsockname()[1])
        settings = {"tls": tls, "ca_file": certificates.ca_file}
        async with relay_to(peer, **settings) as relay:
            reply = await relay.send(ENVELOPE, message, before_data=always, before_dot=before_dot, after_reply=unheard)
    assert reply == "250 taken"
    assert seen == [expected]
    assert came == expected + END


@pytest.mark.parametrize("tls", [False, True])
async def test_what_our_buffers_still_hold_has_not_left(certificates: Certificates, tls: bool) -> None:
    """Each piece is asked for only when the one before has been taken by the kernel, beneath TLS too."""
    reading = asyncio.Event()
    held: list[int] = []  # before each piece, and at the end
    raws: list[asyncio.Transport] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reading.wait()
        while await reader.read(1 << 20):
            pass
        writer.transport.abort()

    def pieces(wire: Wire) -> Iterator[bytes]:
        for _ in range(PIECES):
            held.append(sum(one.get_write_buffer_size() for one in (*raws, wire._transport) if one is not None))
            yield b"x" * (PIECE - 2) + b"\r\n"
        held.append(sum(one.get_write_buffer_size() for one in (*raws, wire._transport) if one is not None))

    server_tls = certificates.server("127.0.0.1") if tls else None
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls))
        host, port = server.sockets[0].getsockname()
        raw, wire = await asyncio.get_running_loop().create_connection(Wire, host, port)
        stack.callback(wire.abort)
        raws.append(raw)
        if tls:
            context = tls_context(RelaySettings(host, port, ca_file=certificates.ca_file))
            await wire.secure(context, host, 10)
        sending = asyncio.create_task(wire.transmit(pieces(wire), 10))
        stuck = 0
        while not stuck or stuck < len(held):  # until nothing moves any more
            stuck = len(held)
            for _ in range(50):
                await asyncio.sleep(0)
        assert stuck < PIECES
        assert not sending.done()
        reading.set()
        assert await sending
    assert len(held) == PIECES + 1
    assert not any(held)


@pytest.mark.parametrize("tls", ["none", "implicit"])
async def test_a_relay_that_takes_nothing_is_not_asked_for_the_dot(certificates: Certificates, tls: str) -> None:
    asked: list[bool] = []

    async def before_dot() -> bool:
        asked.append(True)
        return True

    certificate = certificates.server("127.0.0.1") if tls == "implicit" else None
    async with SmtpPeer(tls=certificate, implicit=tls == "implicit") as peer:
        peer.hang("body")
        timing = Timing(smtp_body=0.25)
        async with relay_to(peer, timing, tls=tls, ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayUnavailable, match=r"^body: no answer in time$"):
                await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=before_dot, after_reply=unheard)
    assert asked == []
    assert peer.accepted == []


async def test_nothing_comes_between_the_yes_and_the_dot() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        tasks: list[asyncio.Task[str]] = []

        async def before_dot() -> bool:
            # It strikes at the first thing that is awaited after this.
            asyncio.get_running_loop().call_soon(tasks[0].cancel)
            return True

        tasks.append(
            asyncio.create_task(
                relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=before_dot, after_reply=unheard)
            )
        )
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        await peer.delivered(1)
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


@pytest.mark.parametrize(
    ("said", "closes", "error", "detail"),
    [
        (b"552 5.3.4 too much\r\n", False, RelayRefused, "5.3.4 too much"),
        (b"552-5.3.4 too\r\n552 5.3.4 much\r\n", False, RelayRefused, "5.3.4 too 5.3.4 much"),
        (b"451 4.3.0 later\r\n", True, RelayDeferred, "4.3.0 later"),
        (b"250 fine\r\n", False, RelayUnavailable, "reply not understood: said out of turn: 250 fine"),
        (b"250", True, RelayUnavailable, "connection lost"),
        (b"", True, RelayUnavailable, "connection lost"),
    ],
)
async def test_a_relay_that_speaks_or_goes_while_the_dot_is_asked_for_gets_none(
    said: bytes, closes: bool, error: type[Exception], detail: str
) -> None:
    told: list[int] = []
    rest: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while not (await reader.readline()).startswith(b"DATA"):
            writer.write(b"250 ok\r\n")
        writer.write(b"354 go\r\n")
        await asked.wait()
        writer.write(said)
        if closes:
            writer.write_eof()
        rest.set_result(await reader.read())
        writer.transport.abort()

    async def after_reply(code: int, _: str) -> None:
        told.append(code)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        async with relay_to(SmtpPeer(port=server.sockets[0].getsockname()[1])) as relay:

            async def before_dot() -> bool:
                asked.set()
                session_has_heard = asyncio.Event()
                while not session_has_heard.is_set():
                    await asyncio.sleep(0)
                    if wires[0]._ended or not wires[0]._reader.silent:
                        session_has_heard.set()
                return True

            wires: list[Wire] = []
            made = Wire.connection_made

            def connection_made(wire: Wire, transport: asyncio.BaseTransport) -> None:
                wires.append(wire)
                made(wire, transport)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Wire, "connection_made", connection_made)
                with pytest.raises(error) as caught:
                    async with asyncio.timeout(10):
                        await relay.send(
                            ENVELOPE, MESSAGE, before_data=always, before_dot=before_dot, after_reply=after_reply
                        )
            assert type(caught.value) is error
            assert caught.value.detail == detail  # type: ignore[attr-defined]
            assert caught.value.phase == "body"  # type: ignore[attr-defined]
            assert relay._idle == []
        with contextlib.suppress(ConnectionResetError):  # then nothing more can have come either
            assert await rest == MESSAGE[:-2]
    assert told == []


@pytest.mark.parametrize("error", [OSError(5, "journal"), RuntimeError("journal"), LeaseLapsed("journal")])
async def test_what_the_dots_question_raises_is_passed_on_and_the_dot_kept(error: Exception) -> None:
    async def before_dot() -> bool:
        raise error

    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(type(error)) as caught:
            await relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=before_dot, after_reply=unheard)
        assert caught.value is error
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert peer.sessions == 2


async def test_a_send_cancelled_while_the_dot_is_asked_for_keeps_it() -> None:
    asked = asyncio.Event()

    async def before_dot() -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    async with SmtpPeer(extensions=PIPELINED) as peer, relay_to(peer, connections=1) as relay:
        sending = asyncio.create_task(
            relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=before_dot, after_reply=unheard)
        )
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert peer.sessions == 2


# After the reply.


@pytest.mark.parametrize(
    ("reply", "error", "kept"),
    [
        ("250 2.0.0 taken by ann@example.org", None, 1),
        ("251-2.0.0 taken\r\n251 twice", None, 1),
        ("451 4.3.0 later", RelayDeferred, 1),
        ("554 5.7.1 spam", RelayRefused, 1),
        ("421 4.3.2 going down", RelayDeferred, 0),
    ],
)
async def test_the_reply_is_told_when_the_connection_has_been_decided_on(
    reply: str, error: type[Exception] | None, kept: int
) -> None:
    told: list[tuple[int, str, int]] = []

    async def after_reply(code: int, text: str) -> None:
        told.append((code, text, len(relay._idle)))

    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("dot", reply, times=1)
        sending = relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=yes, after_reply=after_reply)
        if error is None:
            await sending
        else:
            with pytest.raises(error):
                await sending
    text = {"250": "2.0.0 taken by ***@example.org", "251": "2.0.0 taken twice"}.get(reply[:3], reply[4:])
    assert told == [(int(reply[:3]), text, kept)]


@pytest.mark.parametrize("kind", ["hang", "reset", "drop", "354 more", "junk"])
async def test_no_reply_is_told_where_there_was_none(kind: str) -> None:
    told: list[int] = []

    async def after_reply(code: int, _: str) -> None:
        told.append(code)

    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        if kind in ("hang", "reset", "drop"):
            getattr(peer, kind)("dot")
        else:
            peer.answer("dot", kind)
        with pytest.raises(RelayLost):
            await relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=yes, after_reply=after_reply)
        assert relay._idle == []
    assert told == []


@pytest.mark.parametrize("reply", ["250 2.0.0 taken", "554 5.7.1 spam"])
async def test_what_telling_raises_is_passed_on_and_costs_no_connection(reply: str) -> None:
    async def after_reply(code: int, _: str) -> None:
        raise OSError(code, "journal")

    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("dot", reply, times=1)
        with pytest.raises(OSError, match="journal"):
            await relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=yes, after_reply=after_reply)
        await send(relay)
        assert peer.sessions == 1


async def test_telling_comes_before_anything_else_is_awaited() -> None:
    """A cancellation that comes with the first wait after the reply finds the reply told."""
    told: list[int] = []

    async def after_reply(code: int, _: str) -> None:
        told.append(code)
        await asyncio.Event().wait()

    async with SmtpPeer() as peer, relay_to(peer, connections=1) as relay:
        sending = asyncio.create_task(
            relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=yes, after_reply=after_reply)
        )
        read = Wire.read_reply

        async def read_reply(wire: Wire, seconds: float) -> Any:
            reply = await read(wire, seconds)
            if reply.text.startswith("2.0.0 Ok: queued"):
                asyncio.get_running_loop().call_soon(sending.cancel)
            return reply

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Wire, "read_reply", read_reply)
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert told == [250]
        await send(relay)
        assert peer.sessions == 1
