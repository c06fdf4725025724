"""An EML file that the older consumer prepared -> what is sent of it. Pure: bytes in, bytes out.

It is sent as it stands, only its line ends made CRLF: headers are not encoded anew, nothing is added or left out. All
that is read of it is who it is to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.headerregistry import AddressHeader, HeaderRegistry
from typing import cast

from mailculator import address
from mailculator.address import Address
from mailculator.errors import PayloadError

LONGEST_LINE = 998
"""Octets, the CRLF not counted. Source: RFC 5322 section 2.1.1."""
TO_LIMIT = 4000
"""Characters of the To header; one mailbox with an encoded name needs far fewer."""

_HEADERS = HeaderRegistry()
# The older consumer left a CR behind where it folded a long header, as in CR CR LF: one line end, or what it folded
# would begin the body. In bodies each counts for itself.
_HEADER_LINE_END = re.compile(rb"\r+\n|\r|\n")
_SEPARATOR = re.compile(rb"(?>\r+\n|\r|\n)(?>\r\n|\r|\n)")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared message, ready for the relay.

    Arguments:
        recipient: the one address of its To header; no display name.
        content: the whole message, CRLF line ends, the last line's included, no line over 998 octets, not dot-stuffed.
        needs_8bitmime: it holds octets beyond ASCII (RFC 6152).
        has_utf8_headers: they stand in its headers too (RFC 6532). The older consumer wrote accented subjects that way
            and sent them to any relay, so only `recipient.needs_smtputf8` makes SMTPUTF8 a must.
    """

    recipient: Address
    content: bytes
    needs_8bitmime: bool
    has_utf8_headers: bool


def prepare(raw: bytes) -> Prepared:
    """Check a prepared file and normalise its line ends.

    Errors: PayloadError `eml_empty`, `eml_syntax` (no header section, or none that ends), `eml_line_length`, or
    `eml_recipient` when there is not exactly one To header with exactly one address.
    """
    if not raw.strip():
        raise PayloadError("eml_empty", "the prepared file is empty")
    head, body = _split(raw)
    fields = _fields(head)
    content = b"\r\n".join([*head, b"", body])
    if max(map(len, content.split(b"\r\n"))) > LONGEST_LINE:
        raise PayloadError("eml_line_length", f"the prepared file has a line over {LONGEST_LINE} octets")
    return Prepared(
        recipient=_recipient(fields),
        content=content,
        needs_8bitmime=not content.isascii(),
        has_utf8_headers=not all(line.isascii() for line in head),
    )


def _split(raw: bytes) -> tuple[list[bytes], bytes]:
    """The header section's lines, and the body with CRLF line ends; a last line without a line end gets one."""
    separator = _SEPARATOR.search(raw)
    if separator is None:
        raise PayloadError("eml_syntax", "the prepared file has no empty line between headers and body")
    body = raw[separator.end() :].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if body and not body.endswith(b"\n"):
        body += b"\n"
    return _HEADER_LINE_END.split(raw[: separator.start()]), body.replace(b"\n", b"\r\n")


def _fields(head: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Names in lower case, values unfolded (RFC 5322 section 2.2.3)."""
    unfolded: list[bytes] = []
    for line in head:
        if line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] += line
        else:
            unfolded.append(line)
    matches = [_FIELD.fullmatch(line) for line in unfolded]
    if not all(matches):
        raise PayloadError("eml_syntax", "the prepared file does not begin with headers only")
    return [(match[1].lower(), match[2]) for match in matches if match]


def _recipient(fields: list[tuple[bytes, bytes]]) -> Address:
    values = [value for name, value in fields if name == b"to"]
    if len(values) != 1:
        raise PayloadError("eml_recipient", f"the prepared file has {len(values)} To headers; one is expected")
    try:
        text = values[0].decode().strip(" \t")
    except UnicodeDecodeError as error:
        raise PayloadError("eml_recipient", "the To header is neither ASCII nor UTF-8") from error
    if len(text) > TO_LIMIT:
        raise PayloadError("eml_recipient", f"the To header is longer than {TO_LIMIT} characters")
    return _one_mailbox(text)


def _one_mailbox(text: str) -> Address:
    """The one address of a To header's text.

    Two readers have to agree: the standard library's, which knows display names, groups and lists, and our grammar on
    what stands in the last angle brackets. A relay, a mail program and we must not see different recipients
    (CVE-2023-27043).
    """
    try:
        header = cast(AddressHeader, _HEADERS("To", text))
    except Exception as error:  # the parser meets some malformed values with IndexError or RecursionError
        raise PayloadError("eml_recipient", "the To header cannot be read") from error
    if len(header.addresses) != 1 or len(header.groups) != 1:
        raise PayloadError("eml_recipient", "the To header does not hold exactly one address")
    if header.groups[0].display_name is not None:
        raise PayloadError("eml_recipient", "the To header holds a group, not one address")
    bare = text[text.rfind("<") + 1 : -1] if text.endswith(">") else text
    try:
        seen = address.parse(bare, "To")
        told = address.parse(header.addresses[0].addr_spec, "To")
    except PayloadError as error:
        raise PayloadError("eml_recipient", error.detail) from error
    if seen != told:
        raise PayloadError("eml_recipient", "the To header can be read as more than one recipient")
    return seen
