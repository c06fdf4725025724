"""Payload -> RFC 5322 message in pieces: the same octets as `message.render`, attachments being read while it leaves.

A mail with 25 MB of attachments needs memory for its texts and one piece. Pure, but for what `read` of a file does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from mailculator import message
from mailculator.payload import Payload

PIECE = message.BASE64_OCTETS * 2300
"""Octets of an attachment read at a time: whole lines of base64, about 128 KB. Encoding one takes six times as much."""


@dataclass(frozen=True, slots=True)
class AttachmentFile:
    """An attachment that is yet to be read.

    Arguments:
        name: as the recipient sees it.
        size: octets, as known without reading.
        is_utf8: whether all of it is UTF-8; asked of text/* alone (`message.is_text`).
        read: gives the content from its beginning at each call, in pieces of PIECE octets but the last, `size` in all;
            raises PayloadError attachment_changed where that cannot be.
    """

    name: str
    size: int
    is_utf8: bool
    read: Callable[[], Generator[bytes, None, None]]


@dataclass(frozen=True, slots=True)
class MessageStream:
    """A message that is not in memory; each iteration reads the attachments anew, and gives the same octets.

    Iterate in a thread, since it reads files. An iterator that is given up holds an open file until it is closed.
    What `AttachmentFile.read` raises comes out of the iteration, when part of the message may have left.

    Arguments:
        size: octets, exact: an iteration that ends without an error has given so many.
    """

    size: int
    _pieces: tuple[bytes | AttachmentFile, ...]

    def __iter__(self) -> Generator[bytes, None, None]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                with closing(piece.read()) as contents:
                    yield from map(message.base64_lines, contents)


def stream(
    payload: Payload, *, email_id: str, domain: str, date: datetime, attachments: Sequence[AttachmentFile]
) -> MessageStream:
    """The message that `message.render` makes of the same arguments, in pieces. Reads nothing.

    Arguments and errors: as `message.render`.
    """
    entities = (_entity(attachment) for attachment in attachments)
    pieces = tuple(_joined(message.pieces(payload, email_id, domain, date, entities)))
    return MessageStream(sum(map(_size, pieces)), pieces)


def _entity(attachment: AttachmentFile) -> list[bytes | AttachmentFile]:
    return [*message.attachment_head(attachment.name, is_utf8=lambda: attachment.is_utf8), attachment]


def _joined(pieces: Iterable[bytes | AttachmentFile]) -> Iterator[bytes | AttachmentFile]:
    """What stands between two attachments as one."""
    waiting: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            waiting.append(piece)
        else:
            yield b"".join(waiting)
            yield piece
            waiting = []
    yield b"".join(waiting)


def _size(piece: bytes | AttachmentFile) -> int:
    return len(piece) if isinstance(piece, bytes) else message.base64_size(piece.size)
