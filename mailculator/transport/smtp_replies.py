"""Replies of an SMTP relay, read out of its bytes within bounds. Pure: no link, no clock.

RFC 5321 section 4.2: a reply is one or more lines, each with the same three-digit code; a hyphen behind the code says
that another line follows. The first digit decides, so any code from 200 to 599 is taken: relays use some that no RFC
lists. A code alone on its line is a reply (section 4.2 asks clients to accept it).

A line that ends in a bare LF is taken as well, though section 2.3.8 gives CRLF only. Nothing can be smuggled past us by
it: whatever stands behind a complete reply answers the next command or counts as said out of turn, whichever line end
came before it. To refuse it would only keep mail from a relay that is sloppy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field

from mailculator.transport.masking import Mask
from mailculator.values import value

LONGEST_LINE = 2048
"""Octets of one line with its end; section 4.5.3.1.5 allows 512."""

LARGEST_REPLY = 65536
"""Octets of a whole reply, and of everything that is kept unread."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -]).*)?", re.DOTALL)


class ReplyError(Exception):
    """What the relay said is no reply, is too long, or was not asked for. The connection is of no use any more."""


@value
class Reply:
    """One reply.

    Arguments:
        code: three digits, 200 to 599.
        lines: as they came, code included, without their line ends.
        mask: takes our secrets out of them.
    """

    code: int
    lines: tuple[str, ...]
    mask: Callable[[str], str] = field(default=Mask(), repr=False, compare=False)

    @property
    def text(self) -> str:
        """What stands behind the codes, one line below the other."""
        return "\n".join(line[4:].strip() for line in self.lines)

    @property
    def words(self) -> str:
        """The same for people: whatever goes into a reason, a log or a trace is taken from here."""
        return self.mask(self.text)


class ReplyReader:
    """Bytes in, replies out. What is fed is kept until it is taken, up to LARGEST_REPLY octets.

    Arguments:
        mask: takes our secrets out of what a relay says.
    """

    def __init__(self, mask: Mask | None = None) -> None:
        self._mask = mask or Mask()
        self._received = bytearray()
        self._searched = 0
        self._lines: list[str] = []
        self._size = 0
        self._flooded = False

    @property
    def silent(self) -> bool:
        """Whether nothing is there, not even a part of a reply."""
        return not (self._received or self._lines or self._flooded)

    def feed(self, data: bytes) -> bool:
        """Keep what the relay said; False when that was more than is kept."""
        room = LARGEST_REPLY - len(self._received)
        if len(data) > room:
            self._flooded = True
            data = data[:room]
        self._received += data
        return not self._flooded

    def take(self) -> Reply | None:
        """The next reply, or None while it is not complete. Errors: ReplyError."""
        while end := self._received.find(b"\n", self._searched) + 1:
            last = self._read_line(bytes(self._received[:end]))
            del self._received[:end]
            self._searched = 0
            if last:
                return self._finish()
        # Where a reply comes octet by octet, what was searched is not searched again.
        self._searched = len(self._received)
        if self._flooded or self._searched > LONGEST_LINE:
            raise ReplyError("reply too long")
        return None

    def peek(self) -> str:
        """The first of what is kept, for an error's text."""
        return self._shown(bytes(self._received[:LONGEST_LINE]))

    def _shown(self, octets: bytes) -> str:
        return self._mask(octets.decode("utf-8", "replace"))[:200]

    def _read_line(self, line: bytes) -> bool:
        """Whether it was its reply's last line."""
        self._size += len(line)
        if len(line) > LONGEST_LINE or self._size > LARGEST_REPLY:
            raise ReplyError("reply too long")
        line = line.rstrip(b"\r\n")
        found = _LINE.fullmatch(line)
        if found is None:
            raise ReplyError(self._shown(line) or "an empty line")
        text = line.decode("utf-8", "surrogateescape")
        if self._lines and self._lines[0][:3] != text[:3]:
            raise ReplyError(f"its lines bear different codes: {self._shown(line)}")
        self._lines.append(text)
        return found[2] != b"-"

    def _finish(self) -> Reply:
        lines = tuple(self._lines)
        self._lines.clear()
        self._size = 0
        return Reply(int(lines[0][:3]), lines, self._mask)
