from __future__ import annotations

import asyncio

import pytest
from aiosmtplib import SMTPResponse, SMTPResponseException

from mailculator.transport.smtp_wire import Wire


class Link(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Wire, Link]:
    wire, link = Wire(), Link()
    wire.connection_made(link)
    return wire, link


async def test_a_cancellation_that_comes_with_the_reply_is_not_swallowed() -> None:
    wire, _ = connected()
    asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
    await asyncio.sleep(0)
    wire.data_received(b"250 ok\r\n")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_an_exchange() -> None:
    wire, link = connected()
    asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
    await asyncio.sleep(0)
    wire.data_received(b"250-a\r\n25")
    assert not asking.done()
    wire.data_received(b"0 b\r\n")
    assert await asking == SMTPResponse(250, "a\nb")
    assert link.written == b"NOOP\r\n"
    assert wire.alive


async def test_a_second_reply_in_the_packet_spoils_the_wire() -> None:
    wire, link = connected()
    asking = asyncio.create_task(wire.exchange(b"NOOP", 10))
    await asyncio.sleep(0)
    wire.data_received(b"250 ok\r\n250 more\r\n")
    assert (await asking).code == 250
    assert not wire.alive
    with pytest.raises(SMTPResponseException, match="out of turn: 250 more"):
        await wire.exchange(b"NOOP", 10)
    assert link.written == b"NOOP\r\n"


async def test_what_is_said_unasked_spoils_the_wire() -> None:
    wire, link = connected()
    wire.data_received(b"220 hello\r\n")
    assert (await wire.read_response(timeout=10)).code == 220
    assert wire.alive
    wire.data_received(b"421 going down\r\n")
    assert not wire.alive
    with pytest.raises(SMTPResponseException, match="out of turn"):
        await wire.exchange(b"MAIL FROM:<a@b>", 10)
    assert link.written == b""


async def test_what_is_kept_of_unasked_babble_is_bounded() -> None:
    wire, _ = connected()
    wire.data_received(b"220 hello\r\n")
    await wire.read_response(timeout=10)
    for _ in range(100):
        wire.data_received(b"x" * 65536)
    assert len(wire._received) <= 131072


async def test_control_characters_are_never_written() -> None:
    wire, link = connected()
    with pytest.raises(ValueError, match="control character"):
        await wire.exchange(b"MAIL FROM:<a@b>\r\nRSET", 10)
    assert link.written == b""
