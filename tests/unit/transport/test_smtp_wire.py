from __future__ import annotations

import asyncio

import pytest

from mailculator.transport.smtp_replies import LARGEST_REPLY, Reply, ReplyError
from mailculator.transport.smtp_wire import Wire


class Link(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.aborted = False
        self.limits: tuple[int | None, int | None] | None = None

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += bytes(data)
        self.writes += 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Wire, Link]:
    wire, link = Wire(), Link()
    wire.connection_made(link)
    return wire, link


async def greeted() -> tuple[Wire, Link]:
    wire, link = connected()
    wire.data_received(b"220 hello\r\n")
    assert (await wire.read_reply(10)).code == 220
    return wire, link


async def test_a_cancellation_that_comes_with_the_reply_is_not_swallowed() -> None:
    wire, _ = await greeted()
    asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
    await asyncio.sleep(0)
    wire.data_received(b"250 ok\r\n")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not wire.alive


async def test_an_exchange() -> None:
    wire, link = await greeted()
    asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
    await asyncio.sleep(0)
    wire.data_received(b"250-a\r\n25")
    await asyncio.sleep(0)
    assert not asking.done()
    wire.data_received(b"0 b\r\n")
    assert await asking == Reply(250, ("250-a", "250 b"))
    assert link.written == b"NOOP\r\n"
    assert wire.alive


async def test_a_wire_that_is_owed_a_reply_is_not_alive() -> None:
    wire, _ = connected()
    assert not wire.alive  # the greeting
    wire.data_received(b"220 hello\r\n")
    await wire.read_reply(10)
    assert wire.alive
    wire.send(b"MAIL", b"RCPT")
    assert not wire.alive
    wire.data_received(b"250 a\r\n250 b\r\n")
    await wire.read_reply(10)
    assert not wire.alive
    await wire.read_reply(10)
    assert wire.alive


async def test_a_group_is_one_write() -> None:
    wire, link = await greeted()
    wire.send(b"MAIL", b"RCPT", b"DATA")
    assert (link.written, link.writes) == (b"MAIL\r\nRCPT\r\nDATA\r\n", 1)


async def test_a_reply_that_does_not_come_in_time() -> None:
    wire, _ = await greeted()
    with pytest.raises(TimeoutError):
        await wire.exchange(b"NOOP", 0.01)
    assert not wire.alive


async def test_a_second_reply_in_the_packet_spoils_the_wire() -> None:
    wire, link = await greeted()
    asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
    await asyncio.sleep(0)
    wire.data_received(b"250 ok\r\n250 more\r\n")
    assert (await asking).code == 250
    assert not wire.alive
    with pytest.raises(ReplyError, match="out of turn: 250 more"):
        await wire.exchange(b"NOOP", 10)
    assert link.written == b"NOOP\r\n"


@pytest.mark.parametrize("said", [b"421 going down\r\n", b"4", b"\n", b"x" * 100_000])
async def test_what_is_said_unasked_spoils_the_wire(said: bytes) -> None:
    wire, link = await greeted()
    assert wire.alive
    wire.data_received(said)
    assert not wire.alive
    with pytest.raises(ReplyError, match="out of turn"):
        await wire.exchange(b"MAIL FROM:<a@b>", 10)
    assert link.written == b""


async def test_unasked_babble_is_bounded_and_ends_the_connection() -> None:
    wire, link = await greeted()
    for _ in range(100):
        wire.data_received(b"x" * 65536)
    assert len(wire._reader._received) <= LARGEST_REPLY
    assert link.aborted


@pytest.mark.parametrize("command", [b"MAIL FROM:<a@b>\r\nRSET", b"a\nb", b"a\x00b", b"a\x7fb"])
async def test_control_characters_are_never_written(command: bytes) -> None:
    wire, link = await greeted()
    with pytest.raises(ValueError, match="control character"):
        await wire.exchange(command, 10)
    with pytest.raises(ValueError, match="control character"):
        wire.send(b"RSET", command)
    assert link.written == b""


async def test_a_reply_that_came_before_the_end_is_read_after_it() -> None:
    wire, _ = await greeted()
    wire.send(b"QUIT")
    wire.data_received(b"221 bye\r\n")
    wire.eof_received()
    wire.connection_lost(None)
    assert (await wire.read_reply(10)).code == 221
    assert not wire.alive
    with pytest.raises(ConnectionError):
        await wire.read_reply(10)


async def test_the_end_of_the_link_wakes_who_waits() -> None:
    for end in (Wire.eof_received, lambda wire: wire.connection_lost(OSError("cut"))):
        wire, _ = await greeted()
        asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
        await asyncio.sleep(0)
        end(wire)
        with pytest.raises(ConnectionError, match="connection lost"):
            await asking
        with pytest.raises(ConnectionError):
            wire.send(b"NOOP")


# The message.


async def test_the_next_piece_waits_until_the_one_before_has_left() -> None:
    wire, link = await greeted()
    assert link.limits == (0, None)  # any octet that stays here pauses
    wire.pause_writing()
    sending = asyncio.create_task(wire.transmit([b"a", b"b"], 10))
    for _ in range(5):
        await asyncio.sleep(0)
    assert link.written == b"a"
    wire.resume_writing()
    assert await sending
    assert link.written == b"ab"
    assert wire.finish(b"END")
    assert link.written == b"abEND"
    assert not wire.alive


async def test_the_last_piece_too_has_left_before_transmit_returns() -> None:
    wire, _ = await greeted()
    wire.pause_writing()
    sending = asyncio.create_task(wire.transmit([b"a"], 10))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not sending.done()
    wire.resume_writing()
    assert await sending


async def test_a_piece_that_does_not_leave_in_time() -> None:
    wire, link = await greeted()
    wire.pause_writing()
    with pytest.raises(TimeoutError):
        await wire.transmit([b"a", b"b"], 0.01)
    assert link.written == b"a"


async def test_a_relay_that_speaks_while_a_piece_waits_stops_the_message() -> None:
    wire, link = await greeted()
    wire.pause_writing()
    sending = asyncio.create_task(wire.transmit([b"a", b"b"], 10))
    await asyncio.sleep(0)
    wire.data_received(b"5")
    assert await sending is False
    assert not wire.finish(b"END")
    assert link.written == b"a"
    wire.data_received(b"52 too much\r\n")
    assert (await wire.read_reply(10)).code == 552


async def test_a_link_that_ends_while_a_piece_waits() -> None:
    wire, link = await greeted()
    wire.pause_writing()
    sending = asyncio.create_task(wire.transmit([b"a", b"b"], 10))
    await asyncio.sleep(0)
    wire.connection_lost(None)
    with pytest.raises(ConnectionError):
        await sending
    with pytest.raises(ConnectionError):
        wire.finish(b"END")
    assert link.written == b"a"
