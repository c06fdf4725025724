"""A message that is made while it leaves: the same checks and the same stuffing as for one that is held as a whole.

What leaves is always whole lines without the last one's end, so that the edges of pieces do not show: a line is checked
and stuffed as a whole.
"""

from __future__ import annotations

import asyncio

from mailculator.errors import RelayRefused
from mailculator.transport.base import StreamedMessage
from mailculator.transport.outgoing import LARGE, LONGEST_LINE, Outgoing, check_lines

_LONGEST_REST = 2 + LONGEST_LINE + 1
"""Octets that may be held back: a line's end, the next line, and the CR of that one's end."""


class Streamed:
    """A message on its way out, all but END. It serves one send.

    Arguments:
        message: as it is made.
    """

    def __init__(self, message: StreamedMessage) -> None:
        self.size = message.size
        self.eight_bit = message.eight_bit
        self._message = message
        self._came = 0
        self._held = b""  # begins with the end of the line before, where there was one
        self._begun = False

    async def next_piece(self) -> bytes | None:
        """What goes over the wire next, dot-stuffed (RFC 5321 section 4.5.2), maybe nothing; None behind the last.

        Errors: RelayRefused when octets would leave that no relay may be given, or other ones than were announced; and
        what the message raises, as it is.
        """
        piece = await self._message.next_piece()
        if not piece:
            self._check_end()
            return None
        if len(piece) > LARGE:
            return await asyncio.to_thread(self._make_ready, piece)
        return self._make_ready(piece)

    def _make_ready(self, piece: bytes) -> bytes:
        self._came += len(piece)
        if self._came > self.size:
            raise RelayRefused("body", f"the message is larger than the {self.size} octets that were announced")
        if not (self.eight_bit or piece.isascii()):
            raise RelayRefused("body", "the message has an octet above 127, and none was announced")
        octets = self._held + piece
        end = octets.rfind(b"\r\n")
        self._held = octets[max(end, 0) :]
        if len(self._held) > _LONGEST_REST:
            raise RelayRefused("body", f"the message has a line over {LONGEST_LINE} octets")
        if end < 0:
            return b""
        check_lines(octets[: end + 2])
        stuffed = octets[:end].replace(b"\n.", b"\n..")
        first, self._begun = not self._begun, True
        return b"." + stuffed if first and stuffed.startswith(b".") else stuffed

    def _check_end(self) -> None:
        if self._came != self.size:
            raise RelayRefused("body", f"the message has {self._came} octets, and {self.size} were announced")
        if self._held != b"\r\n":
            raise RelayRefused("body", "the message has no line end at its end")


Leaving = Outgoing | Streamed
"""A message that may leave, held as a whole or made while it does."""
