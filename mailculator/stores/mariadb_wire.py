"""Statements and replies as bytes: aiomysql reads a reply with two awaits a packet and four calls a value.

Source: https://mariadb.com/kb/en/clientserver-protocol/ (protocol 4.1, text results, EOF packets not deprecated).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from pymysql import converters
from pymysql.connections import TEXT_TYPES
from pymysql.constants import COMMAND, CR, FIELD_TYPE
from pymysql.err import OperationalError, raise_mysql_exception

_OK, _NULL, _END, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_LONGEST = 0xFFFFFF
"""Bytes in a packet that is only the first part of something: nothing here comes near it."""

_READ = 1 << 18
_BINARY = 63
"""The character set of what is none."""

_head = struct.Struct("<I").unpack_from
_status = struct.Struct("<H").unpack_from
_prelude = struct.Struct("<IB").pack


class Result(NamedTuple):
    """What a statement gave: its rows, and how many rows it changed."""

    rows: tuple[tuple[Any, ...], ...]
    affected: int


def query(sql: str) -> bytes:
    """A statement as it goes to the server. Errors: OperationalError for one that is too long."""
    text = sql.encode("utf-8", "surrogateescape")
    if len(text) + 1 >= _LONGEST:
        raise OperationalError(CR.CR_NET_PACKET_TOO_LARGE, f"a statement of {len(text)} bytes")
    return _prelude(len(text) + 1, COMMAND.COM_QUERY) + text


class Replies:
    """The replies on one connection, one after the other.

    Arguments:
        status: what the server said last of its session, pymysql's SERVER_STATUS; kept up to date.
    """

    def __init__(self, reader: asyncio.StreamReader, status: int) -> None:
        self.status = status
        self._reader = reader
        self._data = b""
        self._at = 0
        self._number = 1

    async def next(self) -> Result:
        """The next one, as a whole.

        Errors: MySQLError when the server refuses the statement; OSError when it has gone away, or does not keep to
        the protocol, and no further reply can be read.
        """
        self._number = 1
        first = await self._packet()
        if first[0] == _OK:
            affected, at = _length(first, 1)
            _, at = _length(first, at)
            (self.status,) = _status(first, at)
            return Result((), affected)
        if first[0] == _NULL:
            raise ConnectionError("the server asks for a file")
        columns = tuple([await self._packet() for _ in range(_length(first, 0)[0])])
        await self._packet()
        rows = await self._rows(_decoders(columns))
        return Result(tuple(rows), len(rows))

    async def _rows(self, decoders: tuple[Callable[[bytes], Any], ...]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        while True:
            packet = self._whole()
            if packet is None:
                await self._more()
            elif packet[0] == _END:
                (self.status,) = _status(packet, 3)
                return rows
            else:
                rows.append(_row(packet, decoders))

    async def _packet(self) -> bytes:
        while (packet := self._whole()) is None:
            await self._more()
        return packet

    def _whole(self) -> bytes | None:
        """The next packet's content, if all of it is here."""
        data, start = self._data, self._at + 4
        if len(data) < start:
            return None
        (head,) = _head(data, self._at)
        end = start + (head & _LONGEST)
        if len(data) < end:
            return None
        if head >> 24 != self._number or head & _LONGEST in (0, _LONGEST):
            raise ConnectionError(f"packet {head >> 24} of {end - start} bytes came where {self._number} was to come")
        self._number = (self._number + 1) % 256
        self._at = end
        if data[start] == _ERROR:
            raise_mysql_exception(data[start:end])
        return data[start:end]

    async def _more(self) -> None:
        data = await self._reader.read(_READ)
        if not data:
            raise ConnectionResetError("Lost connection to MySQL server during query")
        self._data = self._data[self._at :] + data
        self._at = 0


def _row(packet: bytes, decoders: tuple[Callable[[bytes], Any], ...]) -> tuple[Any, ...]:
    at = 0
    fields: list[Any] = []
    for decode in decoders:
        size = packet[at]
        at += 1
        if size == _NULL:
            fields.append(None)
            continue
        if size > _NULL:
            size, at = _length(packet, at - 1)
        end = at + size
        fields.append(decode(packet[at:end]))
        at = end
    return tuple(fields)


def _length(packet: bytes, at: int) -> tuple[int, int]:
    """A number as the protocol packs it, and where it ends."""
    first = packet[at]
    if first < _NULL:
        return first, at + 1
    end = at + {0xFC: 3, 0xFD: 4, 0xFE: 9}[first]
    return int.from_bytes(packet[at + 1 : end], "little"), end


@lru_cache(maxsize=256)
def _decoders(columns: tuple[bytes, ...]) -> tuple[Callable[[bytes], Any], ...]:
    """The same statement has the same columns, to the byte."""
    return tuple(map(_decoder, columns))


def _decoder(column: bytes) -> Callable[[bytes], Any]:
    # A description ends with character set (2 bytes), length (4), type (1), flags (2), decimals (1) and a filler (2).
    kind = column[-6]
    if kind in TEXT_TYPES:
        return bytes if int.from_bytes(column[-12:-10], "little") == _BINARY else bytes.decode
    return _DECODERS.get(kind, bytes.decode)


def _moment(raw: bytes) -> object:
    """A datetime without a zone; a text where it is none (a zero date)."""
    try:
        return datetime.fromisoformat(raw.decode())
    except ValueError:
        return converters.convert_datetime(raw)


def _decimal(raw: bytes) -> Decimal:
    return Decimal(raw.decode())


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    **converters.decoders,
    FIELD_TYPE.TIMESTAMP: _moment,
    FIELD_TYPE.DATETIME: _moment,
    FIELD_TYPE.DECIMAL: _decimal,
    FIELD_TYPE.NEWDECIMAL: _decimal,
}
