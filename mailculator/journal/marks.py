"""Marks, and the payloads they are written as: one line of printable ASCII each, so that people can read the files.

A payload is fields with one space between them: the mark's name, the process's monotonic clock and the wall clock, both
in milliseconds, and what belongs to that kind. A field's other octets are percent-encoded (RFC 3986 section 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote

from mailculator.values import value

FORMAT = 1
"""The version of the format that is written, and the only one that is read."""
REPLY_LIMIT = 500
"""Octets of a relay's reply that are kept; RFC 5321 section 4.5.3.1.5 allows a reply line 512."""

_TEXT_SAFE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_FIELD_SAFE = _TEXT_SAFE.replace(" ", "")


class Kind(StrEnum):
    """What a mark says. SEGMENT stands at the beginning of each file and nowhere else."""

    SEGMENT = "SEGMENT"
    BEGIN = "BEGIN"
    END = "END"
    DOT = "DOT"
    ACCEPTED = "ACC"
    REFUSED = "REJ"


_KINDS = {kind.value.encode("ascii"): kind for kind in Kind}

DURABLE = frozenset({Kind.DOT, Kind.ACCEPTED, Kind.REFUSED})
"""These have to survive the machine, the others only the process."""


@value
class Key:
    """One claim of one email.

    Arguments:
        store: the store's name.
        email_id: the email's id.
        version: the row's version under that claim.
    """

    store: str
    email_id: str
    version: int


def claim_key(store: str, token: str) -> Key:
    """What a claim itself is marked as, before anything else of what it took: its token, and no version."""
    return Key(store, token, 0)


@value
class Reply:
    """What the relay said after the final dot.

    Arguments:
        code: three digits; 2yz took the mail, all others refused it.
        text: masked, at most REPLY_LIMIT octets.
    """

    code: int
    text: str


@value
class Mark:
    """One thing that happened to one email.

    Arguments:
        monotonic: milliseconds on the process's own clock: comparable within one incarnation.
        wall: milliseconds since 1970, UTC: for people and for trimming.
        reply: with ACC and REJ.
    """

    kind: Kind
    key: Key
    monotonic: int
    wall: int
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """How a segment begins.

    Arguments:
        replica: whose it is.
        incarnation: a uuid of each process start, 32 hexadecimal digits.
        software: the version of the service that wrote it.
        monotonic, wall: as in a Mark.
    """

    replica: str
    incarnation: str
    software: str
    monotonic: int
    wall: int


def encode_key(key: Key) -> bytes:
    """The three fields that name a claim, as they stand in every payload."""
    return _name(key).encode("ascii")


def encode(entry: Mark | Opening) -> bytes:
    """The payload of a mark."""
    if isinstance(entry, Opening):
        names = f"{_field(entry.replica)} {_field(entry.incarnation)} {_field(entry.software)}"
        return f"{Kind.SEGMENT} {entry.monotonic} {entry.wall} {FORMAT} {names}".encode("ascii")
    [payload] = encode_marks(entry.kind, [entry.key], monotonic=entry.monotonic, wall=entry.wall, reply=entry.reply)
    return payload


def encode_marks(
    kind: Kind, keys: Sequence[Key], *, monotonic: int, wall: int, reply: Reply | None = None
) -> list[bytes]:
    """The payloads of several marks that differ in their keys alone; arguments as of Mark.

    Half a dozen are made for each email, so nothing is made that is not written.
    """
    head = f"{kind.value} {monotonic} {wall} "
    answer = "" if reply is None else f" {reply.code} {_reply_text(reply.text)}"
    return [f"{head}{_name(key)}{answer}".encode("ascii") for key in keys]


def peek(payload: bytes) -> tuple[Kind, int, int, bytes]:
    """A payload's kind, its monotonic and wall milliseconds, and its key as `encode_key` writes it, the rest unread.

    A scan looks at millions of marks for the sake of a few.

    Errors: ValueError when it is none of ours.
    """
    fields = payload.split(b" ", 6)
    kind = _KINDS.get(fields[0])
    if kind is None or len(fields) < 6:
        raise ValueError("no mark of this format")
    return kind, int(fields[1]), int(fields[2]), b" ".join(fields[3:6])


def decode(payload: bytes) -> Mark | Opening:
    """The mark of a payload. Errors: ValueError when it is none of ours, or of a later format."""
    name, monotonic, wall, *fields = payload.decode("ascii").split(" ", 7)
    kind, at = Kind(name), (int(monotonic), int(wall))
    if kind is Kind.SEGMENT:
        version, replica, incarnation, software = fields
        if version != str(FORMAT):
            raise ValueError(f"written in format {version}; this version reads {FORMAT}")
        return Opening(_text(replica), _text(incarnation), _text(software), *at)
    store, email_id, version, *answer = fields
    key = Key(_text(store), _text(email_id), int(version))
    if kind not in {Kind.ACCEPTED, Kind.REFUSED}:
        if answer:
            raise ValueError("too many fields")
        return Mark(kind, key, *at)
    code, text = answer
    return Mark(kind, key, *at, Reply(int(code), _text(text)))


def _name(key: Key) -> str:
    name = f"{key.store} {key.email_id} {key.version}"
    if _is_plain(name) and name.count(" ") == 2:  # as nearly all are: both are between the fields
        return name
    return f"{_field(key.store)} {_field(key.email_id)} {key.version}"


def _reply_text(text: str) -> str:
    if _is_plain(text):
        return text[:REPLY_LIMIT]  # an octet each
    kept = text.encode("utf-8", "surrogatepass")[:REPLY_LIMIT].decode("utf-8", "ignore")
    return quote(kept, _TEXT_SAFE)


def _field(text: str) -> str:
    # Surrogates pass: an id is whatever a producer stored, and a mark that cannot be made stops its mail for good.
    return quote(text, _FIELD_SAFE, errors="surrogatepass")


def _is_plain(text: str) -> bool:
    """Whether it can stand as it is, spaces included: to ask costs a tenth of what it costs to quote it."""
    return text.isascii() and text.isprintable() and "%" not in text


def _text(field: str) -> str:
    return unquote(field, errors="surrogatepass")
