"""Payload bytes -> checked Payload. Pure: no file but the bytes it is given, no clock, no network.

Text is kept exactly as the producer wrote it: leading and trailing blanks, and what looks like an encoded word, are
literal text that the message must show again. What cannot be sent exactly is refused, never cut or mended. Reasons
name the field; they quote neither bodies nor addresses nor paths, for they end up in logs and in callbacks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mailculator import address, strictjson
from mailculator.address import CONTROLS, Address
from mailculator.errors import PayloadError
from mailculator.values import value

__all__ = ["Address", "AttachmentRef", "Payload", "check_size", "encoded_size", "parse"]

PAYLOAD_LIMIT = 30 * 1024 * 1024
"""Bytes of a payload file."""
SUBJECT_LIMIT = 2000
"""Characters of a subject."""
HEADERS_LIMIT = 100
"""Custom headers of one mail."""
HEADER_VALUE_LIMIT = 10_000
"""Characters of a custom header's value."""
LINE_LIMIT = 998
"""Octets of a line without its CRLF (RFC 5322 section 2.1.1); folding needs a blank to fold at."""
ATTACHMENTS_LIMIT = 100
"""Attachments of one mail."""
NAME_LIMIT = 255
"""Characters of an attachment's name, and octets of one part of its path."""
PATH_LIMIT = 4096
"""Octets of an attachment's path."""

FIELDS = frozenset(
    {"id", "from", "reply_to", "to", "subject", "body_html", "body_text", "attachments", "custom_headers"}
)

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")
_RESERVED = re.compile(
    r"to|from|cc|bcc|sender|reply-to|subject|return-path|(?:orig-)?date|message-id|mime-version|received"
    r"|(?:resent|content|dkim|arc|x-mailculator)-.*",
    re.IGNORECASE,
)
_URL_HEADERS = frozenset(f"list-{name}" for name in ("unsubscribe", "subscribe", "help", "owner", "post", "archive"))
_SCHEME_OF_ITEM = re.compile(r"(?:^|[\s<>,(])([^\s<>,(:]*):")
_SCHEMES = frozenset({"http", "https", "mailto"})
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True)
class AttachmentRef:
    """An attachment as the payload names it: a path yet to be joined to the base, and the name the recipient sees."""

    path: str
    name: str


@value
class Payload:
    """A mail as its producer described it, every field checked.

    Arguments:
        id: as the payload says; the row's id is what counts.
        sender: the From header.
        body_html, body_text: at least one is there; an empty one is None.
        ignored: how many fields were not known.
    """

    id: str
    sender: Address
    reply_to: Address
    to: Address
    subject: str
    body_html: str | None
    body_text: str | None
    attachments: tuple[AttachmentRef, ...]
    custom_headers: tuple[tuple[str, str], ...]
    ignored: int = 0


def parse(raw: bytes, *, allowed_sender_domains: Collection[str] = (), limit: int = PAYLOAD_LIMIT) -> Payload:
    """Read and check a payload file's content (RFC 8259 JSON, UTF-8).

    Arguments:
        allowed_sender_domains: domains that `from` may be of, lower case, in A-label form; none = any.
        limit: bytes.
    Errors: PayloadError; strictjson.Truncated, one of its kind, when the input ends too early.
    """
    if len(raw) > limit:
        raise PayloadError("payload_size", f"the payload file is larger than {limit} bytes")
    fields = strictjson.loads(raw)
    if not isinstance(fields, dict):
        raise PayloadError("json_type", "the payload is not a JSON object")
    payload = Payload(
        id=_id(fields),
        sender=_address(fields, "from"),
        reply_to=_address(fields, "reply_to"),
        to=_address(fields, "to"),
        subject=_subject(fields),
        body_html=_body(fields, "body_html"),
        body_text=_body(fields, "body_text"),
        attachments=_attachments(fields.get("attachments")),
        custom_headers=_custom_headers(fields.get("custom_headers")),
        ignored=len(fields.keys() - FIELDS),
    )
    if payload.body_html is None and payload.body_text is None:
        raise PayloadError("body_missing", "neither body_html nor body_text holds anything")
    if allowed_sender_domains and payload.sender.domain not in allowed_sender_domains:
        raise PayloadError("sender_not_allowed", f"from: {payload.sender.domain} is not an allowed sender domain")
    return payload


def encoded_size(payload: Payload, attachment_sizes: Iterable[int]) -> int:
    """About how many bytes the message will have: bodies as they are, attachments as base64 lines (RFC 2045 6.8).

    Arguments:
        attachment_sizes: bytes of each attachment before encoding.
    """
    return (
        _octets(payload.body_html) + _octets(payload.body_text) + sum(-(-size // 57) * 78 for size in attachment_sizes)
    )


def check_size(payload: Payload, attachment_sizes: Iterable[int], limit: int) -> int:
    """`encoded_size`, refused when over `limit` bytes. Errors: PayloadError size."""
    size = encoded_size(payload, attachment_sizes)
    if size > limit:
        raise PayloadError("size", f"the message would have about {size} bytes; the limit is {limit}")
    return size


def _octets(body: str | None) -> int:
    if body is None or body.isascii():
        return len(body or "")
    return len(body.encode())


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise PayloadError("field_type", f"{field}: must be a string")
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PayloadError("text_surrogate", f"{field}: holds a lone surrogate, which is no character") from error
    return value


def _required(fields: dict[str, object], key: str, within: str = "") -> str:
    value, field = fields.get(key), within + key
    if value is None:
        raise PayloadError("field_required", f"{field}: is missing")
    text = _text(value, field)
    if not text:
        raise PayloadError("field_required", f"{field}: is empty")
    return text


def _id(fields: dict[str, object]) -> str:
    text = _required(fields, "id")
    if not _UUID.fullmatch(text):
        raise PayloadError("field_type", "id: must be a UUID, as in 550e8400-e29b-41d4-a716-446655440000")
    return text


def _address(fields: dict[str, object], field: str) -> Address:
    return address.parse(_required(fields, field), field)


def _refuse_controls(text: str, field: str) -> None:
    if CONTROLS.search(text):
        raise PayloadError("header_control", f"{field}: holds a line break or another control character")


def _subject(fields: dict[str, object]) -> str:
    text = _required(fields, "subject")
    if len(text) > SUBJECT_LIMIT:
        raise PayloadError("header_too_long", f"subject: longer than {SUBJECT_LIMIT} characters")
    _refuse_controls(text, "subject")
    if not text.strip():
        raise PayloadError("field_required", "subject: holds nothing but blanks")
    return text


def _body(fields: dict[str, object], field: str) -> str | None:
    value = fields.get(field)
    if value is None:
        return None
    text = _text(value, field)
    if "\x00" in text:
        raise PayloadError("encoding", f"{field}: holds the NUL character, which no mail may (RFC 5322 section 2.1)")
    return text or None


def _custom_headers(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise PayloadError("field_type", "custom_headers: must be an object")
    if len(value) > HEADERS_LIMIT:
        raise PayloadError("header_count", f"custom_headers: more than {HEADERS_LIMIT}")
    seen: set[str] = set()
    for name, content in value.items():
        _check_header_name(name)
        if name.lower() in seen:
            raise PayloadError("header_duplicate", f"custom_headers: {name} stands twice in different case")
        seen.add(name.lower())
        _check_header_value(name, _text(content, f"custom_headers: {name}"))
    return tuple(value.items())


def _check_header_name(name: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise PayloadError("header_name", f"custom_headers: {strictjson.quote(name)} is no header name")
    if _RESERVED.fullmatch(name):
        raise PayloadError("header_reserved", f"custom_headers: {name} is not the producer's to set")


def _check_header_value(name: str, text: str) -> None:
    field = f"custom_headers: {name}"
    if name.lower() in _URL_HEADERS:
        _check_urls(text, field)
    _refuse_controls(text, field)
    if text and not text.strip():
        raise PayloadError("header_value", f"{field}: holds nothing but blanks")
    if len(text) > HEADER_VALUE_LIMIT:
        raise PayloadError("header_too_long", f"{field}: longer than {HEADER_VALUE_LIMIT} characters")
    if len(name) + 2 + max(len(word.encode()) for word in text.split(" ")) > LINE_LIMIT:
        raise PayloadError("header_too_long", f"{field}: has no blank to fold at within {LINE_LIMIT} octets")


def _check_urls(text: str, field: str) -> None:
    # RFC 2369 section 2: URLs in angle brackets; mail programs show them as buttons, so a scheme is not a detail.
    if CONTROLS.search(text) or any(item[1].lower() not in _SCHEMES for item in _SCHEME_OF_ITEM.finditer(text)):
        raise PayloadError("header_value", f"{field}: only http, https and mailto URLs may stand there")


def _attachments(value: object) -> tuple[AttachmentRef, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise PayloadError("field_type", "attachments: must be a list")
    if len(value) > ATTACHMENTS_LIMIT:
        raise PayloadError("size", f"attachments: {len(value)}; the limit is {ATTACHMENTS_LIMIT}")
    return tuple(_attachment(item, f"attachments[{index}]") for index, item in enumerate(value))


def _attachment(item: object, field: str) -> AttachmentRef:
    if isinstance(item, dict):
        path, name = _required(item, "path", f"{field}."), item.get("name")
    else:
        path, name = _text(item, field), None
    _check_path(path, field)
    shown = _text(name, f"{field}.name") if name else path.rsplit("/", 1)[-1]
    _check_name(shown, f"{field}.name")
    return AttachmentRef(path, shown)


def _check_path(path: str, field: str) -> None:
    """Refuse what no file system is needed to refuse; where the path leads is seen when it is opened."""
    url = _URL.match(path)
    if url and url[1].lower() != "file":
        raise PayloadError("attachment_scheme", f"{field}: a URL; attachments are files, nothing is fetched")
    if url or "\x00" in path or "\\" in path:
        raise PayloadError("attachment_path", f"{field}: a file: URL, a backslash or NUL has no place in a path")
    if path.rsplit("/", 1)[-1] in {"", ".", ".."}:
        raise PayloadError("attachment_path", f"{field}: does not name a file")
    parts = path.split("/")
    if len(path.encode()) > PATH_LIMIT or any(len(part.encode()) > NAME_LIMIT for part in parts):
        raise PayloadError("attachment_path", f"{field}: longer than a path can be")
    depth = 0
    for part in parts:
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            raise PayloadError("attachment_path", f"{field}: leads out of the attachments' directory")


def _check_name(name: str, field: str) -> None:
    if CONTROLS.search(name) or "/" in name or "\\" in name or name.strip() in {"", ".", ".."}:
        raise PayloadError("attachment_name", f"{field}: holds a separator or a control character, or names nothing")
    if len(name) > NAME_LIMIT:
        raise PayloadError("attachment_name", f"{field}: longer than {NAME_LIMIT} characters")
