"""EML files of the older consumer: sent as they stand to the one address of their To header, or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator.errors import PayloadError
from mailculator.prepared import prepare

EML = b"From: s@example.com\r\nTo: Mario <recipient@example.com>\r\nSubject: x\r\n\r\nCiao\r\n"


def eml(to: str, *, end: str = "\r\n") -> bytes:
    return end.join(["From: s@example.com", f"To: {to}", "Subject: x", "", "Ciao", ""]).encode()


def refusal(raw: bytes) -> str:
    with pytest.raises(PayloadError) as caught:
        prepare(raw)
    return caught.value.code


def test_file_with_crlf_is_sent_byte_for_byte() -> None:
    prepared = prepare(EML)
    assert prepared.content == EML
    assert prepared.recipient.addr_spec == "recipient@example.com"
    assert (prepared.needs_8bitmime, prepared.has_utf8_headers) == (False, False)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_ends_become_crlf(end: str) -> None:
    assert prepare(EML.replace(b"\r\n", end.encode())).content == EML


def test_mixed_line_ends_of_a_body_count_one_by_one() -> None:
    assert prepare(EML + b"a\rb\nc\r\nd\r\re\n.\n").content == EML + b"a\r\nb\r\nc\r\nd\r\n\r\ne\r\n.\r\n"


def test_last_line_without_an_end_gets_one() -> None:
    assert prepare(EML.removesuffix(b"\r\n")).content == EML


def test_message_without_a_body_is_sent() -> None:
    raw = b"To: a@example.com\r\n\r\n"
    assert prepare(raw).content == raw


def test_stray_cr_of_an_older_fold_does_not_end_the_headers() -> None:
    raw = b"Subject: " + b"x" * 68 + b"\r\r\n \nTo: a@example.com\r\n\r\nbody\r\n"
    prepared = prepare(raw)
    assert prepared.recipient.addr_spec == "a@example.com"
    assert prepared.content == b"Subject: " + b"x" * 68 + b"\r\n \r\nTo: a@example.com\r\n\r\nbody\r\n"


@given(st.binary(max_size=200))
def test_body_is_only_changed_in_its_line_ends(body: bytes) -> None:
    expected = re.sub(rb"\r\n|\r|\n", b"\r\n", body)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert prepare(EML + body).content == EML + expected


@pytest.mark.parametrize(
    ("to", "addr_spec"),
    [
        ("a@b.it", "a@b.it"),
        ("<a@b.it>", "a@b.it"),
        ('"Rossi, Mario" <a@b.it>', "a@b.it"),
        ("=?utf-8?q?Per=C3=B2=2C_c=40d=2Eit?= <a@b.it>", "a@b.it"),
        ('"=?utf-8?q?Per=C3=B2?=" <a@b.it>', "a@b.it"),
        ("Dr. M. Rossi <a@b.it>", "a@b.it"),
        ("Però S.r.l. <a@b.it>", "a@b.it"),
        ("Mario Rossi\r\n\t<a@b.it>", "a@b.it"),
        ('"<c@d.it>" <a@b.it>', "a@b.it"),
        ("a@Exämple.IT", "a@xn--exmple-cua.it"),
    ],
)
def test_recipient_is_the_one_address_of_to(to: str, addr_spec: str) -> None:
    recipient = prepare(eml(to)).recipient
    assert (recipient.addr_spec, recipient.name) == (addr_spec, "")


@pytest.mark.parametrize(
    "to",
    [
        "",
        "a@b.it, c@d.it",
        "a@b.it,",
        "g: a@b.it;",
        "g: <a@b.it>",
        "g: a@b.it, c@d.it;",
        "undisclosed-recipients:;",
        "a@b.it (x)",
        "a@b.it>,<c@d.it",
        "<a@b.it> <c@d.it>",
        "a@b.it <c@d.it>",
        '<c@d.it>" <a@b.it>',
        "Mario <a@b.it> x",
        "a@b",
        '"a@evil.com x"@ok.com',
        "alice@example.org)x@evil",
        "=?x?q?collab=40evil=3e=00?=foo@ok.com",
        "<@x.it:a@b.it>",
        '"',
        "<",
        "a@b.it\0",
        # What exhausts the standard library's parser: its recursion, and its patience.
        "\r\n ".join(["(" * 900] * 4),
        "\r\n ".join(["x" * 900] * 5) + " <a@b.it>",
    ],
)
def test_anything_but_one_address_is_refused(to: str) -> None:
    assert refusal(eml(to)) == "eml_recipient"


@settings(max_examples=200)
@given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ =?\t\r\nè'), max_size=30))
def test_only_payload_errors_come_out_of_any_to(to: str) -> None:
    raw = eml(to)
    try:
        prepared = prepare(raw)
    except PayloadError:
        return
    assert prepared.recipient.addr_spec.count("@") == 1
    assert prepared.content.count(b"\r\n") == len(re.findall(rb"\r\n|\r|\n", prepared.content))


def test_no_to_and_several_to_are_refused() -> None:
    assert refusal(EML.replace(b"To:", b"Cc:")) == "eml_recipient"
    assert refusal(b"TO : c@d.it\r\n" + EML) == "eml_recipient"


def test_to_that_is_neither_ascii_nor_utf8_is_refused() -> None:
    assert refusal(EML.replace(b"Mario", b"Per\xf2")) == "eml_recipient"


@pytest.mark.parametrize("raw", [b"", b" \r\n\r\n", b"\n"])
def test_empty_file_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "eml_empty"


@pytest.mark.parametrize(
    "raw",
    [
        b"To: a@b.it\r\nSubject: x\r\n",
        b"\r\n\r\nTo: a@b.it\r\n\r\nx",
        b"hello\r\nTo: a@b.it\r\n\r\nx",
        b"\r\nTo: a@b.it\r\n\r\nx",
        b" folded\r\nTo: a@b.it\r\n\r\nx",
        b"From a@b.it Fri Nov 20\r\nTo: a@b.it\r\n\r\nx",
    ],
)
def test_file_without_a_header_section_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "eml_syntax"


def test_line_over_998_octets_is_refused() -> None:
    assert refusal(EML + b"x" * 999) == "eml_line_length"
    assert refusal(b"X-Long: " + b"x" * 991 + b"\r\n" + EML) == "eml_line_length"
    assert refusal(EML + "è".encode() * 500) == "eml_line_length"
    assert prepare(EML + b"x" * 998).content.endswith(b"x" * 998 + b"\r\n")


def test_octets_beyond_ascii_are_reported() -> None:
    body = prepare(EML + "è\r\n".encode())
    assert (body.needs_8bitmime, body.has_utf8_headers) == (True, False)
    subject = prepare("Subject: però\r\n".encode() + EML.replace(b"Subject: x\r\n", b""))
    assert (subject.needs_8bitmime, subject.has_utf8_headers) == (True, True)
    assert not subject.recipient.needs_smtputf8
    assert prepare(eml("è@b.it")).recipient.needs_smtputf8
