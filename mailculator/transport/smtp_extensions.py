"""What a relay offers in its answer to EHLO, and what MAIL asks for of it.

RFC 5321 section 4.1.1.1 for the answer; RFC 1870 for SIZE, RFC 6152 for 8BITMIME, RFC 6531 for SMTPUTF8, RFC 4954 for
AUTH, RFC 2920 for PIPELINING.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailculator.errors import RelayRefused
from mailculator.transport.base import Envelope
from mailculator.transport.smtp_replies import Reply
from mailculator.transport.streamed import Leaving


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a relay offers.

    Arguments:
        offered: keyword in lower case to its parameters.
        mechanisms: of AUTH, in lower case.
    """

    offered: Mapping[str, str] = field(default_factory=dict)
    mechanisms: frozenset[str] = frozenset()

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.offered


def parse_extensions(reply: Reply) -> Extensions:
    """Read the answer to EHLO: its first line is a greeting, each other one a keyword and its parameters."""
    offered: dict[str, str] = {}
    mechanisms: set[str] = set()
    for line in reply.text.split("\n")[1:]:
        keyword, _, parameters = line.partition(" ")
        keyword = keyword.lower()
        if keyword.startswith("auth="):  # as servers wrote it before RFC 2554; some offer it in this form only
            keyword, parameters = "auth", f"{keyword[5:]} {parameters}"
        if keyword == "auth":
            mechanisms.update(parameters.lower().split())
        offered[keyword] = parameters.strip()
    return Extensions(offered, frozenset(mechanisms))


def mail_parameters(extensions: Extensions, envelope: Envelope, message: Leaving) -> str:
    """What stands behind the address in MAIL. Errors: RelayRefused: too large, or it needs what is not offered."""
    parameters = ""
    if "size" in extensions:
        limit = extensions.offered["size"]
        if limit.isdecimal() and 0 < int(limit) < message.size:
            raise RelayRefused("mail", f"message size {message.size} exceeds the relay's limit of {limit}")
        parameters += f" SIZE={message.size}"
    international = envelope.smtputf8 or not (envelope.sender + envelope.recipient).isascii()
    if international and "smtputf8" not in extensions:
        raise RelayRefused("mail", "the relay does not take such an address: smtputf8_unsupported")
    if message.eight_bit:
        if "8bitmime" not in extensions:
            raise RelayRefused("mail", "the relay does not take 8-bit messages: 8bitmime_unsupported")
        parameters += " BODY=8BITMIME"
    return parameters + (" SMTPUTF8" if international else "")
