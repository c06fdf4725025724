"""Payloads for tests: a plain one to start from, and hypothesis strategies over everything that intake accepts."""

from __future__ import annotations

import dataclasses
import json
import string
from pathlib import Path
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from mailculator import payload as intake
from mailculator.address import Address
from mailculator.errors import PayloadError
from mailculator.message import Attachment
from mailculator.payload import AttachmentRef, Payload
from mailculator.pipelines import files

EMAIL_ID = "550e8400-e29b-41d4-a716-446655440000"
SAMPLE = Payload(
    id=EMAIL_ID,
    sender=Address("Società Però", "sender", "example.com"),
    reply_to=Address("", "reply", "example.com"),
    to=Address("Mario Rossi", "recipient", "example.com"),
    subject="Oggetto",
    body_html="<p>Perché no? È così.</p>",
    body_text="Perché no? È così.",
    attachments=(),
    custom_headers=(("X-Custom-Header", "Value"),),
)


def sample(**changes: Any) -> Payload:
    """The plain payload with some fields changed."""
    return dataclasses.replace(SAMPLE, **changes)


def with_attachments(*attachments: Attachment, **changes: Any) -> Payload:
    """The plain payload naming these attachments."""
    return sample(attachments=tuple(AttachmentRef(f"/{n}", a.name) for n, a in enumerate(attachments)), **changes)


# What intake refuses in headers and names: controls and whatever str.splitlines takes for a line end.
_REFUSED = "\x7f\u2028\u2029" + "".join(map(chr, [*range(0x20), *range(0x80, 0xA0)]))
_HEADER_CHARS = st.characters(exclude_characters=_REFUSED, exclude_categories=["Cs"])
# What has broken encoders and parsers before.
_TRICKY = st.sampled_from(
    [
        " ",
        "  ",
        "=?",
        "?=",
        "=?utf-8?q?a=0D=0ABcc:_e@x?=",
        "=?utf-8?b?4oKs?=",
        '"',
        "\\",
        "<a@b.it>",
        ",",
        ";",
        ":",
        "'",
        "(",
        ")",
        "%41",
        "utf-8''x",
        "è",
        "日本語の件名",
        "🙂",
        "\u202e",
        "é",
        "=",
        "_",
        "@",
        ".",
        "a" * 80,
        "b " * 60,
        "€" * 40,
        "y" * 900,
    ]
)


def read_attachments(mail: Payload, base: Path | None, limit: int) -> tuple[Attachment, ...]:
    """Every attachment, read whole. Errors: as files.open_attachments, and of its reading."""
    opened = files.open_attachments(mail, base, limit)
    return tuple(Attachment(one.name, b"".join(one.read())) for one in opened)


def header_text(longest: int) -> st.SearchStrategy[str]:
    """Text for a header, perhaps empty."""
    words = st.lists(st.one_of(_TRICKY, st.text(_HEADER_CHARS, max_size=8)), max_size=10).map("".join)
    plain = st.text(string.ascii_letters + " ", max_size=200)
    return st.one_of(words, plain, st.text(_HEADER_CHARS, max_size=40)).map(lambda text: text[:longest])


_ATOM = st.text(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=12)
_ASCII_LOCAL = st.lists(_ATOM, min_size=1, max_size=3).map(".".join)
_UTF8_LOCAL = st.text("abcèü日本", max_size=20).map(lambda text: text + "è")
_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)
_DOMAIN = st.tuples(_LABEL, st.sampled_from(["com", "sub.example.it", "xn--p1ai"])).map(".".join)
_NAME = st.one_of(
    st.just(""), header_text(140), st.sampled_from(["Общество с ограниченной ответственностью Ромашка", "È  è", " È"])
)


def addresses(local: st.SearchStrategy[str] = _ASCII_LOCAL) -> st.SearchStrategy[str]:
    """An address field as a producer writes it."""
    return st.tuples(_NAME, local, _DOMAIN).map(lambda parts: _written(*parts))


def _written(name: str, local: str, domain: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{local}@{domain}>' if name else f"{local}@{domain}"


_HEADER_NAMES = st.one_of(
    st.sampled_from(["List-ID", "References", "In-Reply-To", "X-Custom-Header", "Precedence", "X-" + "n" * 74]),
    st.text(string.ascii_letters + "!#$'*+-.^_`|~\"(),/;<=>?@[]{}", max_size=20).map("X-".__add__),
)
_CUSTOM_HEADERS = st.lists(
    st.tuples(_HEADER_NAMES, header_text(2000)), max_size=4, unique_by=lambda item: item[0].lower()
).map(dict)

_BODY_LINE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60),
    st.sampled_from([".", "..", "From x", "--=_m_", "x" * 1500, "è" * 600, "日本" * 300, "a ", "\t", " " * 80, "=20"])
    | st.integers(70, 80).map(lambda length: "y" * length + " "),
)
_LINE_END = st.sampled_from(["\r\n", "\n", "\r", "", "\r\n.\r\n", "\n\r", "\u2028", "\x0b"])
_BODIES = st.lists(st.tuples(_BODY_LINE, _LINE_END).map("".join), min_size=1, max_size=8).map("".join)

_SUFFIX = st.sampled_from(["", ".pdf", ".txt", ".html", ".eml", ".tar.gz", ".PNG", ".csv", ".p7m", ".mht", ".xml"])
_ATTACHMENT_NAME = (
    st.tuples(header_text(245), _SUFFIX).map("".join).map(lambda name: name.replace("/", "").replace("\\", ""))
)
_CONTENT = st.one_of(st.binary(max_size=100), st.integers(0, 3).map(lambda rest: bytes(range(256)) * 3 + b"x" * rest))


@st.composite
def payloads(draw: st.DrawFn, local: st.SearchStrategy[str] = _ASCII_LOCAL) -> tuple[Payload, tuple[Attachment, ...]]:
    """A payload as intake has read and accepted it, and its attachments, read."""
    sender = draw(addresses(local))
    names = draw(st.lists(_ATTACHMENT_NAME, max_size=3))
    html, text = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    fields = {
        "id": EMAIL_ID,
        "from": sender,
        "reply_to": draw(st.just(sender) | addresses(local)),
        "to": draw(addresses(local)),
        "subject": draw(header_text(2000)),
        "body_html": draw(_BODIES) if html else None,
        "body_text": draw(_BODIES) if text else None,
        "attachments": [{"path": f"/{number}", "name": name} for number, name in enumerate(names)],
        "custom_headers": draw(_CUSTOM_HEADERS),
    }
    try:
        payload = intake.parse(json.dumps(fields).encode())
    except PayloadError:
        reject()
    return payload, tuple(Attachment(reference.name, draw(_CONTENT)) for reference in payload.attachments)


UTF8_PAYLOADS = payloads(_UTF8_LOCAL)
