"""What the server may say, whole and in pieces, and what must not be taken for an answer.

Packets: https://mariadb.com/kb/en/clientserver-protocol/
"""

from __future__ import annotations

import asyncio
import struct
from datetime import datetime
from decimal import Decimal

import pytest
from pymysql.constants import FIELD_TYPE
from pymysql.err import OperationalError

from mailculator.stores.mariadb_wire import Replies, Result, query

_UTF8, _BINARY = 45, 63


def packet(number: int, content: bytes) -> bytes:
    return struct.pack("<I", len(content) | number % 256 << 24) + content


def column(kind: int, charset: int = _UTF8) -> bytes:
    names = b"\x03def" + b"\x04test" + b"\x01t\x01t" + b"\x01c\x01c"
    return names + b"\x0c" + struct.pack("<HIBHB", charset, 255, kind, 0, 0) + b"\0\0"


def text(value: bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    if len(value) < 251:
        return bytes([len(value)]) + value
    return b"\xfc" + struct.pack("<H", len(value)) + value


def rows_reply(kinds: list[tuple[int, int]], rows: list[list[bytes | None]]) -> bytes:
    end = b"\xfe\0\0\x02\0"
    contents = [bytes([len(kinds)]), *(column(*kind) for kind in kinds), end]
    contents += [b"".join(map(text, row)) for row in rows]
    return b"".join(packet(number, content) for number, content in enumerate([*contents, end], start=1))


def ok(affected: bytes, status: int = 2) -> bytes:
    return packet(1, b"\0" + affected + b"\0" + struct.pack("<HH", status, 0))


REFUSED = packet(1, b"\xff" + struct.pack("<H", 1213) + b"#40001Deadlock found")

TWO_ROWS = rows_reply(
    [
        (FIELD_TYPE.STRING, _UTF8),
        (FIELD_TYPE.LONG, _BINARY),
        (FIELD_TYPE.TIMESTAMP, _BINARY),
        (FIELD_TYPE.NEWDECIMAL, _BINARY),
        (FIELD_TYPE.BLOB, _UTF8),
        (FIELD_TYPE.BLOB, _BINARY),
    ],
    [
        ["però".encode(), b"-7", b"2026-11-28 10:00:00.000250", b"1.5", b"x" * 300, b"\xff\0"],
        [None, None, b"0000-00-00 00:00:00.000000", None, b"", None],
    ],
)
READ_AS = Result(
    (
        ("però", -7, datetime(2026, 11, 28, 10, 0, 0, 250), Decimal("1.5"), "x" * 300, b"\xff\0"),  # noqa: DTZ001
        (None, None, "0000-00-00 00:00:00.000000", None, "", None),
    ),
    2,
)


async def replies(*pieces: bytes) -> Replies:
    """Of a server that has said these, and says no more."""
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return Replies(reader, 0)


async def test_rows_are_read_as_what_their_columns_are() -> None:
    assert await (await replies(TWO_ROWS)).next() == READ_AS


async def test_a_reply_is_the_same_wherever_it_was_cut() -> None:
    for at in range(1, len(TWO_ROWS)):
        reader = asyncio.StreamReader()
        reading = asyncio.create_task(Replies(reader, 0).next())
        reader.feed_data(TWO_ROWS[:at])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader.feed_data(TWO_ROWS[at:])
        assert await reading == READ_AS


async def test_replies_that_come_together_are_read_one_by_one() -> None:
    answers = await replies(ok(b"\xfc\x2c\x01", status=3) + TWO_ROWS + ok(b"\x05", status=0))
    assert (await answers.next(), answers.status) == (Result((), 300), 3)
    assert (await answers.next(), answers.status) == (READ_AS, 2)
    assert (await answers.next(), answers.status) == (Result((), 5), 0)


async def test_a_refusal_is_a_reply_and_the_next_one_follows() -> None:
    refused_midway = rows_reply([(FIELD_TYPE.LONG, _BINARY)], [[b"1"]])
    cut = refused_midway[: -len(packet(5, b"\xfe\0\0\x02\0"))] + packet(5, REFUSED[4:])
    answers = await replies(REFUSED, cut, ok(b"\x01"))
    for _ in range(2):
        with pytest.raises(OperationalError, match="Deadlock found"):
            await answers.next()
    assert await answers.next() == Result((), 1)


async def test_many_rows_use_their_numbers_again() -> None:
    reply = rows_reply([(FIELD_TYPE.LONG, _BINARY)], [[b"%d" % number] for number in range(600)])
    assert (await (await replies(reply)).next()).rows == tuple((number,) for number in range(600))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(TWO_ROWS[:-1], id="not to the end"),
        pytest.param(packet(0, REFUSED[4:]), id="before it was asked"),
        pytest.param(packet(2, ok(b"\x01")[4:]), id="out of its turn"),
        pytest.param(packet(1, b""), id="empty"),
        pytest.param(b"\xff\xff\xff\x01" + b"\0" * 0xFFFFFF, id="a part of more than a packet holds"),
        pytest.param(packet(1, b"\xfb/etc/passwd"), id="send me this file"),
    ],
)
async def test_what_is_no_answer_is_a_lost_connection(said: bytes) -> None:
    with pytest.raises(OSError, match=r"."):
        await (await replies(said)).next()


def test_a_statement_that_no_packet_holds_is_not_sent() -> None:
    assert query("DO 0") == b"\x05\0\0\0\x03DO 0"
    with pytest.raises(OperationalError, match="a statement of 16777214 bytes"):
        query("x" * 16777214)
