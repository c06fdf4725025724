"""Bad inputs by their numbers (docs/bad-inputs.md): those that payload, message and prepared files alone decide.

Numbers that one module's tests show already are tested there; the document says where each is.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

from mailculator import lifecycle, message, payload, prepared
from mailculator.errors import PayloadError
from mailculator.lifecycle import Failed, Invalid, Outcome, Park, Retry
from mailculator.message import Attachment
from mailculator.model import Status
from mailculator.payload import Payload
from mailculator.pipelines import files
from tests.support.memory_store import email
from tests.support.payloads import read_attachments

ID = "550e8400-e29b-41d4-a716-446655440000"
PLAIN: dict[str, Any] = {
    "id": ID,
    "from": "sender@example.com",
    "reply_to": "reply@example.com",
    "to": "recipient@example.com",
    "subject": "Oggetto",
    "body_text": "Testo",
}


def raw(**fields: object) -> bytes:
    return json.dumps(PLAIN | fields).encode()


def refusal(content: bytes) -> PayloadError:
    """The error, which a person must be able to read: one short printable line."""
    with pytest.raises(PayloadError) as caught:
        payload.parse(content)
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 300
    return caught.value


def addressed(field: str, text: str) -> str:
    """The code of a payload with this address in that field; the reason names the field and never the address."""
    error = refusal(raw(**{field: text}))
    assert error.detail.startswith(f"{field}: ")
    assert text not in error.detail
    return error.code


def read(content: bytes) -> EmailMessage:
    return BytesParser(policy=SMTP).parsebytes(content)


def rendered(mail: Payload, *attachments: Attachment) -> bytes:
    return message.render(
        mail, email_id=ID, domain="mta.example", date=datetime(2026, 11, 20, tzinfo=UTC), attachments=attachments
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_bad_input_10_what_is_not_utf_8(encoding: str) -> None:
    text = json.dumps(PLAIN | {"subject": "È così"}, ensure_ascii=False)
    assert refusal(text.encode(encoding)).code == "encoding"
    assert refusal(text.encode() + b"\x00").code == "encoding"


@pytest.mark.parametrize(("subject", "code"), [("x" * 2001, "header_too_long"), ("", "field_required")])
def test_bad_input_17_a_subject_too_long_or_empty(subject: str, code: str) -> None:
    assert refusal(raw(subject=subject)).code == code


ADDRESS_FIELDS = pytest.mark.parametrize("field", ["to", "from", "reply_to"])


@pytest.mark.parametrize("key", ["to", "subject", "unknown", "\\u0074o"])
def test_bad_input_6_no_key_may_stand_twice(key: str) -> None:
    name = json.loads(f'"{key}"')
    again = raw(**{name: "c@d.example"})[:-1] + f', "{key}": "c@d.example"}}'.encode()
    assert refusal(again).code == "json_duplicate_key"


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e400", "NaN", "Infinity", "-Infinity"])
def test_bad_input_8_numbers_that_are_none_or_too_long(number: str) -> None:
    assert refusal(raw(more="@").replace(b'"@"', number.encode())).code == "json_number"


@ADDRESS_FIELDS
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a@b.com, c@d.com", "address_multiple"),
        ("a@b.com;c@d.com", "address_multiple"),
        ("g: a@b.com, c@d.com;", "address_group"),
        ("g:;", "address_group"),
    ],
)
def test_bad_input_18_several_addresses_or_a_group(field: str, text: str, code: str) -> None:
    assert addressed(field, text) == code


@ADDRESS_FIELDS
@pytest.mark.parametrize(
    "text", ["alice@example.org)x@evil", '"a"@ok.com(x)evil.com', "a@b.com (x (y) z)", "a(x)@b.com", "a @b.com"]
)
def test_bad_input_19_comments_and_blanks_are_no_part_of_an_address(field: str, text: str) -> None:
    assert addressed(field, text) == "address_syntax"


@ADDRESS_FIELDS
@pytest.mark.parametrize("text", ['"a@evil.com x"@ok.com', '"a"@ok.com', 'Name <"a b"@ok.com>'])
def test_bad_input_20_a_quoted_local_part(field: str, text: str) -> None:
    assert addressed(field, text) == "address_quoted"


@ADDRESS_FIELDS
@pytest.mark.parametrize("text", ["=?x?q?collab=40evil=3e=00?=foo@ok.com", "Name <=?utf-8?q?a?=@ok.com>"])
def test_bad_input_21_an_encoded_word_as_local_part(field: str, text: str) -> None:
    assert addressed(field, text) == "address_encoded_word"


@ADDRESS_FIELDS
@pytest.mark.parametrize("control", ["\r\nRCPT TO:<v@x>", "\n", "\r", "\x00", "\u2028", "\t"])
def test_bad_input_22_g11_a_control_character_in_an_address(field: str, control: str) -> None:
    assert addressed(field, f"a@b.com{control}") == "address_control"
    assert addressed(field, f"Na{control}me <a@b.com>") == "address_control"


def test_bad_input_23_an_international_domain_is_one_a_label_everywhere() -> None:
    given = {"to": "Ada <a@EXÄMPLE.com>", "from": "a@xn--exmple-cua.com", "reply_to": "b@exa\u0308mple.com"}
    mail = payload.parse(raw(**given))
    assert mail.to.addr_spec == mail.sender.addr_spec == "a@xn--exmple-cua.com"
    content = rendered(mail)
    assert content.isascii()
    shown = [read(content)[name].addresses[0] for name in ("to", "from", "reply-to")]
    assert [one.addr_spec for one in shown] == ["a@xn--exmple-cua.com", "a@xn--exmple-cua.com", "b@xn--exmple-cua.com"]


def test_bad_input_24_a_local_part_beyond_ascii_is_kept_and_asks_for_smtputf8() -> None:
    mail = payload.parse(raw(to="ü@ex.com"))
    assert mail.to.needs_smtputf8
    assert mail.to.addr_spec == "ü@ex.com"
    assert b"\r\nTo: \xc3\xbc@ex.com\r\n" in rendered(mail)


@ADDRESS_FIELDS
@pytest.mark.parametrize(
    "text",
    [
        "a@[127.0.0.1]",
        "a@localhost",
        "a@b",
        "a@b.com.",
        "a..b@c.com",
        "a" * 65 + "@b.com",
        "abcd@" + ".".join(["b" * 60] * 4) + ".example",
        "a@" + "b" * 64 + ".com",
    ],
    ids=lambda text: text[:12],
)
def test_bad_input_25_what_no_relay_could_deliver_to(field: str, text: str) -> None:
    assert addressed(field, text) == "address_syntax"


@ADDRESS_FIELDS
def test_bad_input_26_a_display_name_is_kept_apart_from_the_address(field: str) -> None:
    mail = payload.parse(raw(**{field: '"Rossi <x@evil.com>, Mario" <a@b.com>'}))
    parsed = {"to": mail.to, "from": mail.sender, "reply_to": mail.reply_to}[field]
    assert (parsed.name, parsed.addr_spec) == ("Rossi <x@evil.com>, Mario", "a@b.com")
    (shown,) = read(rendered(mail))[field.replace("_", "-")].addresses
    assert (shown.display_name, shown.addr_spec) == (parsed.name, parsed.addr_spec)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (["a@b.com"], "field_type"),
        ({"a": "b"}, "field_type"),
        (1, "field_type"),
        (True, "field_type"),
        (None, "field_required"),
        ("a" * 1_000_000 + "@b.com", "size"),
    ],
    ids=lambda value: str(value)[:12],
)
@ADDRESS_FIELDS
def test_bad_input_28_an_address_that_is_no_string_or_far_too_long(field: str, value: object, code: str) -> None:
    assert refusal(raw(**{field: value})).code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-A": "1", "x-a": "2"}, "header_duplicate"),
        ({f"X-{number}": "1" for number in range(101)}, "header_count"),
        ({"X-A": "x" * 994}, "header_too_long"),
        ({"X-A": "a " + "é" * 497 + " b"}, "header_too_long"),
        ({"X-A": 1}, "field_type"),
        ({"X-A": None}, "field_type"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_input_31_g12_headers_are_refused_never_cut(headers: dict[str, object], code: str) -> None:
    assert refusal(raw(custom_headers=headers)).code == code


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-help", "LIST-ARCHIVE"])
@pytest.mark.parametrize(
    "value",
    [
        "<javascript:alert(1)>",
        "<https://x.com>, <JavaScript:alert(1)>",
        "data:text/html,x",
        "<https://x.com>\r\nBcc: <e@x.com>",
        "<file:///etc/passwd>",
    ],
)
def test_bad_input_32_a_list_header_leads_to_no_script_and_no_file(name: str, value: str) -> None:
    assert refusal(raw(custom_headers={name: value})).code == "header_value"


def test_bad_input_34_a_body_beyond_the_limit() -> None:
    mail = payload.parse(raw(body_html="<p>" + "x" * 20_000_000 + "</p>"))
    with pytest.raises(PayloadError, match=r"^size: "):
        payload.check_size(mail, [], 20_000_000)
    assert payload.check_size(mail, [], 20_000_100) > 20_000_000


def test_bad_input_34_a_body_that_holds_the_boundary_ends_no_part() -> None:
    attachment = Attachment("a.bin", b"x")
    fields = {"attachments": ["/a.bin"], "body_html": "<p>x</p>"}
    first = read(rendered(payload.parse(raw(**fields)), attachment))
    boundaries = [str(part.get_boundary()) for part in first.walk() if part.is_multipart()]
    assert len(boundaries) == 2
    hostile = "".join(f"\n--{boundary}\nX: y\n\nz\n--{boundary}--\n" for boundary in boundaries)
    content = rendered(payload.parse(raw(body_text=hostile, **fields)), attachment)
    assert [str(part.get_boundary()) for part in read(content).walk() if part.is_multipart()] == boundaries
    for boundary in boundaries:
        assert content.count(f"\r\n--{boundary}".encode()) == 3
    text = cast(EmailMessage, read(content).get_body(("plain",)))
    assert text.get_content() == hostile.replace("\n", "\r\n")


def test_bad_input_39_a_zip_bomb_is_passed_on_by_its_bytes(tmp_path: Path) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(20_000_000))
    bomb = packed.getvalue()
    assert len(bomb) < 100_000
    (tmp_path / "bomb.zip").write_bytes(bomb)
    mail = payload.parse(raw(attachments=["/bomb.zip"]))
    # A limit far below what it would unpack to: only its own bytes count.
    assert files.check_attachments(mail, tmp_path, 200_000) < 200_000
    content = rendered(mail, *read_attachments(mail, tmp_path, 200_000))
    (part,) = read(content).iter_attachments()
    assert part.get_content() == bomb


@pytest.mark.parametrize("name", ["a\r\nBcc: x", "a/b.pdf", "a\\b.pdf", "..", ".", " ", "a\x00b", "x" * 300], ids=ascii)
def test_bad_input_40_an_attachments_name_that_is_none(name: str) -> None:
    assert refusal(raw(attachments=[{"path": "/a.pdf", "name": name}])).code == "attachment_name"


HEADERS = b"From: a@b.com\r\nTo: c@d.com\r\nSubject: x\r\n\r\n"


@pytest.mark.parametrize("body", [b"a\n.\nb", b"a\r.\rb", b"a\r\n.\r\nMAIL FROM:<e@x>\r\nc", b"a\r\r\nb", b"\n\r.\n\r"])
def test_bad_input_33_a_prepared_file_leaves_with_crlf_alone(body: bytes) -> None:
    content = prepared.prepare(HEADERS + body).content
    bare = content.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare
    assert content.startswith(HEADERS)


REASONED: dict[str, tuple[Status, Callable[[str], Outcome]]] = {
    "invalid": (Status.INTAKING, Invalid),
    "failed": (Status.PROCESSING, Failed),
    "retry": (Status.PROCESSING, lambda reason: Retry(reason, 1.0)),
    "parked": (Status.CALLING_SENT_CALLBACK, Park),
}


@pytest.mark.parametrize("kind", REASONED)
def test_bad_input_55_a_reason_is_one_short_line_of_printable_text(kind: str) -> None:
    status, outcome = REASONED[kind]
    said = "550 no\r\nsuch\x00 user \x1b[31m\u2028here\u202e " + "è" * 1_000_000
    move = lifecycle.move(email(ID, status), outcome(said))
    for text in (move.note, move.reason, move.error):
        if text is not None:
            assert len(text) == 1000
            assert text.isprintable()
            assert text.startswith("550 no such user [31m here è")
    assert move.reason or move.error
