"""Payload -> RFC 5322 bytes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailculator.payload import Payload


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment, read."""

    name: str
    content: bytes


def render(payload: Payload, *, email_id: str, domain: str, date: datetime, attachments: Sequence[Attachment]) -> bytes:
    """The message as it goes to the relay: CRLF line ends, 7-bit, no line over 998 octets, not dot-stuffed.

    The same arguments give the same bytes, so every try of a mail sends the same message.

    Arguments:
        email_id: the row's id; left side of the Message-ID.
        domain: right side of the Message-ID.
        date: the Date header, aware.
        attachments: the payload's, in its order.
    """
    raise NotImplementedError
