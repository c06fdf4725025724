"""JSON that can be understood in one way only, read within bounds.

The standard library keeps the last of two equal keys, takes UTF-16, NaN and lone surrogates, and raises five kinds of
exceptions; here each has one code.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

from mailculator.errors import PayloadError

NUMBER_LIMIT = 100
"""Characters of a number; far above any that is meant."""

_BOM = "\ufeff"
_BLANKS = " \t\r\n"
_ELLIPSIS = "..."
_CUT = re.compile(r"u[0-9A-Fa-f]{0,4}|\.|[eE][+-]?")  # what stands at the error in an escape or a number cut short
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")


class Truncated(PayloadError):
    """json_syntax at the very end of the input: whoever writes the file may not have finished."""


def loads(raw: bytes) -> object:
    """The value that `raw` holds.

    Arguments:
        raw: UTF-8, a byte order mark at its start tolerated (RFC 8259 section 8.1).
    Errors: PayloadError with encoding, json_empty, json_syntax (Truncated when it ends too early), json_depth,
    json_number or json_duplicate_key.
    """
    text = _decode(raw)
    if not text.strip(_BLANKS):
        raise PayloadError("json_empty", "the payload file is empty")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        kind = Truncated if _ends_early(text, error) else PayloadError
        raise kind("json_syntax", f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise PayloadError("json_depth", "nested too deeply") from error


def quote(text: str, limit: int = 60) -> str:
    """A key for use in a reason: quoted, ASCII, cut.

    Arguments:
        limit: characters between the quotes, as they are written: an escape has six, or twelve.
    """
    written = json.dumps(text[: limit + 1])
    if len(written) <= limit + 2:
        return written
    kept = ""
    for character in text:
        escaped = json.dumps(character)[1:-1]
        if len(kept) + len(escaped) + len(_ELLIPSIS) > limit:
            break
        kept += escaped
    return f'"{kept}{_ELLIPSIS}"'


def _decode(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in raw:
        raise PayloadError("encoding", "not UTF-8: holds NUL bytes or the byte order mark of UTF-16")
    try:
        return raw.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            raise Truncated("json_syntax", f"ends within a character, at byte {error.start}") from error
        raise PayloadError("encoding", f"not UTF-8 at byte {error.start}") from error


def _ends_early(text: str, error: json.JSONDecodeError) -> bool:
    if error.msg.startswith("Unterminated string"):
        return True  # its position is the string's beginning
    tail = text[error.pos :].rstrip(_BLANKS)
    return _CUT.fullmatch(tail) is not None or any(literal.startswith(tail) for literal in _LITERALS)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise PayloadError("json_duplicate_key", f"the key {quote(key)} stands twice")
            seen.add(key)
    return members


def _integer(digits: str) -> int:
    _bound(digits)
    return int(digits)


def _float(digits: str) -> float:
    _bound(digits)
    number = float(digits)
    if math.isinf(number):
        raise PayloadError("json_number", "a number is too large")
    return number


def _bound(digits: str) -> None:
    if len(digits) > NUMBER_LIMIT:
        raise PayloadError("json_number", f"a number of {len(digits)} characters")


def _refuse_constant(name: str) -> NoReturn:
    raise PayloadError("json_number", f"{name} is not JSON")


# Made once: json.loads would build it anew for each payload, at a third of what reading one takes.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant
)
