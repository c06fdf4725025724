"""What goes in comes out: the rendered message, read back by the standard library's parser."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.headerregistry import UniqueAddressHeader
from email.message import EmailMessage
from typing import cast

from hypothesis import HealthCheck, given, settings

from mailculator.address import Address
from mailculator.message import Attachment, render
from mailculator.payload import Payload
from tests.support.payloads import EMAIL_ID, UTF8_PAYLOADS, payloads

DATE = datetime(2026, 11, 20, 8, 30, 5, tzinfo=UTC)
OWN = ["mime-version", "date", "message-id", "from", "to", "subject", "content-type", "x-mailculator-id"]
CASES = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
Case = tuple[Payload, tuple[Attachment, ...]]


def rendered(case: Case) -> bytes:
    return render(case[0], email_id=EMAIL_ID, domain="mail.example.com", date=DATE, attachments=case[1])


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def normalised(text: str) -> str:
    return re.sub("\r\n|\r|\n", "\r\n", text).removesuffix("\r\n") + "\r\n"


def mailboxes(message: EmailMessage, name: str) -> list[tuple[str, str]]:
    header = cast(UniqueAddressHeader, message[name])
    return [(as_read(box.display_name), box.addr_spec) for box in header.addresses]


def written(address: Address) -> list[tuple[str, str]]:
    return [(as_read(address.name), address.addr_spec)]


def as_read(name: str) -> str:
    """The reader makes one blank of blanks in a row, a no-break space among them, even within an encoded word."""
    return re.sub(r"\s{2,}", " ", name)


@CASES
@given(payloads())
def test_message_keeps_its_promises(case: Case) -> None:
    raw = rendered(case)
    assert raw == rendered(case)
    assert raw.isascii()
    check_wire(raw, case[0])
    message = read(raw)
    check_headers(message, case[0])
    check_bodies(message, case[0])
    check_attachments(message, case[1])
    check_structure(message, *case)


@settings(CASES, max_examples=50)
@given(UTF8_PAYLOADS)
def test_utf8_local_part_is_the_only_8_bit_text(case: Case) -> None:
    payload = case[0]
    raw = rendered(case)
    check_wire(raw, payload)
    locals_ = [box.local.encode() for box in (payload.sender, payload.reply_to, payload.to)]
    lines = [line for line in raw.split(b"\r\n") if not line.isascii()]
    assert len(lines) == (2 if payload.reply_to.addr_spec == payload.sender.addr_spec else 3)
    assert all(any(line.replace(local, b"").isascii() for local in locals_) for line in lines)
    # From bytes, the standard library takes header octets beyond ASCII for errors; RFC 6532 says UTF-8.
    check_headers(email.message_from_string(raw.decode(), policy=email.policy.default), payload)


def check_wire(raw: bytes, payload: Payload) -> None:
    assert raw.endswith(b"\r\n")
    bare = raw.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    head, _, content = raw.partition(b"\r\n\r\n")
    assert max(map(len, content.split(b"\r\n"))) <= 78
    lines = head.split(b"\r\n")
    assert all(line.strip() for line in lines)
    names = [line.split(b":")[0].decode().lower() for line in lines if line[:1] not in (b" ", b"\t")]
    custom = [name.lower() for name, _ in payload.custom_headers]
    assert len(set(names)) == len(names)
    assert set(OWN) <= set(names)
    assert set(names) <= {*OWN, *custom, "reply-to", "content-transfer-encoding"}
    assert [name for name in names if name in custom] == custom


def check_headers(message: EmailMessage, payload: Payload) -> None:
    assert message["subject"] == payload.subject
    assert mailboxes(message, "from") == written(payload.sender)
    assert mailboxes(message, "to") == written(payload.to)
    if payload.reply_to.addr_spec == payload.sender.addr_spec:
        assert message["reply-to"] is None
    else:
        assert mailboxes(message, "reply-to") == written(payload.reply_to)
    for name, value in payload.custom_headers:
        assert message.get_all(name) == [value]


def check_bodies(message: EmailMessage, payload: Payload) -> None:
    parts = [part for part in message.walk() if not part.is_multipart() and not part.is_attachment()]
    bodies = {"text/plain": payload.body_text, "text/html": payload.body_html}
    expected = {kind: normalised(body) for kind, body in bodies.items() if body}
    assert {part.get_content_type(): part.get_content() for part in parts} == expected


def check_attachments(message: EmailMessage, attachments: tuple[Attachment, ...]) -> None:
    parts = [part for part in message.walk() if part.is_attachment()]
    found = [(part["content-disposition"].params["filename"], part.get_payload(decode=True)) for part in parts]
    assert found == [(attachment.name, attachment.content) for attachment in attachments]
    assert all(part.get_content_maintype() not in ("multipart", "message") for part in parts)
    assert all(part["content-transfer-encoding"] == "base64" for part in parts)


def check_structure(message: EmailMessage, payload: Payload, attachments: tuple[Attachment, ...]) -> None:
    assert not [defect for part in message.walk() for defect in part.defects]
    body = message
    if attachments:
        assert message.get_content_type() == "multipart/mixed"
        body, *beside = cast(list[EmailMessage], list(message.iter_parts()))
        assert len(beside) == len(attachments)
    if payload.body_text and payload.body_html:
        assert body.get_content_type() == "multipart/alternative"
        assert [part.get_content_type() for part in body.iter_parts()] == ["text/plain", "text/html"]
    else:
        assert body.get_content_type() == ("text/plain" if payload.body_text else "text/html")
