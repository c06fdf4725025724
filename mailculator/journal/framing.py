"""Records: how payloads are told apart on disk, and how a torn or damaged one is told from a sound one.

A record is one line: the payload's length as four hexadecimal digits, its CRC-32 (that of zlib) as eight, and the
payload, with a space between them and LF at the end. A payload is printable ASCII, so the first LF after a record's
beginning is its end: length and line say the same thing twice, and no single changed octet makes a whole record look
like a torn one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

PAYLOAD_LIMIT = 0xFFFF
_HEAD = 14
"""Octets before the payload."""
_LINE_LIMIT = _HEAD + PAYLOAD_LIMIT + 1
_LINE = re.compile(rb"([0-9a-f]{4}) ([0-9a-f]{8}) ([ -~]+)\n", re.ASCII)
# What a record can begin with, however little of it there is.
_BEGINNING = re.compile(rb"[0-9a-f]{0,4}|[0-9a-f]{4} [0-9a-f]{0,8}|[0-9a-f]{4} [0-9a-f]{8} [ -~]*", re.ASCII)


def frame(payload: bytes) -> bytes:
    """The record of a payload. Errors: ValueError when it is longer than PAYLOAD_LIMIT, or empty."""
    if not 0 < len(payload) <= PAYLOAD_LIMIT:
        raise ValueError(f"a mark of {len(payload)} octets; a record holds 1 to {PAYLOAD_LIMIT}")
    return b"%04x %08x %s\n" % (len(payload), zlib.crc32(payload), payload)


class Records:
    """The payloads of one segment, in order; memory for one of them.

    Arguments:
        stream: at the segment's beginning.

    Once it has been read, `torn` says that the last record is incomplete, as a crash in the middle of a write leaves
    it: nobody was told that it had been made. `damage` says where and why the rest cannot be read, if it cannot.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._offset = 0
        self.torn = False
        self.damage: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        while self.damage is None and (line := self._stream.readline(_LINE_LIMIT)):
            payload = _payload(line)
            if payload is not None:
                yield payload
            elif _is_torn(line):
                self.torn = True
                return
            else:
                self.reject("not what was written there")
            self._offset += len(line)

    def reject(self, reason: str) -> None:
        """What was handed out last cannot be understood: the rest is not read either."""
        self.damage = f"unreadable from octet {self._offset} on: {reason}"


def _payload(line: bytes) -> bytes | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    payload = found[3]
    sound = int(found[1], 16) == len(payload) and int(found[2], 16) == zlib.crc32(payload)
    return payload if sound else None


def _is_torn(line: bytes) -> bool:
    """Whether it is the first part of a record: shorter than it says, and made of what a record is made of.

    Octets of zero are none of that. They stand where a file system lost what it had promised to keep.
    """
    if not _BEGINNING.fullmatch(line):
        return False
    return len(line) < _HEAD or len(line) < _HEAD + int(line[:4], 16) + 1
