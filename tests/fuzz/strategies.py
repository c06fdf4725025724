"""Payload files for the fuzzer: written field by field, or mutations of the bytes of kept ones."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.support.payloads import EMAIL_ID, addresses, header_text

CORPUS = Path(__file__).parent / "corpus"

Fields = list[tuple[str, Any]]


class Literal(str):
    """A value that stands in the file as it is, being JSON or not."""

    __slots__ = ()


_TAG = hashlib.sha256(EMAIL_ID.encode()).hexdigest()[:32]
"""What makes the boundaries of this mail its own: whoever knows its id knows them."""
_REFUSED_IN_BODIES = re.compile(r"[\x00\ud800-\udfff]")
_ANY_CHARACTER = st.characters()
_EVIL = st.sampled_from(
    [
        *("\r\n", "\n", "\r", "\0", "\t", "\x0b", "\x0c", "\x1b[2J", "\x7f", "\x85", "\xa0", "\u2028", "\u2029"),
        *("\ud800", "\udfff", "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "\u200b", "\u200d", "\u00ad", "\u180e"),
        *("\u202e", "\u2066", "\u2069", "שלום", "مرحبا", "e" + "\u0301" * 40, "＠", "．", "〈", "İ", "ß", "ﬀ"),
        *("\r\nBcc: e@evil.com", "\r\n\r\n<html>", "\r\n.\r\n", "\r\n..\r\nMAIL FROM:<e@evil.com>", "\n--=_m_"),
        *(f"\n--{before}{_TAG}{after}\n" for before in ("=_a_", "=_m_", "a_", "m_", "") for after in ("", "--")),
        *("=?utf-8?q?=0D=0ABcc:_e@evil.com?=", "=?utf-8?b?DQpCY2M6?=", "=?x?q?", "?=", "=?", "=\r\n", "=20"),
        *('"', "\\", "\\\\", "'", "<", ">", "<e@evil.com>", ",", ";", ":", "(", ")", "@", "..", "/", "../", "%00"),
        *("a" * 76, "a" * 998, "a" * 1000, "é" * 500, "日" * 340, "a " * 500, " " * 80, "🙂" * 250),
    ]
)
EVIL_TEXT = st.lists(_EVIL | st.text(_ANY_CHARACTER, max_size=6), max_size=8).map("".join)
LONG_TEXT = st.tuples(_EVIL, st.integers(1, 4000)).map(lambda parts: (parts[0] * parts[1])[:20_000])
_TEXT = EVIL_TEXT | header_text(2100) | LONG_TEXT
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_LITERALS = st.sampled_from(
    [
        *("NaN", "-Infinity", "1e999", "-1e-999", "9" * 99, "9" * 5000, "0.1" + "0" * 98, "-0", "01", "+1", "1.", ".5"),
        *("[" * 5000, "[" * 100_000 + "]" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "[1,]", "{,}", "tru", "''"),
        *('"\\ud800"', '"\\ud83d\\ude42"', '"\\u000d\\u000aBcc: e@evil.com"', '"\\x41"', '"\\u12"', '"', '"\t"', "//"),
    ]
).map(Literal)
ANY_VALUE = _JSON | _TEXT | _LITERALS

_LOCAL = st.sampled_from(
    ["a", "a.b", "è", "日本", "a" * 64, "x+y", "=?utf-8?q?a?=", "a..b", ".a", '"a b"', "ﬀ", "a＠b", ""]
)
_DOMAIN = st.sampled_from(
    [
        "b.it",
        "xn--p1ai.com",
        "пример.рф",
        "例え.テスト",
        "B.IT",
        "b",
        "[127.0.0.1]",
        "b..it",
        "a" * 63 + ".it",
        "b.it.",
        "ß.de",
    ]
)
_SHAPE = st.sampled_from(
    ["{0}@{1}", "{2} <{0}@{1}>", '"{2}" <{0}@{1}>', "{2}:{0}@{1};", "{0}@{1},{0}@{1}", "{0}@{1} ({2})", "<{0}@{1}>{2}"]
)
EVIL_ADDRESS = st.one_of(
    st.tuples(_SHAPE, _LOCAL, _DOMAIN, _EVIL | header_text(100)).map(lambda one: one[0].format(*one[1:])),
    st.text(st.sampled_from('ab@.,;:<>()[]"\\ =?\t\r\nè＠\u2028'), max_size=30),
    _TEXT,
)
_UTF8_ADDRESS = st.tuples(st.text("abè日", min_size=1, max_size=16), st.sampled_from(["b.it", "пример.рф"])).map(
    "@".join
)
_GOOD_ADDRESS = addresses() | addresses() | _UTF8_ADDRESS

_HEADER_NAME = st.one_of(
    st.sampled_from(
        [
            *("X-A", "x-a", "List-Unsubscribe", "List-Unsubscribe-Post", "References", "In-Reply-To", "Precedence"),
            *(
                "Bcc",
                "cc",
                "Subject",
                "Content-Type",
                "X-Mailculator-Id",
                "Received",
                "DKIM-Signature",
                "Date ",
                "X-A:",
            ),
            *(
                "X-" + "n" * 74,
                "X-" + "n" * 75,
                "X A",
                "Xé",
                "",
                "X-A\r\nBcc",
                "Disposition-Notification-To",
                "Auto-Submitted",
            ),
        ]
    ),
    st.text(string.printable, max_size=20).map("X-".__add__),
)
_EVIL_HEADER = st.one_of(
    _TEXT,
    st.sampled_from(
        ["<https://a.it/x>", "<mailto:a@b.it>, <http://c.it>", "<javascript:alert(1)>", "<https://a.it\r\n>"]
    ),
    st.lists(st.sampled_from(["<1@b.it>", "<" + "x" * 200 + "@b.it>"]), max_size=40).map(" ".join),
)
_GOOD_HEADERS = st.dictionaries(
    st.text(string.ascii_letters, min_size=1, max_size=12).map("X-".__add__), header_text(300), max_size=3
)
EVIL_HEADERS = st.dictionaries(_HEADER_NAME, _EVIL_HEADER, max_size=4) | ANY_VALUE

_PATH = st.sampled_from(
    [
        "/a.pdf",
        "a/b.html",
        "/x/../a.txt",
        "../a",
        "/",
        "",
        "..",
        "a\0",
        "C:\\a",
        "file:///a",
        "http://b.it/a",
        "a" * 300,
    ]
)
_NAME = st.one_of(
    st.sampled_from(
        ["a.eml", "a.html", "a", ".", "..", " ", "a/b", "a\\b", "a.pdf\r\nX: y", 'a"; x="', "utf-8''%41", "%0d%0a"]
    ),
    _TEXT,
)
_EVIL_FILE = _PATH | st.fixed_dictionaries({"path": _PATH}, optional={"name": _NAME, "type": _TEXT}) | _JSON
EVIL_FILES = st.lists(_EVIL_FILE, max_size=4) | ANY_VALUE
_GOOD_FILES = st.lists(
    st.fixed_dictionaries({"path": st.just("/x/a.pdf")}, optional={"name": header_text(200)}), max_size=2
)

_BODY_PIECE = _EVIL.filter(lambda text: not _REFUSED_IN_BODIES.search(text)) | st.text(max_size=80)
_GOOD_BODY = st.lists(_BODY_PIECE, min_size=1, max_size=6).map("".join)

_EVIL_BY_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "id": _TEXT | ANY_VALUE,
    "from": EVIL_ADDRESS,
    "reply_to": EVIL_ADDRESS,
    "to": EVIL_ADDRESS,
    "subject": _TEXT,
    "body_text": _TEXT,
    "body_html": _TEXT,
    "attachments": EVIL_FILES,
    "custom_headers": EVIL_HEADERS,
}


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A payload file: about half are fit to be sent, many of the others nearly so."""
    fields: Fields = [
        ("id", EMAIL_ID),
        ("from", draw(_GOOD_ADDRESS)),
        ("reply_to", draw(_GOOD_ADDRESS)),
        ("to", draw(_GOOD_ADDRESS)),
        ("subject", "s" + draw(header_text(1900))),
        *draw(st.sampled_from([["body_text"], ["body_html"], ["body_text", "body_html"]]).map(_bodies)),
        ("custom_headers", draw(_GOOD_HEADERS)),
        ("attachments", draw(_GOOD_FILES)),
    ]
    fields = [(name, draw(_GOOD_BODY) if value is _bodies else value) for name, value in fields]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        draw(st.sampled_from(_SPOILS))(draw, fields)
    text = _written(fields, ascii_only=draw(st.booleans()), gap=draw(st.sampled_from(["", "", " ", "\r\n\t"])))
    raw = text.encode("utf-8", "surrogatepass")
    return draw(st.sampled_from(_ENCODINGS))(raw) if draw(st.integers(0, 19)) == 0 else raw


def _bodies(names: list[str]) -> Fields:
    return [(name, _bodies) for name in names]


def _spoil(draw: st.DrawFn, fields: Fields) -> None:
    name = draw(st.sampled_from([*_EVIL_BY_FIELD, "subject", "subject", "custom_headers", "to"]))
    value = draw(_EVIL_BY_FIELD[name])
    fields[:] = [one for one in fields if one[0] != name] + [(name, value)]


def _replace(draw: st.DrawFn, fields: Fields) -> None:
    name, value = draw(st.sampled_from(sorted(_EVIL_BY_FIELD))), draw(ANY_VALUE)
    fields[:] = [one for one in fields if one[0] != name] + [(name, value)]


def _drop(draw: st.DrawFn, fields: Fields) -> None:
    if fields:
        del fields[draw(st.integers(0, len(fields) - 1))]


def _repeat(draw: st.DrawFn, fields: Fields) -> None:
    if fields:
        fields.append((draw(st.sampled_from([name for name, _ in fields])), draw(ANY_VALUE)))


def _add(draw: st.DrawFn, fields: Fields) -> None:
    fields.append(
        (draw(st.sampled_from(["bcc", "cc", "To", "headers", "\ud800", "x" * 300]) | EVIL_TEXT), draw(ANY_VALUE))
    )


_SPOILS: Sequence[Callable[[st.DrawFn, Fields], None]] = (
    _spoil,
    _spoil,
    _spoil,
    _spoil,
    _replace,
    _drop,
    _repeat,
    _add,
)
_ENCODINGS: Sequence[Callable[[bytes], bytes]] = (
    b"\xef\xbb\xbf".__add__,
    lambda raw: raw.decode("utf-8", "replace").encode("utf-16"),
    lambda raw: raw.decode("utf-8", "replace").encode("latin-1", "replace"),
    lambda raw: raw + b" x",
    lambda raw: raw + raw,
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw + b"\0",
    lambda raw: b"[" + raw + b"]",
    lambda raw: raw.replace(b'"', b"'"),
)


def _written(fields: Fields, *, ascii_only: bool, gap: str) -> str:
    members = (
        f"{gap}{json.dumps(name, ensure_ascii=ascii_only)}:{gap}"
        + (value if isinstance(value, Literal) else json.dumps(value, ensure_ascii=ascii_only))
        for name, value in fields
    )
    return "{" + ",".join(members) + "}"


def kept(suffix: str) -> list[bytes]:
    """The files of the corpus that end so, in the order of their names."""
    return [path.read_bytes() for path in sorted(CORPUS.glob(f"*{suffix}"))]


_TOKENS = st.sampled_from(
    [
        *(
            b'"',
            b"\\",
            b"\\u0000",
            b"\\ud800",
            b"\\r\\n",
            b"\r\n",
            b"\r",
            b"\n",
            b"\0",
            b"\xff",
            b"\xc3",
            b"\xed\xa0\x80",
        ),
        *(b",", b":", b"{", b"}", b"[", b"]", b"null", b"1e999", b"@", b"<", b">", b"=?utf-8?q?a?=", b"\xe2\x80\xa8"),
        *(
            b"\r\n.\r\n",
            b"\r\n\r\n",
            b"\r\nBcc: e@evil.com",
            b"To: e@evil.com\r\n",
            b" " * 80,
            b"a" * 999,
            b"\xef\xbb\xbf",
        ),
    ]
)


@st.composite
def mutations(draw: st.DrawFn, corpus: Sequence[bytes]) -> bytes:
    """Bytes of one of these files, cut, repeated, crossed with another's, or with something put in."""
    raw = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["cut", "double", "insert", "replace", "cross", "flip", "truncate"])):
            case "cut":
                raw = raw[:start] + raw[end:]
            case "double":
                raw = raw[:end] + raw[start:]
            case "insert":
                raw = raw[:start] + draw(_TOKENS) + raw[start:]
            case "replace":
                raw = raw[:start] + draw(_TOKENS | st.binary(max_size=6)) + raw[end:]
            case "cross":
                other = draw(st.sampled_from(corpus))
                raw = raw[:start] + other[draw(st.integers(0, len(other))) :]
            case "flip" if start < len(raw):
                raw = raw[:start] + bytes([raw[start] ^ 1 << draw(st.integers(0, 7))]) + raw[start + 1 :]
            case "truncate":
                raw = raw[:start]
    return raw
