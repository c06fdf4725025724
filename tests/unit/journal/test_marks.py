"""What a mark says survives its payload, whatever characters it is made of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator.journal.framing import frame
from mailculator.journal.marks import Key, Kind, Mark, Opening, Reply, decode, encode, encode_key, peek

TEXT = st.text(st.characters())  # surrogates too
NUMBER = st.integers(0, 2**53)
KEYS = st.builds(Key, TEXT, TEXT, NUMBER)
PLAIN = st.sampled_from([Kind.BEGIN, Kind.END, Kind.DOT])
REPLIES = st.builds(Reply, st.integers(200, 599), st.text(max_size=100))
MARKS = st.builds(Mark, PLAIN, KEYS, NUMBER, NUMBER) | st.builds(
    Mark, st.sampled_from([Kind.ACCEPTED, Kind.REFUSED]), KEYS, NUMBER, NUMBER, REPLIES
)
OPENINGS = st.builds(Opening, TEXT, TEXT, TEXT, NUMBER, NUMBER)


@given(entry=MARKS | OPENINGS)
@settings(max_examples=400, deadline=None)
def test_what_is_encoded_is_decoded_and_is_one_line_of_printable_ascii(entry: Mark | Opening) -> None:
    payload = encode(entry)
    assert re.fullmatch(rb"[ -~]+", payload)
    assert decode(payload) == entry
    kind, monotonic, wall, name = peek(payload)
    assert (monotonic, wall) == (entry.monotonic, entry.wall)
    if isinstance(entry, Mark):
        assert (kind, name) == (entry.kind, encode_key(entry.key))


@given(one=KEYS, other=KEYS)
@settings(max_examples=200, deadline=None)
def test_two_claims_never_have_one_name(one: Key, other: Key) -> None:
    assert (encode_key(one) == encode_key(other)) is (one == other)


def test_marks_are_written_as_the_documentation_shows_them() -> None:
    key = Key("mysql", "5f0c", 4)
    assert encode(Mark(Kind.DOT, key, 81234, 1763654400123)) == b"DOT 81234 1763654400123 mysql 5f0c 4"
    accepted = Mark(Kind.ACCEPTED, key, 1, 2, Reply(250, "250 2.0.0 Ok: 100%\n"))
    assert encode(accepted) == b"ACC 1 2 mysql 5f0c 4 250 250 2.0.0 Ok: 100%25%0A"
    opening = Opening("web 1", "ab" * 16, "1.2.0", 1, 2)
    assert encode(opening) == b"SEGMENT 1 2 1 web%201 abababababababababababababababab 1.2.0"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (Key("my sql", "5f0c", 4), b"my%20sql 5f0c 4"),
        (Key("mysql", "5f 0c", 4), b"mysql 5f%200c 4"),
        (Key("a b", "", 4), b"a%20b  4"),
        (Key("50%", "5f0c", 4), b"50%25 5f0c 4"),
        (Key("mysql", "5f\n0c", 4), b"mysql 5f%0A0c 4"),
        (Key("mysql", "è", 4), b"mysql %C3%A8 4"),
    ],
)
def test_what_would_end_a_field_is_quoted(key: Key, name: bytes) -> None:
    assert encode_key(key) == name


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_a_long_reply_is_cut_at_500_octets_between_two_characters(character: str) -> None:
    entry = decode(encode(Mark(Kind.ACCEPTED, Key("s", "a", 1), 1, 2, Reply(250, character * 600))))
    assert isinstance(entry, Mark)
    assert entry.reply is not None
    width = len(character.encode())
    assert entry.reply.text == character * (500 // width)


def test_a_long_id_is_marked_and_an_absurd_one_is_an_error_at_once() -> None:
    frame(encode(Mark(Kind.REFUSED, Key("s", "é" * 2048, 1), 1, 2, Reply(550, "é" * 600))))
    with pytest.raises(ValueError, match="a record holds"):
        frame(encode(Mark(Kind.DOT, Key("s", "x" * 70_000, 1), 1, 2)))


@pytest.mark.parametrize(
    "payload",
    [
        b"WHAT 1 2 s a 3",
        b"DOT 1 2 s a",
        b"DOT 1 2 s a 3 4",
        b"DOT x 2 s a 3",
        b"DOT 1 2 s a x",
        b"DOT 1 2 s %FF 3",
        b"ACC 1 2 s a 3",
        b"ACC 1 2 s a 3 250",
        b"SEGMENT 1 2 2 r i 1.0",
        b"SEGMENT 1 2 1 r i",
        b"",
    ],
)
def test_what_is_no_mark_of_this_format_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # of several kinds; each means the same
        decode(payload)
