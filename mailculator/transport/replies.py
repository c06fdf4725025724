"""What a relay or a callback URL says, made fit for a row, a log and a terminal."""

from __future__ import annotations

import os
import re
import socket
import ssl

from mailculator.lifecycle import clean
from mailculator.transport.smtp_replies import ReplyError

_QUOTED_LOCAL_PART = re.compile(r'"(?:[^"\\]|\\.)*"(?=@)')
# Tokens are matched whether or not they hold an @, so that a hostile reply costs time in proportion to its length.
_TOKEN = re.compile(r'[^\s<>()\[\],;:"]+')
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")


def mask_addresses(text: str) -> str:
    """Replace the local part of every address: `ann@example.org` becomes `***@example.org`."""

    def mask(token: re.Match[str]) -> str:
        local_part, at, domain = token[0].rpartition("@")
        return f"***@{domain}" if at and (local_part or domain) else token[0]

    if "@" not in text:
        return text
    return _TOKEN.sub(mask, _QUOTED_LOCAL_PART.sub("", text))


def one_line(text: str) -> str:
    """A peer's words on one line: no control characters, no full addresses, bounded."""
    return clean(mask_addresses(text))


def enhanced_code(text: str) -> str | None:
    """The enhanced status code a reply begins with (RFC 3463), if it has one."""
    found = _ENHANCED.match(text)
    return found[1] if found else None


def describe(error: BaseException) -> str:
    """A network or protocol failure in words an operator can act on."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return one_line(f"certificate not accepted: {error.verify_message}")
        case ssl.SSLError():
            return one_line(f"TLS failed: {error.reason or error}")
        case socket.gaierror():
            return one_line(f"name not resolved: {error.strerror or error}")
        case ReplyError():
            return one_line(f"reply not understood: {error}")
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case _:
            return one_line(str(error)) or type(error).__name__
