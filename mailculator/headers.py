"""Header fields as RFC 5322 bytes: what is plain stays plain, the rest is encoded by RFC 2047 and RFC 2231. Pure.

Every field is folded only at blanks that are part of its text, so unfolding (RFC 5322 section 2.2.3) gives it back
unchanged. The first word stays on the field's first line: a reader that strips what follows the colon before it
unfolds, as the standard library's does, would otherwise find a blank that nobody wrote.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from mailculator.address import Address
from mailculator.errors import PayloadError

# RFC 2047 section 2 for a line that holds an encoded word; within RFC 5322's 78 for every other.
LINE = 76
# RFC 5322 section 2.1.1: octets in a line, its CRLF not counted.
LONGEST_LINE = 998
# RFC 2047 section 2.
ENCODED_WORD = 75
_WRAPPING = len("=?utf-8?q??=")

_CONTROL = re.compile(r"[\r\n\0]")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
_PLAIN = re.compile(r"(?:[!-~]+(?:[ \t]+[!-~]+)*)?")
_PRINTABLE = re.compile(r"[\t -~]*")
# A word with the blanks before it: a field may be folded before each.
_FOLDABLE = re.compile(r"[ \t]*[^ \t]+")
# Without the quote, the backslash and doubled blanks, which readers treat differently.
_PLAIN_PARAMETER = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
# atext of RFC 5322 section 3.2.3 and all beyond ASCII, told by what it is not: see address.py.
_ATOM = r"""[^\x00-\x20"(),.:;<>@\[\\\]\x7f]+"""
_LOCAL_PART = rf"""(?:{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*")"""
_ADDR_SPEC = re.compile(rf"{_LOCAL_PART}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class _QTable(dict[str, str]):
    """Characters as they stand in a word of the Q encoding; those beyond ASCII are worked out when they are met."""

    def __missing__(self, char: str) -> str:
        return "".join(f"={octet:02X}" for octet in char.encode())


# RFC 2047 section 5 (3): all that may stand for itself in an encoded word within a phrase.
_Q = _QTable(
    {chr(octet): f"={octet:02X}" for octet in range(128)}
    | {chr(char): f"={0xC0 | char >> 6:02X}={0x80 | char & 0x3F:02X}" for char in range(0x80, 0x800)}
    | {char: char for char in _ALPHANUMERIC + "!*+-/"}
    | {" ": "_"}
)
# RFC 2231 section 7 allows more; these mean nothing to any shell, URL or reader.
_PERCENT_SAFE = frozenset(_ALPHANUMERIC + "._-")


def unstructured(name: str, text: str) -> bytes:
    """A field whose value is free text (Subject, X-…), or comes ready made in ASCII (List-Unsubscribe, References).

    Printable ASCII stays as it is. Text is encoded whole when any of it is not, when it looks like an encoded word,
    when it begins or ends with a blank (readers strip it), or when a word of it is too long for a line.

    Errors: PayloadError `header_control` for CR, LF or NUL, `header_name`, `text_surrogate`.
    """
    _check(name, text)
    if text.isascii() and "=?" not in text and _PLAIN.fullmatch(text):
        short = 0 < len(text) <= LINE - len(name) - 2
        lines = [f"{name}: {text}"] if short else _fold(name, _FOLDABLE.findall(text))
        if all(len(line) <= LONGEST_LINE for line in lines):
            return _join(name, lines)
    return field(name, _encoded_words(text, LINE - len(name) - 2))


@lru_cache(maxsize=256)  # a producer's From and Reply-To are few
def mailbox(name: str, address: Address) -> bytes:
    """A field that holds one mailbox (RFC 5322 section 3.4); only its local part may stand there as UTF-8 (RFC 6532).

    Errors: PayloadError `header_control`, `text_surrogate`, or `address_syntax` when the address could be read as
    anything but one addr-spec.
    """
    addr_spec = address.addr_spec
    _check(name, address.name + addr_spec)
    if not _ADDR_SPEC.fullmatch(addr_spec):
        raise PayloadError("address_syntax", f"{name} is not one address")
    if not address.name:
        return field(name, [addr_spec])
    words = _phrase(address.name)
    if any(len(word) > LONGEST_LINE - len(name) - 2 for word in words):
        words = _encoded_words(address.name, LINE - len(name) - 2)
    return field(name, [*words, f" <{addr_spec}>"])


def parameterized(name: str, value: str, *parameters: tuple[str, str]) -> bytes:
    """A MIME field with parameters, such as `Content-Disposition: attachment; filename="a.pdf"`.

    A parameter that is not plain ASCII is written by RFC 2231, in sections of whole characters, since readers decode
    section by section. Quotes and backslashes take that way too: few readers undo escapes alike.

    Errors: PayloadError `header_control`, `text_surrogate`.
    """
    words = [value]
    for key, content in parameters:
        _check(name, content)
        words[-1] += ";"
        words += _parameter(key, content)
    return field(name, words)


def field(name: str, words: Sequence[str]) -> bytes:
    """A field of ready-made words, each but the first with its blank before it, folded between them.

    Errors: PayloadError `header_control`, `header_name`, `header_too_long`.
    """
    line = f"{name}: {''.join(words)}"
    return _join(name, [line] if words and len(line) <= LINE else _fold(name, words))


def ascii_name(name: str, longest: int = 60) -> str:
    """A file name reduced to what any reader shows: accents dropped, all else but [A-Za-z0-9.-] as "_"."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem, dot, suffix = letters.rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    suffix = re.sub(r"[^A-Za-z0-9]", "", suffix)[:10]
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", stem).strip("._")[: longest - 11]
    return (stem or "attachment") + (f".{suffix}" if suffix else "")


def _fold(name: str, words: Iterable[str]) -> list[str]:
    lines = []
    line = f"{name}:"
    for number, word in enumerate(words):
        if number == 0:
            line = f"{line} {word}"
        elif len(line) + len(word) > LINE:
            lines.append(line)
            line = word
        else:
            line += word
    return [*lines, line]


def _join(name: str, lines: Sequence[str]) -> bytes:
    """The last gate: whatever came this far, no field ends where its text says so."""
    if _CONTROL.search(lines[0] if len(lines) == 1 else "".join(lines)):
        raise PayloadError("header_control", f"{_label(name)} holds a line end or a NUL")
    if not _FIELD_NAME.fullmatch(name):
        raise PayloadError("header_name", f"{_label(name)!r} cannot be a header name")
    encoded = "\r\n".join(lines).encode()
    if len(encoded) > LONGEST_LINE and max(map(len, encoded.split(b"\r\n"))) > LONGEST_LINE:
        raise PayloadError("header_too_long", f"{_label(name)} does not fit lines of {LONGEST_LINE} octets")
    return encoded + b"\r\n"


def _check(name: str, text: str) -> None:
    """Before encoding: a line end inside an encoded word is one to the reader that decodes and re-writes it."""
    if _CONTROL.search(text):
        raise PayloadError("header_control", f"{_label(name)} holds a line end or a NUL")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError("text_surrogate", f"{_label(name)} holds a lone surrogate") from error


def _label(name: str) -> str:
    return _CONTROL.sub("?", name)[:76]


def _phrase(name: str) -> list[str]:
    """A display name as words of a phrase.

    ASCII is one quoted string. Otherwise one encoded word, where it fits; where it does not, ASCII words stand between
    encoded ones as quoted strings, and no two encoded words are neighbours: RFC 2047 section 6.2 drops the blank
    between them, the standard library's address parser (seen in 3.11 to 3.13) keeps it, and a name must read the
    same in both. So a long run without an ASCII word is one encoded word of over 75 characters, which both read.
    That parser also collapses doubled blanks in an encoded word of a phrase: they go into a quoted string too.
    """
    if _is_quotable(name):
        return _FOLDABLE.findall(_quoted(name))
    if "  " not in name and name == name.strip(" "):
        word = _encoded_word(name)
        if len(word) <= ENCODED_WORD:
            return [word]
    words: list[str] = []
    for quotable, run in _runs(name.split(" ")):
        text = " ".join(run)
        pieces = _FOLDABLE.findall(_quoted(text)) if quotable else [_encoded_word(text)]
        words += [" " + pieces[0], *pieces[1:]]
    return [words[0][1:], *words[1:]]


def _runs(words: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    """Neighbouring words of one kind together; yields whether they can be quoted, and the words."""
    run: list[str] = []
    kind = _is_quotable(words[0])
    for word in words:
        if _is_quotable(word) != kind:
            yield kind, run
            run, kind = [], not kind
        run.append(word)
    yield kind, run


def _is_quotable(text: str) -> bool:
    # Readers decode encoded words inside quoted strings, against RFC 2047 section 5.
    return "=?" not in text and _PRINTABLE.fullmatch(text) is not None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _encoded_word(text: str) -> str:
    """The whole text as one word, however long."""
    (word,) = _encoded_words(text, 12 * len(text) + _WRAPPING)
    return word


def _encoded_words(text: str, first_room: int) -> list[str]:
    """RFC 2047 section 2: words of whole characters, at most 75 long (the first: `first_room`).

    The encoding is the shorter, or Q, which a person can read, where base64 would spare under five characters.
    The blanks between the words vanish in reading.
    """
    pieces = [_Q[char] for char in text]
    whole = "".join(pieces)
    first, rest = first_room - _WRAPPING, ENCODED_WORD - _WRAPPING
    if len(whole) < (len(text.encode()) + 2) // 3 * 4 + 5:
        if len(whole) <= first:
            return [f"=?utf-8?q?{whole}?="]
        texts = ["".join(pieces[chunk]) for chunk in _chunks([len(piece) for piece in pieces], first, rest)]
        words = [f"=?utf-8?q?{text}?=" for text in texts]
    else:
        octets = [len(char.encode()) for char in text]
        texts = [text[chunk] for chunk in _chunks(octets, first // 4 * 3, rest // 4 * 3)]
        words = [f"=?utf-8?b?{b64encode(text.encode()).decode()}?=" for text in texts]
    return [words[0], *(" " + word for word in words[1:])]


def _parameter(key: str, content: str) -> list[str]:
    """One parameter as words of its field."""
    room = LINE - len(f' {key}*00*="";')
    if len(content) <= room and "=?" not in content and _PLAIN_PARAMETER.fullmatch(content):
        return [f' {key}="{content}"']
    pieces = [c if c in _PERCENT_SAFE else "".join(f"%{octet:02X}" for octet in c.encode()) for c in content]
    texts = ["".join(pieces[chunk]) for chunk in _chunks([len(piece) for piece in pieces], room - len("utf-8''"), room)]
    texts[0] = f"utf-8''{texts[0]}"
    if len(texts) == 1:
        return [f" {key}*={texts[0]}"]
    ends = [";"] * (len(texts) - 1) + [""]
    return [f" {key}*{number}*={text}{end}" for number, (text, end) in enumerate(zip(texts, ends, strict=True))]


def _chunks(widths: Sequence[int], first: int, rest: int) -> list[slice]:
    """Slices of as many items as fit `first`, then `rest`; at least one item each, and at least one slice."""
    slices = []
    start = used = 0
    limit = first
    for position, width in enumerate(widths):
        if used + width > limit and position > start:
            slices.append(slice(start, position))
            start, used, limit = position, 0, rest
        used += width
    return [*slices, slice(start, len(widths))]
