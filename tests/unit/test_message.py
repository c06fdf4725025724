"""The message's form, and the defects and bad inputs that once broke it, each by its name."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailculator import payload as intake
from mailculator.address import Address
from mailculator.errors import PayloadError
from mailculator.message import Attachment, render
from mailculator.payload import Payload
from tests.support.payloads import EMAIL_ID, sample, with_attachments

DATE = datetime(2026, 11, 20, 8, 30, 5, tzinfo=UTC)
PDF = Attachment("a.pdf", b"%PDF-1.7")


def rendered(payload: Payload, *attachments: Attachment, **changes: Any) -> bytes:
    arguments: dict[str, Any] = {
        "email_id": EMAIL_ID,
        "domain": "mail.example.com",
        "date": DATE,
        "attachments": attachments,
    } | changes
    return render(payload, **arguments)


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def fields(raw: bytes) -> list[str]:
    """The message's own header fields, each with its folds, without its last CRLF."""
    found: list[str] = []
    for line in raw.partition(b"\r\n\r\n")[0].decode().split("\r\n"):
        if line.startswith((" ", "\t")):
            found[-1] += "\r\n" + line
        else:
            found.append(line)
    return found


def field(raw: bytes, name: str) -> str:
    (value,) = [line for line in fields(raw) if line.lower().startswith(name.lower() + ":")]
    return value


def refusal(payload: Payload, *attachments: Attachment, **changes: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        rendered(payload, *attachments, **changes)
    return caught.value.code


def only_part(attachment: Attachment) -> EmailMessage:
    (part,) = read(rendered(with_attachments(attachment), attachment)).iter_attachments()
    return part


def longest_line(raw: bytes) -> int:
    return max(map(len, raw.split(b"\r\n")))


def test_single_text_is_a_single_part_written_in_full() -> None:
    payload = sample(
        sender=Address("", "sender", "example.com"),
        body_html=None,
        body_text="Perché no?\n",
        custom_headers=(("X-A", "b c"),),
    )
    assert rendered(payload) == (
        b"MIME-Version: 1.0\r\n"
        b"Date: Fri, 20 Nov 2026 08:30:05 +0000\r\n"
        b"Message-ID: <550e8400-e29b-41d4-a716-446655440000@mail.example.com>\r\n"
        b"From: sender@example.com\r\n"
        b'To: "Mario Rossi" <recipient@example.com>\r\n'
        b"Reply-To: reply@example.com\r\n"
        b"Subject: Oggetto\r\n"
        b"X-Mailculator-Id: 550e8400-e29b-41d4-a716-446655440000\r\n"
        b"X-A: b c\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"\r\n"
        b"Perch=C3=A9 no?\r\n"
    )


def test_texts_are_alternatives_and_attachments_stand_beside_them() -> None:
    message = read(rendered(with_attachments(PDF), PDF))
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
    ]


def test_same_arguments_give_the_same_bytes_and_another_id_other_boundaries() -> None:
    payload = with_attachments(PDF)
    assert rendered(payload, PDF) == rendered(payload, PDF)
    other = read(rendered(payload, PDF, email_id="00000000-0000-4000-8000-000000000000"))
    assert other.get_boundary() != read(rendered(payload, PDF)).get_boundary()


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))])))
def test_the_date_is_written_as_the_standard_library_writes_it(date: datetime) -> None:
    assert field(rendered(sample(), date=date), "Date") == f"Date: {format_datetime(date)}"


def test_the_same_moment_is_written_in_the_zone_that_it_is_given_in() -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for date in (noon, noon.astimezone(timezone(timedelta(hours=1))), noon):
        assert field(rendered(sample(), date=date), "Date") == f"Date: {format_datetime(date)}"


def test_an_empty_header_ends_with_its_colon() -> None:
    assert field(rendered(sample(custom_headers=(("X-Empty", ""),))), "X-Empty") == "X-Empty:"


def test_reply_to_equal_to_from_is_left_out_whatever_its_name() -> None:
    raw = rendered(sample(reply_to=Address("Someone", "sender", "example.com")))
    assert not any(line.startswith("Reply-To") for line in fields(raw))


def test_shorter_encoding_is_chosen() -> None:
    italian = read(rendered(sample(body_html=None, body_text="Perché no? Grazie mille. " * 100)))
    greek = read(rendered(sample(body_html=None, body_text="Ελληνικά " * 100)))
    assert (italian["content-transfer-encoding"], greek["content-transfer-encoding"]) == ("quoted-printable", "base64")


def test_subject_in_the_shorter_encoding_too() -> None:
    assert field(rendered(sample(subject="Però")), "Subject") == "Subject: =?utf-8?q?Per=C3=B2?="
    assert field(rendered(sample(subject="Ελλάς")), "Subject").startswith("Subject: =?utf-8?b?")


def test_plain_structured_headers_stay_plain_and_fold_only_at_their_blanks() -> None:
    references = " ".join(f"<{'m' * 40}{n}@example.com>" for n in range(20))
    link = f"<https://example.com/{'u' * 300}>, <mailto:u@example.com>"
    raw = rendered(sample(custom_headers=(("References", references), ("List-Unsubscribe", link), ("X-Two", "a  b"))))
    assert field(raw, "References").replace("\r\n", "") == f"References: {references}"
    assert longest_line(field(raw, "References").encode()) <= 76
    assert field(raw, "List-Unsubscribe") == f"List-Unsubscribe: {link.replace(' ', chr(13) + chr(10) + ' ')}"
    assert field(raw, "X-Two") == "X-Two: a  b"


def test_encoded_words_are_whole_characters_in_words_of_75() -> None:
    raw = rendered(sample(subject="🙂é日 " * 200))
    words = field(raw, "Subject").removeprefix("Subject: ").split("\r\n ")
    assert all(len(word) <= 75 for word in words)
    assert longest_line(field(raw, "Subject").encode()) <= 76
    alone = [str(read(f"Subject: {word}\r\n\r\n".encode())["subject"]) for word in words]
    assert "".join(alone) == "🙂é日 " * 200
    assert not any("\ufffd" in text for text in alone)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mario Rossi", '"Mario Rossi"'),
        ('Rossi, "M" \\', '"Rossi, \\"M\\" \\\\"'),
        ("Però", "=?utf-8?q?Per=C3=B2?="),
        ("È  è", '=?utf-8?q?=C3=88?= "" =?utf-8?q?=C3=A8?='),
        (" è", '"" =?utf-8?q?=C3=A8?='),
        ("a=?b", "=?utf-8?q?a=3D=3Fb?="),
    ],
)
def test_display_names_are_quoted_or_encoded(name: str, expected: str) -> None:
    raw = rendered(sample(to=Address(name, "a", "b.it")))
    assert field(raw, "To") == f"To: {expected} <a@b.it>"
    assert [(box.display_name, box.addr_spec) for box in read(raw)["to"].addresses] == [(name, "a@b.it")]


def test_a_no_break_space_beside_a_blank_leaves_as_it_is() -> None:
    """By the reader of encoded words; the reader of addresses makes one blank of the two."""
    raw = rendered(sample(to=Address("0 \xa0", "a", "b.it")))
    [(octets, charset), _] = decode_header(field(raw, "To").removeprefix("To: "))
    assert isinstance(octets, bytes)
    assert octets.decode(charset or "ascii") == "0 \xa0"


def test_no_two_encoded_words_are_neighbours_in_a_name() -> None:
    name = "Società Però di Trasporti e Spedizioni Internazionali à responsabilità limitata unipersonale è"
    raw = rendered(sample(to=Address(name, "a", "b.it")))
    assert "?= =?" not in field(raw, "To").replace("\r\n", "")
    assert read(raw)["to"].addresses[0].display_name == name


def test_longest_name_that_intake_accepts_is_read_back() -> None:
    name = "日" * 200
    raw = rendered(sample(to=Address(name, "a" * 64, "b.it")))
    assert read(raw)["to"].addresses[0].display_name == name
    assert longest_line(raw) <= 998


def test_name_too_long_for_one_line_keeps_within_lines_all_the_same() -> None:
    raw = rendered(sample(to=Address("日" * 2000, "a", "b.it")))
    assert longest_line(raw) <= 78


def test_utf8_local_part_stands_in_its_header_only() -> None:
    raw = rendered(sample(to=Address("È", "ü", "example.com")))
    assert [line for line in raw.split(b"\r\n") if not line.isascii()] == [
        "To: =?utf-8?q?=C3=88?= <ü@example.com>".encode()
    ]


def test_text_attachments_keep_every_byte() -> None:
    content = b"a\nb\r\nc\r\xff\x00 \n"
    part = only_part(Attachment("a.csv", content))
    assert part.get_payload(decode=True) == content
    assert part["content-type"] == "text/csv"
    assert only_part(Attachment("a.csv", "è;\n".encode()))["content-type"] == 'text/csv; charset="utf-8"'


@pytest.mark.parametrize("name", ["a.eml", "a.mht", "a.tar.gz", "a.unknown", "a", ".pdf", "data:text/html,x"])
def test_nothing_that_a_reader_would_open_by_itself_is_named_as_such(name: str) -> None:
    assert only_part(Attachment(name, b"Subject: x\n\n")).get_content_type() == "application/octet-stream"


def test_empty_attachment_and_long_lines_of_base64() -> None:
    assert only_part(Attachment("a.pdf", b"")).get_payload(decode=True) == b""
    big = Attachment("b.pdf", bytes(range(256)) * 500)
    raw = rendered(with_attachments(big), big)
    assert longest_line(raw) <= 78
    assert only_part(big).get_payload(decode=True) == big.content


@pytest.mark.parametrize(
    "text", ["y" * length + end for length in range(70, 80) for end in ("", " ", "\t")] + [" " * 300, "." * 80]
)
def test_quoted_printable_lines_end_at_76(text: str) -> None:
    raw = rendered(sample(body_html=None, body_text=f"{text}\n{text}"))
    assert longest_line(raw.partition(b"\r\n\r\n")[2]) <= 76
    assert read(raw).get_content() == f"{text}\r\n{text}\r\n"


def test_g11_no_header_is_injected_through_the_subject() -> None:
    for end in ("\r\n", "\r", "\n", "\0"):
        assert refusal(sample(subject=f"x{end}Bcc: e@evil.example")) == "header_control"


def test_g11_no_header_is_injected_through_a_custom_header() -> None:
    for end in ("\r\n", "\r", "\n", "\0"):
        assert refusal(sample(custom_headers=(("X-A", f"è{end}Bcc: e@evil.example"),))) == "header_control"
        assert refusal(sample(custom_headers=((f"X-A{end}Bcc", "e@evil.example"),))) in (
            "header_control",
            "header_name",
        )
    assert refusal(sample(custom_headers=(("X-A: b, X-B", "c"),))) == "header_name"


def test_g11_custom_headers_replace_nothing() -> None:
    for name in ("to", "FROM", "Subject", "subject", "Cc", "Bcc", "Reply-To", "Content-Type", "Date", "Message-Id"):
        assert refusal(sample(custom_headers=((name, "x"),))) == "header_reserved"


def test_g11_no_part_is_injected_through_an_attachment_name() -> None:
    for name in ("a\r\n\r\n--x\r\n.pdf", "è\n.pdf", "a\0.pdf"):
        assert refusal(sample(), Attachment(name, b"")) == "header_control"
    part = only_part(Attachment('a"; filename="b.exe', b"x"))
    assert dict(part["content-disposition"].params) == {"filename": 'a"; filename="b.exe'}


def test_g11_no_recipient_is_injected_through_a_display_name_or_an_address() -> None:
    named = rendered(sample(to=Address('x" <e@evil.example>, "', "a", "b.it")))
    assert [box.addr_spec for box in read(named)["to"].addresses] == ["a@b.it"]
    assert refusal(sample(to=Address("è\r\nBcc: e@evil.example", "a", "b.it"))) == "header_control"
    assert refusal(sample(to=Address("", "a", "b.it\r\nBcc: e@evil.example"))) == "header_control"
    for local, domain in [
        ("e@evil.example, a", "b.it"),
        ("a> <e", "b.it"),
        ("a", "b.it, e@evil.example"),
        ("", "b.it"),
    ]:
        assert refusal(sample(to=Address("x", local, domain))) == "address_syntax"


def test_g11_boundaries_are_not_the_public_id_and_occur_in_no_content() -> None:
    first = read(rendered(with_attachments(PDF), PDF))
    boundaries = [str(part.get_boundary()) for part in first.walk() if part.is_multipart()]
    assert not any(EMAIL_ID in boundary for boundary in boundaries)
    hostile = "\n".join(f"--{boundary}\n--{boundary}--" for boundary in boundaries)
    attached = Attachment("a.txt", hostile.encode())
    message = read(rendered(with_attachments(attached, body_text=hostile), attached))
    text, html, attachment = [part for part in message.walk() if not part.is_multipart()]
    assert text.get_content() == hostile.replace("\n", "\r\n") + "\r\n"
    assert html.get_content_type() == "text/html"
    assert attachment.get_payload(decode=True) == hostile.encode()


@pytest.mark.parametrize(
    "text", ["word " * 390 + "end", "è" * 2000, "x" * 2000, "🙂 " * 999 + "x", ("x" * 990 + " ") * 2 + "x"]
)
def test_g12_long_headers_are_folded_never_cut(text: str) -> None:
    raw = rendered(sample(subject=text, custom_headers=(("X-Long", text),)))
    assert longest_line(raw) <= 998
    message = read(raw)
    assert (message["subject"], message["x-long"]) == (text, text)
    assert not any(line.isspace() or not line for line in field(raw, "X-Long").split("\r\n"))


def test_g12_long_names_are_folded_never_cut() -> None:
    name = "Mario Rossi " * 45 + "end"
    raw = rendered(sample(sender=Address(name, "a", "b.it"), to=Address("Però " * 60 + "x", "a", "b.it")))
    assert read(raw)["from"].addresses[0].display_name == name
    assert longest_line(field(raw, "From").encode()) <= 76
    assert read(raw)["to"].addresses[0].display_name == "Però " * 60 + "x"


def test_g16_message_id_is_stable_and_made_of_the_email_id() -> None:
    raw = rendered(sample())
    assert field(raw, "Message-ID") == f"Message-ID: <{EMAIL_ID}@mail.example.com>"
    assert field(raw, "X-Mailculator-Id") == f"X-Mailculator-Id: {EMAIL_ID}"
    assert field(rendered(sample(id="something else")), "Message-ID") == field(raw, "Message-ID")


@pytest.mark.parametrize(
    "changes", [{"email_id": "a b"}, {"email_id": "a>\r\nBcc: x"}, {"email_id": ""}, {"domain": "x>y"}]
)
def test_g16_message_id_is_one_or_none(changes: dict[str, str]) -> None:
    assert refusal(sample(), **changes) == "message_id"


def test_bad_input_09_lone_surrogates_are_refused() -> None:
    assert refusal(sample(subject="\ud800")) == "text_surrogate"
    assert refusal(sample(to=Address("\ud800", "a", "b.it"))) == "text_surrogate"
    assert refusal(sample(body_text="\ud800")) == "text_surrogate"
    assert refusal(sample(), Attachment("\ud800", b"")) == "text_surrogate"


def test_bad_input_14_a_mail_without_text_is_refused() -> None:
    assert refusal(sample(body_html=None, body_text="")) == "body_missing"


@pytest.mark.parametrize(
    "text", ["=?utf-8?q?a=0D=0ABcc:_e@x?=", "x =?utf-8?b?4oKs?= y", "=?utf-8?q?a", "a=?iso-8859-1?Q?=E8?=b"]
)
def test_bad_input_16_encoded_word_look_alikes_stay_literal(text: str) -> None:
    attachment = Attachment(text.replace("/", ""), b"x")
    payload = with_attachments(attachment, subject=text, to=Address(text, "a", "b.it"), custom_headers=(("X-A", text),))
    raw = rendered(payload, attachment)
    assert text.encode() not in raw
    message = read(raw)
    assert (message["subject"], message["x-a"], message["bcc"]) == (text, text, None)
    assert message["to"].addresses[0].display_name == text
    (part,) = message.iter_attachments()
    assert part.get_filename() == text


@pytest.mark.parametrize(
    "text", ["\u202egpj.exe", "🙂" * 500, "e\u0301" * 300, " led", "trailed ", "dou  bled", "a\tb", "x" * 1999]
)
def test_bad_input_17_subjects_of_any_kind_are_read_back(text: str) -> None:
    message = read(rendered(sample(subject=text, custom_headers=(("X-A", text),))))
    assert (message["subject"], message["x-a"]) == (text, text)


@pytest.mark.parametrize(
    "body",
    [
        "a\n.\nb",
        "a\r.\rb",
        "a\r\n.\r\nMAIL FROM:<e@x>",
        "a\n\r.\n\rb",
        "a\r\r\nb",
        "\n",
        " \n\t\n",
        "\x0b\x0c\x85\u2028",
    ],
)
def test_bad_input_33_bodies_hold_nothing_but_crlf(body: str) -> None:
    raw = rendered(sample(body_html=None, body_text=body))
    bare = raw.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare
    expected = body.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").replace("\n", "\r\n") + "\r\n"
    assert read(raw).get_content() == expected


def test_bad_input_34_huge_lines_are_broken_and_read_back() -> None:
    text, html = "x" * 1_000_000, "<p>" + "è" * 300_000 + "</p>"
    raw = rendered(sample(body_text=text, body_html=html))
    assert longest_line(raw) <= 998
    plain, rich = cast(list[EmailMessage], list(read(raw).iter_parts()))
    assert plain.get_content() == text + "\r\n"
    assert rich.get_content() == html + "\r\n"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("fattura 1.pdf", 'filename="fattura 1.pdf"'),
        ('a"b.pdf', "filename*=utf-8''a%22b.pdf"),
        ("Fatturà.pdf", "filename*=utf-8''Fattur%C3%A0.pdf"),
        ("\u202efdp.exe", "filename*=utf-8''%E2%80%AEfdp.exe"),
    ],
)
def test_bad_input_40_attachment_names_are_quoted_or_rfc_2231(name: str, written: str) -> None:
    attachment = Attachment(name, b"x")
    assert f"Content-Disposition: attachment; {written}\r\n".encode() in rendered(
        with_attachments(attachment), attachment
    )
    assert only_part(attachment).get_filename() == name


@pytest.mark.parametrize(
    "name", ["n" * 255, "🙂" * 100 + ".pdf", "è " * 120 + ".pdf", "a" * 60 + ".pdf", "'%41'%.pdf", "..pdf", "a  b "]
)
def test_bad_input_40_long_and_odd_names_are_read_back(name: str) -> None:
    part = only_part(Attachment(name, b"x"))
    assert part["content-disposition"].params["filename"] == name
    assert longest_line(bytes(part["content-disposition"].fold(policy=email.policy.SMTP), "ascii")) <= 998


@pytest.mark.parametrize(
    ("name", "fallback"),
    [
        ("Fatturà n° 1.pdf", "Fattura_n_1.pdf"),
        ("🙂", "attachment"),
        ("🙂.pdf", "attachment.pdf"),
        ("日本.tar.gz", "tar.gz"),
        ('"..', "attachment"),
    ],
)
def test_bad_input_40_readers_without_rfc_2231_get_a_plain_name(name: str, fallback: str) -> None:
    assert only_part(Attachment(name, b"x"))["content-type"].params["name"] == fallback


def test_payload_as_intake_reads_it_is_rendered() -> None:
    raw = intake.parse(
        b'{"id": "550e8400-e29b-41d4-a716-446655440000", "from": "sender@example.com", "reply_to": "reply@example.com",'
        b' "to": "Name <recipient@example.com>", "subject": " \\u00c8 ",'
        b' "body_text": "x", "custom_headers": {"X-A": " b"}}'
    )
    message = read(rendered(raw))
    assert (message["subject"], message["x-a"]) == (" È ", " b")
    assert message["to"].addresses[0].display_name == "Name"
