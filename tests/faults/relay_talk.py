"""What was said to the relay and by it, overheard between the two: which messages left without an answer that came."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from tests.chaos.verdict import Dot

_ID = re.compile(rb"^Message-ID: <([^@>\r\n]+)@", re.MULTILINE)
_COMMAND = re.compile(rb"(?:RSET|MAIL|RCPT|DATA|NOOP|QUIT|EHLO|HELO)[ \r]")
_LAST_LINE = re.compile(rb"^[0-9]{3} [^\r\n]*\r\n", re.MULTILINE)


@dataclass
class _Talk:
    client: str = ""
    heard: bytes = b""
    in_data: bool = False
    reply: bytes = b""
    waiting: Dot | None = None


@dataclass
class RelayTalk:
    """A proxy's listener.

    `unanswered` has the messages whose end was given away, the dot's reply to which has not reached the service; `torn`
    those amid which their connection ended.
    """

    unanswered: list[Dot] = field(default_factory=list)
    torn: list[Dot] = field(default_factory=list)
    _talks: dict[int, _Talk] = field(default_factory=dict)

    def handed_over(self, link: int, data: bytes) -> None:
        """As proxy.Listener has it."""
        talk = self._talks.setdefault(link, _Talk())
        talk.heard += data
        while self._step(talk):
            pass

    def delivered(self, link: int, data: bytes) -> None:
        """As proxy.Listener has it. Part of a reply is none."""
        talk = self._talks.setdefault(link, _Talk())
        if talk.waiting is None:
            return
        talk.reply += data
        if _LAST_LINE.search(talk.reply):
            self.unanswered.remove(talk.waiting)
            talk.waiting = None

    def ended(self, link: int) -> None:
        """As proxy.Listener has it."""
        talk = self._talks.get(link)
        if talk is not None and talk.in_data and (found := _ID.search(talk.heard)):
            self.torn.append(_dot(found, talk))

    def _step(self, talk: _Talk) -> bool:
        """Take one command or one message of what was heard; False when there is no whole one."""
        # After DATA comes the message, or the next command where the relay would have none.
        if talk.in_data and not _COMMAND.match(talk.heard):
            content, end, rest = talk.heard.partition(b"\r\n.\r\n")
            if not end:
                return False
            talk.waiting = _dot(_ID.search(content), talk)
            self.unanswered.append(talk.waiting)
            talk.heard, talk.reply, talk.in_data = rest, b"", False
            return True
        line, end, rest = talk.heard.partition(b"\r\n")
        if not end:
            return False
        talk.heard = rest
        talk.in_data = line == b"DATA"
        if line.startswith(b"EHLO "):
            talk.client = line[5:].decode()
        return True


def _dot(message_id: re.Match[bytes] | None, talk: _Talk) -> Dot:
    return Dot(message_id[1].decode() if message_id else "", talk.client, int(time.time() * 1000))
