"""Payload -> RFC 5322 bytes. Pure."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import TypeVar

from mailculator import headers
from mailculator.errors import PayloadError
from mailculator.payload import Payload

# The interpreter's own table and not the machine's files, so that every replica renders the same bytes; with the
# types of everyday business mail that the table of Python 3.11 lacks (IANA's names).
CONTENT_TYPES = MimeTypes().types_map[True] | {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ics": "text/calendar",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
UNKNOWN_TYPE = "application/octet-stream"

# What render writes itself; lower case. A second one of any of these would be the producer's word against ours.
OWN_HEADERS = frozenset(
    {
        "mime-version",
        "date",
        "message-id",
        "from",
        "to",
        "reply-to",
        "subject",
        "x-mailculator-id",
        "sender",
        "cc",
        "bcc",
    }
)

# RFC 2045 section 6.7 (1) and (2), less "=": octets that quoted-printable leaves alone.
_LITERAL = bytes({9, 10, 13, *range(32, 127)} - {ord("=")})
_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]+")
_ENCODED_LINE = 76
BASE64_OCTETS = 57
"""Octets that make one line of base64."""
_CODED_BLANK = re.compile(rb"=(?:20|09)(?=\r)")


_MIME_VERSION = headers.field("MIME-Version", ["1.0"])
_TEXT_TYPES = {
    subtype: headers.parameterized("Content-Type", f"text/{subtype}", ("charset", "utf-8"))
    for subtype in ("plain", "html")
}
_TRANSFER_ENCODINGS = {
    encoding: headers.field("Content-Transfer-Encoding", [encoding]) for encoding in ("quoted-printable", "base64")
}
# "=_" occurs in neither quoted-printable nor base64 (RFC 2045 section 6.7): no content can hold a boundary. What stands
# for the mail's own part of it here is as long as that, so a field is folded once for all mails.
_TAG_SIZE = 32
_BOUNDARIES = {"alternative": "=_a_", "mixed": "=_m_"}
_NO_TAG = "-" * _TAG_SIZE
_MULTIPART_TYPES = {
    subtype: headers.parameterized("Content-Type", f"multipart/{subtype}", ("boundary", start + _NO_TAG))
    for subtype, start in _BOUNDARIES.items()
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


Content = TypeVar("Content")
"""What may stand for an attachment's lines."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment, read."""

    name: str
    content: bytes


def render(payload: Payload, *, email_id: str, domain: str, date: datetime, attachments: Sequence[Attachment]) -> bytes:
    """The message as it goes to the relay: CRLF line ends, no line over 998 octets, not dot-stuffed.

    It is 7-bit throughout but for a local part that needs SMTPUTF8, which stands in its header as UTF-8 (RFC 6532).
    The same arguments give the same bytes, so every try of a mail sends the same message. Texts end with a line end.
    The work is proportional to the size, about 10 ms a megabyte: large messages belong in a thread.

    Arguments:
        email_id: the row's id; left side of the Message-ID.
        domain: right side of the Message-ID.
        date: the Date header, aware.
        attachments: the payload's, in its order.

    Errors: PayloadError. The payload has been checked, so none is foreseen; what would add a header, a recipient or a
    part is refused here all the same.
    """
    return b"".join(pieces(payload, email_id, domain, date, map(_attachment, attachments)))


def pieces(
    payload: Payload, email_id: str, domain: str, date: datetime, attachments: Iterable[Sequence[bytes | Content]]
) -> list[bytes | Content]:
    """The message as pieces to be joined.

    Arguments:
        attachments: each as `attachment_head` and its base64 lines, or what stands for those.
    Errors: as `render`.
    """
    return [*_headers(payload, email_id, domain, date), *_content(payload, email_id, attachments)]


def _headers(payload: Payload, email_id: str, domain: str, date: datetime) -> list[bytes]:
    if not _ID.fullmatch(email_id) or not _DOMAIN.fullmatch(domain):
        raise PayloadError("message_id", "the id or the domain cannot stand in a Message-ID")
    fields = [
        _MIME_VERSION,
        _date(date),
        headers.field("Message-ID", [f"<{email_id}@{domain}>"]),
        headers.mailbox("From", payload.sender),
        headers.mailbox("To", payload.to),
    ]
    if payload.reply_to.addr_spec != payload.sender.addr_spec:
        fields.append(headers.mailbox("Reply-To", payload.reply_to))
    fields.append(headers.unstructured("Subject", payload.subject))
    # Some relays put their own Message-ID in place of ours (Amazon SES does); this one arrives.
    fields.append(headers.field("X-Mailculator-Id", [email_id]))
    for name, value in payload.custom_headers:
        if name.lower() in OWN_HEADERS or name.lower().startswith("content-"):
            raise PayloadError("header_reserved", f"{name.lower()} is not the producer's to set")
        fields.append(headers.unstructured(name, value))
    return fields


def _date(date: datetime) -> bytes:
    """RFC 5322 section 3.3."""
    if date.tzinfo is not UTC:
        return headers.field("Date", [format_datetime(date)])
    return _utc_date(date.replace(microsecond=0))


@lru_cache(maxsize=64)  # many are accepted in the same second; UTC only, since a moment equals itself in every zone
def _utc_date(second: datetime) -> bytes:
    day = f"{_DAYS[second.weekday()]}, {second.day:02} {_MONTHS[second.month - 1]} {second.year:04}"
    return headers.field("Date", [f"{day} {second.hour:02}:{second.minute:02}:{second.second:02} +0000"])


def _content(
    payload: Payload, email_id: str, attachments: Iterable[Sequence[bytes | Content]]
) -> list[bytes | Content]:
    """The content's own headers, a blank line and the content: an entity (RFC 2045 section 2.4)."""
    texts = [
        _text(subtype, text) for subtype, text in (("plain", payload.body_text), ("html", payload.body_html)) if text
    ]
    if not texts:
        raise PayloadError("body_missing", "neither body_text nor body_html has any text")
    tag = hashlib.sha256(email_id.encode()).hexdigest()[:_TAG_SIZE]
    body: Sequence[bytes | Content] = texts[0] if len(texts) == 1 else _multipart("alternative", tag, texts)
    beside = list(attachments)
    return _multipart("mixed", tag, [body, *beside]) if beside else list(body)


def _multipart(subtype: str, tag: str, entities: Sequence[Sequence[bytes | Content]]) -> list[bytes | Content]:
    opening = _MULTIPART_TYPES[subtype].replace(_NO_TAG.encode(), tag.encode())
    delimiter = f"--{_BOUNDARIES[subtype]}{tag}".encode()
    chunks: list[bytes | Content] = [opening]
    for entity in entities:
        # The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
        chunks += [b"\r\n", delimiter, b"\r\n", *entity]
    return [*chunks, b"\r\n", delimiter, b"--\r\n"]


def _text(subtype: str, text: str) -> list[bytes]:
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError("text_surrogate", f"the {subtype} body holds a lone surrogate") from error
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    content = (content.removesuffix(b"\n") + b"\n").replace(b"\n", b"\r\n")
    coded = len(content.translate(None, _LITERAL))
    if len(content) + 2 * coded <= _about_base64_size(len(content)):
        encoding, encoded = "quoted-printable", _quoted_printable(content)
    else:
        encoding, encoded = "base64", base64_lines(content)
    return [_TEXT_TYPES[subtype], _TRANSFER_ENCODINGS[encoding], b"\r\n", encoded]


def _attachment(attachment: Attachment) -> list[bytes]:
    head = attachment_head(attachment.name, is_utf8=lambda: _is_utf8(attachment.content))
    return [*head, base64_lines(attachment.content)]


def is_text(name: str) -> bool:
    """Whether an attachment of that name is of a text/* type: its charset is told where its content is UTF-8."""
    return _content_type(name).startswith("text/")


def attachment_head(name: str, *, is_utf8: Callable[[], bool]) -> list[bytes]:
    """An attachment's own headers and the blank line after them.

    Arguments:
        is_utf8: whether its content is; asked where `is_text` alone.
    """
    disposition = headers.parameterized("Content-Disposition", "attachment", ("filename", name))
    parameters = []
    if is_text(name) and is_utf8():
        parameters.append(("charset", "utf-8"))
    if b"filename*" in disposition:
        parameters.append(("name", headers.ascii_name(name)))
    return [
        headers.parameterized("Content-Type", _content_type(name), *parameters),
        disposition,
        _TRANSFER_ENCODINGS["base64"],
        b"\r\n",
    ]


def _content_type(name: str) -> str:
    kind = CONTENT_TYPES.get(PurePosixPath(name).suffix.lower(), UNKNOWN_TYPE)
    # Readers would parse these, and base64 is not allowed there (RFC 2045 section 6.4).
    return UNKNOWN_TYPE if kind.startswith(("multipart/", "message/")) else kind


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _quoted_printable(content: bytes) -> bytes:
    return _CODED_BLANK.sub(_within_76, b2a_qp(content))


def _within_76(coded: re.Match[bytes]) -> bytes:
    # binascii lets a line grow to 77 when its last blank is coded; RFC 2045 section 6.7 (5) ends at 76.
    column = coded.start() - coded.string.rfind(b"\n", 0, coded.start()) - 1
    return b"=\r\n" + coded[0] if column > _ENCODED_LINE - len(coded[0]) else coded[0]


def base64_lines(content: bytes) -> bytes:
    """Content in lines of 76 (RFC 2045 section 6.8), each ended by CRLF."""
    encoded = b2a_base64(content, newline=False)
    lines = [encoded[at : at + _ENCODED_LINE] for at in range(0, len(encoded), _ENCODED_LINE)]
    return b"\r\n".join([*lines, b""])


def base64_size(octets: int) -> int:
    """How many octets `base64_lines` makes of so many."""
    encoded = (octets + 2) // 3 * 4
    return encoded + 2 * -(-encoded // _ENCODED_LINE)


def _about_base64_size(octets: int) -> int:
    return (octets + 56) // 57 * 78
