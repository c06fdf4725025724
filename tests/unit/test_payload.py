"""Payload bytes -> checked Payload: each bad input gets its code, everything else is kept exactly."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator import payload
from mailculator.address import Address
from mailculator.errors import PayloadError
from mailculator.payload import AttachmentRef, Payload
from mailculator.strictjson import Truncated

ID = "550e8400-e29b-41d4-a716-446655440000"
GOOD: dict[str, Any] = {
    "id": ID,
    "from": "Mittente <sender@example.com>",
    "reply_to": "reply@example.com",
    "to": "recipient@example.com",
    "subject": "Oggetto",
    "body_html": "<p>però</p>",
    "body_text": "però",
    "attachments": ["/2026/a.pdf", {"path": "/2026/b.pdf", "name": "fattura.pdf"}],
    "custom_headers": {"X-Custom-Header": "Value"},
}


def with_(**changes: object) -> bytes:
    fields = {**GOOD, **{"from" if key == "from_" else key: value for key, value in changes.items()}}
    return json.dumps(fields).encode()


def without(field: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != field}).encode()


def refusal(raw: bytes, **limits: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        payload.parse(raw, **limits)
    return caught.value


def test_the_payload_of_the_documentation() -> None:
    assert payload.parse(json.dumps(GOOD).encode()) == Payload(
        id=ID,
        sender=Address("Mittente", "sender", "example.com"),
        reply_to=Address("", "reply", "example.com"),
        to=Address("", "recipient", "example.com"),
        subject="Oggetto",
        body_html="<p>però</p>",
        body_text="però",
        attachments=(AttachmentRef("/2026/a.pdf", "a.pdf"), AttachmentRef("/2026/b.pdf", "fattura.pdf")),
        custom_headers=(("X-Custom-Header", "Value"),),
    )


NESTED = b"[" * 200_000
ONE_MEGABYTE = "a" * 1_000_000


@pytest.mark.parametrize(
    ("bad_input", "raw", "expected"),
    [
        (3, b"", "json_empty"),
        (3, b" \r\n\t ", "json_empty"),
        (3, b"\xef\xbb\xbf", "json_empty"),
        (4, json.dumps(GOOD).encode()[:-1], "json_syntax"),
        (4, b'{"id": 1,}', "json_syntax"),
        (4, b"{} {}", "json_syntax"),
        (4, b'{"id": "a\nb"}', "json_syntax"),
        (5, b"[]", "json_type"),
        (5, b'"x"', "json_type"),
        (5, b"null", "json_type"),
        (5, b"12", "json_type"),
        (6, b'{"to":"a@b.com","to":"c@d.com"}', "json_duplicate_key"),
        (6, with_().replace(b'"X-Custom-Header": "Value"', b'"X-A": "1", "X-A": "2"'), "json_duplicate_key"),
        (6, with_(more={"a": 1}).replace(b'"a": 1', b'"a": 1, "\\u0061": 2'), "json_duplicate_key"),
        (7, NESTED, "json_depth"),
        (7, NESTED + b"]" * 200_000, "json_depth"),
        (7, b'{"a":' * 200_000, "json_depth"),
        (7, with_(more="@").replace(b'"@"', NESTED + b"]" * 200_000), "json_depth"),
        (8, with_(more="@").replace(b'"@"', b"9" * 5000), "json_number"),
        (8, with_(more="@").replace(b'"@"', b"-" + b"9" * 5000), "json_number"),
        (8, with_(more="@").replace(b'"@"', b"0." + b"9" * 5000), "json_number"),
        (8, with_(more="@").replace(b'"@"', b"1e400"), "json_number"),
        (8, with_(more="@").replace(b'"@"', b"NaN"), "json_number"),
        (8, with_(more="@").replace(b'"@"', b"-Infinity"), "json_number"),
        (9, with_(subject="a\ud800b"), "text_surrogate"),
        (9, with_(body_text="\udfff"), "text_surrogate"),
        (9, with_(to="\ud800@b.com"), "text_surrogate"),
        (9, with_(custom_headers={"X-A": "\ud800"}), "text_surrogate"),
        (9, with_(attachments=["/a\ud800.pdf"]), "text_surrogate"),
        (9, with_(attachments=[{"path": "/a.pdf", "name": "\ud800"}]), "text_surrogate"),
        (10, json.dumps(GOOD).encode("utf-16"), "encoding"),
        (10, json.dumps(GOOD).encode("utf-16-be"), "encoding"),
        (10, json.dumps(GOOD).encode("utf-32"), "encoding"),
        (10, json.dumps(GOOD, ensure_ascii=False).encode("latin-1"), "encoding"),
        (10, with_() + b"\x00", "encoding"),
        (10, with_(body_text="a\x00b"), "encoding"),
        (11, b" " * 101, "payload_size"),
        (12, with_(id="not-a-uuid"), "field_type"),
        (12, with_(id=f"{{{ID}}}"), "field_type"),
        (12, with_(id=ID.replace("-", "")), "field_type"),
        (12, with_(id=ID + "\n"), "field_type"),
        (13, with_(body_html=1), "field_type"),
        (13, with_(body_text=["x"]), "field_type"),
        (13, with_(custom_headers=[["X-A", "b"]]), "field_type"),
        (13, with_(attachments="a.pdf"), "field_type"),
        (13, with_(attachments=[1]), "field_type"),
        (13, with_(attachments=[None]), "field_type"),
        (13, with_(attachments=[{"name": "a.pdf"}]), "field_required"),
        (13, with_(attachments=[{"path": 1}]), "field_type"),
        (13, with_(attachments=[{"path": "/a.pdf", "name": 1}]), "field_type"),
        (14, with_(body_html=None, body_text=None), "body_missing"),
        (14, with_(body_html="", body_text=""), "body_missing"),
        (17, with_(subject="x" * 2001), "header_too_long"),
        (17, with_(subject=""), "field_required"),
        (17, with_(subject=" \u00a0 "), "field_required"),
        (18, with_(to="a@b.com, c@d.com"), "address_multiple"),
        (18, with_(reply_to="g: a@b.com, c@d.com;"), "address_group"),
        (19, with_(from_="alice@example.org)x@evil"), "address_syntax"),
        (20, with_(to='"a@evil.com x"@ok.com'), "address_quoted"),
        (21, with_(to="=?x?q?collab=40evil=3e=00?=foo@ok.com"), "address_encoded_word"),
        (22, with_(to="a@b.com\r\nRCPT TO:<v@x>"), "address_control"),
        (25, with_(to="a@localhost"), "address_syntax"),
        (28, with_(to=["a@b.com"]), "field_type"),
        (28, with_(to=None), "field_required"),
        (28, with_(to=f"{ONE_MEGABYTE}@b.com"), "size"),
        (31, with_(custom_headers={"X-A": "1", "x-a": "2"}), "header_duplicate"),
        (31, with_(custom_headers={f"X-{n}": "1" for n in range(101)}), "header_count"),
        (31, with_(custom_headers={"X-A": "x" * 994}), "header_too_long"),
        (31, with_(custom_headers={"X-A": "a " + "é" * 497 + " b"}), "header_too_long"),
        (31, with_(custom_headers={"X-A": "x " * 6000}), "header_too_long"),
        (31, with_(custom_headers={"X-A": 1}), "field_type"),
        (31, with_(custom_headers={"X-A": None}), "field_type"),
        (31, with_(custom_headers={"X-A": "   "}), "header_value"),
        (32, with_(custom_headers={"List-Unsubscribe": "<javascript:alert(1)>"}), "header_value"),
        (32, with_(custom_headers={"list-unsubscribe": "<https://x.com>, <JavaScript:alert(1)>"}), "header_value"),
        (32, with_(custom_headers={"List-Help": "data:text/html,x"}), "header_value"),
        (32, with_(custom_headers={"List-Unsubscribe": "<https://x.com>\r\nBcc: <e@x.com>"}), "header_value"),
        (35, with_(attachments=["../../etc/passwd"]), "attachment_path"),
        (35, with_(attachments=["/../x"]), "attachment_path"),
        (35, with_(attachments=["/a/../../x"]), "attachment_path"),
        (35, with_(attachments=["a/b/.."]), "attachment_path"),
        (35, with_(attachments=["file:///etc/passwd"]), "attachment_path"),
        (35, with_(attachments=["..\\..\\x"]), "attachment_path"),
        (35, with_(attachments=["/a\x00.pdf"]), "attachment_path"),
        (35, with_(attachments=["/"]), "attachment_path"),
        (35, with_(attachments=["/a/"]), "attachment_path"),
        (35, with_(attachments=[""]), "attachment_path"),
        (35, with_(attachments=["/" + "é" * 128]), "attachment_path"),
        (35, with_(attachments=[{"path": "/a" * 2050, "name": "a"}]), "attachment_path"),
        (38, with_(attachments=["/a.pdf"] * 10_000), "size"),
        (40, with_(attachments=["/a\r\nb.pdf"]), "attachment_name"),
        (40, with_(attachments=[{"path": "/a.pdf", "name": "a\r\nBcc: x"}]), "attachment_name"),
        (40, with_(attachments=[{"path": "/a.pdf", "name": "a/b.pdf"}]), "attachment_name"),
        (40, with_(attachments=[{"path": "/a.pdf", "name": "a\\b.pdf"}]), "attachment_name"),
        (40, with_(attachments=[{"path": "/a.pdf", "name": ".."}]), "attachment_name"),
        (40, with_(attachments=[{"path": "/a.pdf", "name": " "}]), "attachment_name"),
        (40, with_(attachments=[{"path": "/a.pdf", "name": "x" * 300}]), "attachment_name"),
        (41, with_(attachments=["http://169.254.169.254/"]), "attachment_scheme"),
        (41, with_(attachments=[{"path": "HTTPS://x/a.pdf", "name": "a.pdf"}]), "attachment_scheme"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_refused(bad_input: int, raw: bytes, expected: str) -> None:
    error = refusal(raw, limit=100) if bad_input == 11 else refusal(raw)
    assert error.code == expected, f"bad input {bad_input}: {error}"
    assert error.detail.isprintable()
    assert len(error.detail) < 300


@pytest.mark.parametrize("field", ["id", "from", "reply_to", "to", "subject"])
def test_bad_input_13_a_required_field(field: str) -> None:
    assert str(refusal(without(field))) == f"field_required: {field}: is missing"
    for value, expected in ((None, "field_required"), ("", "field_required"), (1, "field_type"), ({}, "field_type")):
        error = refusal(json.dumps({**GOOD, field: value}).encode())
        assert (error.code, error.detail.partition(":")[0]) == (expected, field)


def test_bad_input_13_unknown_fields_are_ignored_and_counted() -> None:
    assert payload.parse(with_(priority=1, tags=["x"])).ignored == 2
    assert payload.parse(with_()).ignored == 0


def test_bad_input_4_a_syntax_error_says_where() -> None:
    error = refusal(b'{\n  "id": x\n}')
    assert str(error) == "json_syntax: line 2, column 9: Expecting value"
    assert not isinstance(error, Truncated)


def test_bad_input_4_whatever_prefix_a_writer_left_is_seen_as_one() -> None:
    fields = {**GOOD, "more": [1.5, -2e-3, True, False, None, "\n"]}
    for raw in (json.dumps(fields).encode(), json.dumps(fields, ensure_ascii=False, indent=1).encode()):
        kinds = {type(refusal(raw[:length])) for length in range(1, len(raw))}
        assert kinds == {Truncated}
        assert payload.parse(raw).ignored == 1


@pytest.mark.parametrize("raw", [b"{} {}", b'{"id": x}', b'{"id": 1,}', b'{"a" 12}', b'{"a": "\\u00zz"}'])
def test_bad_input_4_a_plain_mistake_is_not_taken_for_a_prefix(raw: bytes) -> None:
    assert not isinstance(refusal(raw), Truncated)


def test_bad_input_7_the_depth_is_bounded_whatever_the_callers_stack() -> None:
    def deeper(levels: int) -> PayloadError:
        return refusal(NESTED) if levels == 0 else deeper(levels - 1)

    assert deeper(sys.getrecursionlimit() // 4).code == "json_depth"


def test_bad_input_10_a_byte_order_mark_alone_is_accepted() -> None:
    assert payload.parse(b"\xef\xbb\xbf" + with_()) == payload.parse(with_())


def test_bad_input_12_an_upper_case_id_is_accepted() -> None:
    assert payload.parse(with_(id=ID.upper())).id == ID.upper()


@pytest.mark.parametrize("empty", [None, ""])
def test_bad_input_14_an_empty_body_beside_another_counts_as_absent(empty: str | None) -> None:
    assert payload.parse(with_(body_html=empty)).body_html is None
    assert payload.parse(with_(body_text=empty)).body_text is None
    assert payload.parse(without("body_text")).body_text is None


CONTROLS = ["\r", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x00", "\t", "\x1b", "\x7f"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_bad_input_15_g11_no_control_character_gets_into_a_header(control: str) -> None:
    injected = f"a{control}Bcc: e@x.com"
    assert refusal(with_(subject=injected)).code == "header_control"
    assert refusal(with_(custom_headers={"X-A": injected})).code == "header_control"
    assert refusal(with_(to=f"{injected} <a@b.com>")).code == "address_control"


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?a=0D=0ABcc:_e@x?=",  # bad input 16
        "  leading and trailing  ",
        "  ",
        "emoji 😀, \u202eRTL override, \u200d joiner",  # bad input 17
        "x" * 989,
        '"quoted" \\ <angle> ; , :',
        "",
    ],
)
def test_bad_inputs_16_and_17_text_is_kept_exactly(text: str) -> None:
    if text.strip():
        assert payload.parse(with_(subject=text)).subject == text
    if text.strip() or not text:
        assert payload.parse(with_(custom_headers={"X-Text": text})).custom_headers == (("X-Text", text),)
    assert payload.parse(with_(body_text=text + "\r.\r\n.\n")).body_text == text + "\r.\r\n.\n"  # bad input 33


def test_bad_input_17_the_longest_subject() -> None:
    assert len(payload.parse(with_(subject="é" * 2000)).subject) == 2000


def test_bad_input_27_the_senders_domain() -> None:
    allowed = ("example.com", "xn--exmple-cua.com")
    for sender in ("a@EXAMPLE.com", "A <a@exämple.com>"):
        assert payload.parse(with_(from_=sender), allowed_sender_domains=allowed).sender.domain in allowed
    for sender in ("a@sub.example.com", "a@badexample.com"):
        error = refusal(with_(from_=sender), allowed_sender_domains=allowed)
        assert error.code == "sender_not_allowed"


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X-A\r\nBcc", "X-A\n", "X-È", "x" * 77, "X\t", "\x7f"])
def test_bad_input_29_header_names(name: str) -> None:
    assert refusal(with_(custom_headers={name: "x"})).code == "header_name"


RESERVED = """To From Cc Bcc Sender Reply-To Subject Return-Path Resent-To Resent-Date Date Orig-Date Message-ID
    Content-Type Content-Transfer-Encoding MIME-Version Received DKIM-Signature ARC-Seal X-Mailculator-Id"""


@pytest.mark.parametrize("name", RESERVED.split())
def test_bad_input_30_g11_reserved_headers(name: str) -> None:
    for form in (name, name.lower(), name.upper()):
        assert refusal(with_(custom_headers={form: "x"})).code == "header_reserved"


def test_bad_input_30_only_those_are_reserved() -> None:
    names = ["X-To", "Todo", "Importance", "Auto-Submitted", "References", "Received-Date", "x" * 76, "!#~"]
    headers = dict.fromkeys(names, "x")
    assert payload.parse(with_(custom_headers=headers)).custom_headers == tuple(headers.items())


def test_bad_input_31_g12_the_longest_line_that_fits_is_accepted() -> None:
    longest = "x" * (998 - len("X-A: "))
    assert payload.parse(with_(custom_headers={"X-A": f"{longest} {longest}"})).custom_headers[0][1][:993] == longest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Unsubscribe", "<https://x.com/u?a=b:c,d>, <mailto:u@x.com?subject=stop>"),
        ("List-Unsubscribe", "<HTTP://x.com/u>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("List-Post", "NO (posting not allowed)"),
        ("X-Script", "javascript: is only text here"),
    ],
)
def test_bad_input_32_lists_that_are_in_order(name: str, value: str) -> None:
    assert payload.parse(with_(custom_headers={name: value})).custom_headers == ((name, value),)


def test_bad_input_34_a_body_of_any_shape_is_kept() -> None:
    body = "x" * 1_000_000 + "\n--boundary\n"
    assert payload.parse(with_(body_html=body)).body_html == body


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("a.pdf", AttachmentRef("a.pdf", "a.pdf")),
        ("/2026/./x/../a.pdf", AttachmentRef("/2026/./x/../a.pdf", "a.pdf")),
        ("%2e%2e/a.pdf", AttachmentRef("%2e%2e/a.pdf", "a.pdf")),
        ({"path": "/a.pdf"}, AttachmentRef("/a.pdf", "a.pdf")),
        ({"path": "/a.pdf", "name": None}, AttachmentRef("/a.pdf", "a.pdf")),
        ({"path": "/a.pdf", "name": ""}, AttachmentRef("/a.pdf", "a.pdf")),
        ({"path": "/a.pdf", "name": ' "è" \u202e😀.pdf '}, AttachmentRef("/a.pdf", ' "è" \u202e😀.pdf ')),
        ({"path": "/a.pdf", "name": "é" * 255}, AttachmentRef("/a.pdf", "é" * 255)),
        ("/15:30 a.pdf", AttachmentRef("/15:30 a.pdf", "15:30 a.pdf")),
    ],
)
def test_bad_inputs_35_and_40_attachments_that_are_in_order(item: object, expected: AttachmentRef) -> None:
    assert payload.parse(with_(attachments=[item])).attachments == (expected,)


@pytest.mark.parametrize("nothing", [None, []])
def test_no_attachments_and_no_headers(nothing: object) -> None:
    assert payload.parse(with_(attachments=nothing)).attachments == ()
    assert payload.parse(with_(custom_headers=None)).custom_headers == ()
    assert payload.parse(without("custom_headers")).custom_headers == ()


def test_bad_input_38_the_encoded_size() -> None:
    parsed = payload.parse(with_(body_html="é", body_text="ab"))
    assert payload.encoded_size(parsed, []) == 4
    assert payload.encoded_size(parsed, [0, 1, 57, 58]) == 4 + 78 + 78 + 156
    assert payload.check_size(parsed, [57], 82) == 82
    with pytest.raises(PayloadError, match=r"^size: the message would have about 82 bytes; the limit is 81$"):
        payload.check_size(parsed, [57], 81)


@given(st.text(), st.text(), st.booleans())
def test_no_text_is_longer_than_the_file_that_it_comes_from(html: str, text: str, ascii_only: bool) -> None:
    fields = {**GOOD, "body_html": html.replace("\0", ""), "body_text": "." + text.replace("\0", "")}
    raw = json.dumps(fields, ensure_ascii=ascii_only).encode()
    assert payload.encoded_size(payload.parse(raw), []) <= len(raw)


def test_a_reason_never_quotes_bodies_addresses_or_paths() -> None:
    secret = "s3cr3t"
    changes: list[dict[str, object]] = [
        {"body_text": f"{secret}\x00"},
        {"body_html": f"{secret}\ud800"},
        {"to": f"{secret}@localhost"},
        {"from_": f"{secret} <{secret}>"},
        {"subject": f"{secret}\n"},
        {"attachments": [f"../{secret}"]},
        {"attachments": [{"path": "/a", "name": f"{secret}/"}]},
        {"custom_headers": {"X-A": f"{secret}\n"}},
    ]
    for change in changes:
        assert secret not in str(refusal(with_(**change)))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("a" * 60, '"' + "a" * 60 + '"'),
        ("a" * 61, '"' + "a" * 57 + '..."'),
        ("é" * 10, '"' + "\\u00e9" * 10 + '"'),
        ("é" * 2000, '"' + "\\u00e9" * 9 + '..."'),
        ("\U0001f600" * 6, '"' + "\\ud83d\\ude00" * 4 + '..."'),
    ],
)
def test_a_key_in_a_reason_is_cut_by_what_is_written_of_it(key: str, shown: str) -> None:
    twice = b", ".join([json.dumps({key: 1}).encode()[1:-1]] * 2)
    error = refusal(with_()[:-1] + b", " + twice + b"}")
    assert error.code == "json_duplicate_key"
    assert error.detail == f"the key {shown} stands twice"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


def accepts(raw: bytes) -> Payload | None:
    try:
        return payload.parse(raw)
    except PayloadError:
        return None


@given(st.binary() | st.text().map(str.encode) | ANYTHING.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=400, deadline=None)
def test_arbitrary_bytes_raise_nothing_but_a_payload_error(raw: bytes) -> None:
    assert accepts(raw) is None


@pytest.mark.parametrize("field", sorted(payload.FIELDS))
@given(value=ANYTHING)
@settings(max_examples=300, deadline=None)
def test_arbitrary_values_raise_nothing_but_a_payload_error(field: str, value: object) -> None:
    parsed = accepts(json.dumps({**GOOD, field: value}).encode())
    assert parsed is None or parsed.to.domain == "example.com" or field == "to"


@given(
    headers=st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=4),
    items=st.lists(st.text(max_size=30) | st.fixed_dictionaries({"path": st.text(), "name": st.text()}), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_arbitrary_headers_and_attachments(headers: dict[str, str], items: list[object]) -> None:
    parsed = accepts(with_(custom_headers=headers, attachments=[]))
    assert parsed is None or dict(parsed.custom_headers) == headers
    parsed = accepts(with_(attachments=items))
    assert parsed is None or len(parsed.attachments) == len(items)


LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=200).filter(str.strip)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
NAMES = st.from_regex(r"X-[!-9;-~]{1,70}", fullmatch=True).filter(lambda name: "mailculator" not in name.lower())


@given(
    subject=LINE,
    html=TEXT,
    text=TEXT,
    headers=st.dictionaries(NAMES, LINE, max_size=5).filter(lambda found: len({*map(str.lower, found)}) == len(found)),
    name=LINE.filter(lambda name: not set(name) & {"/", "\\"} and name.strip() not in {".", ".."}),
    ascii_only=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_is_kept_exactly(
    *, subject: str, html: str, text: str, headers: dict[str, str], name: str, ascii_only: bool
) -> None:
    fields = {**GOOD, "subject": subject, "body_html": html, "body_text": text, "custom_headers": headers,
              "attachments": [{"path": "/a", "name": name}]}  # fmt: skip
    parsed = payload.parse(json.dumps(fields, ensure_ascii=ascii_only).encode())
    assert (parsed.subject, parsed.body_html, parsed.body_text) == (subject, html, text)
    assert parsed.custom_headers == tuple(headers.items())
    assert parsed.attachments[0].name == name
