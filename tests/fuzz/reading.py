"""What must be true of any bytes that are given for a payload, or for a prepared message.

Each check returns what became of the bytes, in one word; AssertionError when something does not hold.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from hypothesis import currently_in_test_context, target

from mailculator import message, payload, prepared
from mailculator.errors import PayloadError
from mailculator.message import Attachment
from mailculator.payload import Payload
from mailculator.transport import outgoing
from tests.support.payloads import EMAIL_ID
from tests.unit.test_message_properties import (
    check_attachments,
    check_bodies,
    check_headers,
    check_structure,
    check_wire,
)

SENT = "rendered"
KEPT = "kept as it is"
DOMAIN = "mail.example.com"
_DATE = datetime(2026, 11, 20, 8, 30, 5, tzinfo=UTC)
_CODE = re.compile(r"[a-z0-9_]{3,30}")
_REASON = 300
"""Characters of a refusal: it goes into a row, a log and a callback."""
_BOUNDARY = re.compile(
    rb'^Content-Type: multipart/(alternative|mixed);(?:\r\n)? boundary="([^"\r\n]+)"\r\n', re.MULTILINE
)


def check_payload(raw: bytes) -> str:
    """A payload file's bytes: refused in our own words, or a message that a second parser reads as the payload says."""
    try:
        mail = payload.parse(raw)
    except PayloadError as error:
        return _refusal(error)
    _agrees_with_another_reader(raw, mail)
    files = tuple(Attachment(ref.name, _content(number)) for number, ref in enumerate(mail.attachments))
    # Whatever has been accepted is sent: nobody would be told of it later but the producer, and too late.
    content = message.render(mail, email_id=EMAIL_ID, domain=DOMAIN, date=_DATE, attachments=files)
    if currently_in_test_context():
        target(float(max(map(len, content.split(b"\r\n")))), label="longest line")
        target(float(content.count(b"\r\n", 0, content.find(b"\r\n\r\n"))), label="lines of headers")
    check_wire(content, mail)
    _is_seven_bit(content, mail)
    _has_its_boundaries(content, _parts(mail))
    text = content.decode("utf-8")
    read = email.message_from_string(text, policy=email.policy.SMTP)
    check_headers(read, mail)
    check_bodies(read, mail)
    check_attachments(read, files)
    check_structure(read, mail, files)
    _is_fit_to_leave(content, mail)
    return SENT


def check_prepared(raw: bytes) -> str:
    """A prepared message's bytes: refused in our own words, or sent to one recipient with nothing but its line ends
    changed."""
    try:
        found = prepared.prepare(raw)
    except PayloadError as error:
        return _refusal(error)
    content = found.content
    leaving = outgoing.check(content)
    assert (leaving.content, leaving.eight_bit) == (content, found.needs_8bitmime)
    assert re.sub(rb"[\r\n]", b"", content) == re.sub(rb"[\r\n]", b"", raw)
    head = content.partition(b"\r\n\r\n")[0]
    assert found.has_utf8_headers is not head.isascii()
    assert outgoing.fits_command(found.recipient.addr_spec)
    names = [line.split(b":")[0].rstrip(b" \t").lower() for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert names.count(b"to") == 1
    # What has been made ready is made ready in the same way again: a file that was written back reads the same.
    assert prepared.prepare(content) == found
    return KEPT


def _refusal(error: PayloadError) -> str:
    assert _CODE.fullmatch(error.code), error.code
    assert error.detail.isprintable(), error.detail
    assert len(error.detail) <= _REASON, error.detail
    return error.code


def _agrees_with_another_reader(raw: bytes, mail: Payload) -> None:
    try:
        other = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        # It takes no lone surrogates, not even where nobody looks.
        assert rb"\u" in raw
        return
    assert (mail.id, mail.subject) == (other["id"], other["subject"])
    assert (mail.body_html, mail.body_text) == (other.get("body_html") or None, other.get("body_text") or None)
    assert dict(mail.custom_headers) == (other.get("custom_headers") or {})
    assert len(mail.attachments) == len(other.get("attachments") or [])


def _is_seven_bit(content: bytes, mail: Payload) -> None:
    utf8 = mail.reply_to.needs_smtputf8 or mail.sender.needs_smtputf8 or mail.to.needs_smtputf8
    if not utf8:
        assert content.isascii()
    assert content.partition(b"\r\n\r\n")[2].isascii()


def _has_its_boundaries(content: bytes, parts: Mapping[bytes, int]) -> None:
    """A boundary stands in the field that names it, before each part and after the last; nowhere else."""
    found = dict(_BOUNDARY.findall(content))
    assert found.keys() == parts.keys()
    for subtype, boundary in found.items():
        lines = [line for line in content.split(b"\r\n") if boundary in line]
        assert sum(b"boundary=" in line for line in lines) == lines.count(b"--" + boundary + b"--") == 1
        assert lines.count(b"--" + boundary) == parts[subtype] == len(lines) - 2


def _parts(mail: Payload) -> dict[bytes, int]:
    """How many parts a message of it has, at each level."""
    both = {b"alternative": 2} if mail.body_text and mail.body_html else {}
    return both | ({b"mixed": 1 + len(mail.attachments)} if mail.attachments else {})


def _is_fit_to_leave(content: bytes, mail: Payload) -> None:
    leaving = outgoing.check(content)
    assert leaving.content == content
    assert outgoing.fits_command(mail.to.addr_spec)
    again = prepared.prepare(content)
    assert again.content == content
    assert again.recipient.addr_spec == mail.to.addr_spec
    assert again.needs_8bitmime is again.has_utf8_headers is leaving.eight_bit


def _content(number: int) -> bytes:
    return (b"", b"\r\n.\r\n--=_m_\xff" * 30, "è".encode() * 100)[number % 3]
