"""A message made ready to leave: checked to the last octet, and dot-stuffed piece by piece."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailculator.errors import RelayRefused
from mailculator.transport.base import Envelope

LONGEST_LINE = 998
"""Octets of a line without its CRLF (RFC 5322 section 2.1.1)."""

PIECE = 65536
"""Octets of a message, before stuffing, that go to the network at once."""

END = b"\r\n.\r\n"
"""What completes a message: its last line end and the final dot line (RFC 5321 section 4.1.1.4)."""

LARGE = 65_536
"""Octets from which on a message, or a piece of one, is looked through in a thread: twenty pieces of attachments that
are ready in one turn would otherwise hold up the loop for as many milliseconds."""

# A quoted local part may hold anything printable; else nothing that would end the path or start a parameter.
_PATH = re.compile(r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"@)?[^\s<>"\x00-\x1f\x7f]*')


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that may leave.

    Arguments:
        content: ends in CRLF, has no bare CR or LF and no line over LONGEST_LINE; not stuffed.
        eight_bit: an octet is above 127.
    """

    content: bytes
    eight_bit: bool

    @property
    def size(self) -> int:
        """Octets as SIZE counts them (RFC 1870 section 3): without stuffing and dot line."""
        return len(self.content)

    def pieces(self, size: int = PIECE) -> Iterator[bytes]:
        """The message as it goes over the wire, all but END: dot-stuffed (RFC 5321 section 4.5.2), never as a whole.

        Arguments:
            size: octets of a piece before stuffing.
        """
        end = len(self.content) - 2
        begins_line = True
        for start in range(0, end, size):
            piece = self.content[start : min(start + size, end)]
            # There is no LF but that of a CRLF, so the CR may as well stand in the piece before.
            stuffed = piece.replace(b"\n.", b"\n..")
            yield b"." + stuffed if begins_line and piece.startswith(b".") else stuffed
            begins_line = piece.endswith(b"\n")


def check_envelope(envelope: Envelope) -> None:
    """Errors: RelayRefused where an address would become something else within a command."""
    if not (fits_command(envelope.sender) and fits_command(envelope.recipient)):
        raise RelayRefused("mail", "an envelope address has characters that no command can carry")


async def prepare(message: bytes) -> Outgoing:
    """Check a message. Errors: RelayRefused when octets would leave that no relay may be given."""
    if len(message) > LARGE:
        return await asyncio.to_thread(check, message)
    return check(message)


def fits_command(address: str) -> bool:
    """Whether an address can stand between the angle brackets of MAIL or RCPT without becoming something else."""
    return _PATH.fullmatch(address) is not None


def check(message: bytes) -> Outgoing:
    """What may leave of it: all. Errors: RelayRefused for a bare CR or LF, or a line over LONGEST_LINE.

    The renderer makes neither; this is the last place where a smuggled message could still be stopped.
    """
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    for lines in _by_lines(message):
        check_lines(lines)
    return Outgoing(message, not message.isascii())


def _by_lines(message: bytes) -> Iterator[bytes]:
    """Whole lines, some PIECE octets of them at once, so that no list of them is as large as a message."""
    start = 0
    while len(message) - start > PIECE:
        end = message.rfind(b"\r\n", start, start + PIECE) + 2
        if end < start + 2:
            end = start + PIECE  # no line of ours: it is refused
        yield message[start:end]
        start = end
    yield message[start:]


def check_lines(octets: bytes) -> None:
    """Errors: RelayRefused for a bare CR or LF, or a line over LONGEST_LINE.

    Arguments:
        octets: whole lines, the last one's end included; or no line end for longer than a line may be.
    """
    lengths = [*map(len, octets.splitlines())]  # at CR, LF and CRLF, and at nothing else
    # Each line end counted as two octets: they add up only where every one is CRLF.
    ends = 2 * len(lengths) if octets.endswith(b"\r\n") else 2 * len(lengths) - 2
    if sum(lengths) + ends != len(octets):
        raise RelayRefused("body", "the message has a bare CR or LF")
    if max(lengths, default=0) > LONGEST_LINE:
        raise RelayRefused("body", f"the message has a line over {LONGEST_LINE} octets")
