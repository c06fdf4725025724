from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailculator.errors import RelayRefused
from mailculator.transport.outgoing import END, LONGEST_LINE, PIECE, Outgoing, check, fits_command

LINES = st.lists(st.binary(max_size=1010).map(lambda raw: raw.replace(b"\r", b".").replace(b"\n", b".")), max_size=8)


def wire(outgoing: Outgoing, size: int = PIECE) -> bytes:
    """What a relay gets of it."""
    return b"".join(outgoing.pieces(size)) + END


def received(octets: bytes) -> bytes:
    """What a relay makes of it (RFC 5321 section 4.5.2): up to the dot line, one leading dot less a line."""
    lines = octets.split(b"\r\n")
    last = lines.index(b".")
    assert lines[last + 1 :] == [b""], "something follows the dot line"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:last])


@given(LINES, st.integers(1, 50))
@example([b""], 1)
@example([b".", b"..", b"", b"."], 1)
@example([b".", b"..", b"", b"."], 3)
@example([b"a" * 998, b"." * 998], 1000)
def test_what_is_stuffed_reads_back_as_it_was(lines: list[bytes], size: int) -> None:
    message = b"".join(line + b"\r\n" for line in lines) or b"\r\n"
    if any(len(line) > LONGEST_LINE for line in lines):
        with pytest.raises(RelayRefused):
            check(message)
        return
    outgoing = check(message)
    assert received(wire(outgoing, size)) == message
    assert received(wire(outgoing)) == message


@given(st.lists(st.sampled_from([b"\r\n", b".", b"x"]), max_size=30).map(b"".join), st.integers(1, 8))
def test_the_edges_of_pieces_do_not_show(message: bytes, size: int) -> None:
    outgoing = check(message)
    assert wire(outgoing, size) == wire(outgoing)
    assert received(wire(outgoing, size)) == outgoing.content


@given(st.lists(st.sampled_from([b"\r\n", b".", b"x"]), max_size=30).map(b"".join), st.integers(1, 8))
def test_no_number_of_pieces_completes_a_message(message: bytes, size: int) -> None:
    sent = b""
    for piece in check(message).pieces(size):
        sent += piece
        assert not sent.startswith(b".\r\n")
        assert END not in sent


def test_a_message_without_its_last_line_end_gets_one() -> None:
    assert check(b"x").content == b"x\r\n"
    assert check(b"").content == b"\r\n"


@given(st.binary(max_size=60).map(lambda raw: re.sub(rb"[^\r\n.]", b".", raw)))
@example(b"\r\n.\n")
@example(b"\r\r\n")
def test_no_bare_cr_or_lf_leaves(message: bytes) -> None:
    try:
        octets = wire(check(message))
    except RelayRefused:
        assert re.search(rb"(?<!\r)\n|\r(?!\n)", message + b"\r\n")
    else:
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)
        assert octets.count(END) == 1


@pytest.mark.parametrize("at", [0, 1, 2, PIECE - 3, PIECE - 2, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 3])
@pytest.mark.parametrize("bad", [b"\n", b"\r", b"\r\r\n", b"\n\r"])
def test_no_bare_cr_or_lf_hides_at_the_edge_of_what_is_looked_at_together(at: int, bad: bytes) -> None:
    lines = (b"x" * 98 + b"\r\n") * (3 * PIECE // 100 + 1)
    at -= at % 100 > 97  # not into a CRLF, which it might complete
    with pytest.raises(RelayRefused, match="bare CR or LF"):
        check(lines[:at] + bad + lines[at:])


@pytest.mark.parametrize("length", [LONGEST_LINE + 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("before", [0, 100, PIECE])
def test_a_long_line_is_found_wherever_it_stands(length: int, before: int) -> None:
    lines = (b"x" * 98 + b"\r\n") * (before // 100)
    with pytest.raises(RelayRefused, match="a line over"):
        check(lines + b"y" * length + b"\r\n" + lines)


def test_a_piece_is_as_large_as_it_says() -> None:
    outgoing = check((b"x" * 98 + b"\r\n") * 2000)
    pieces = list(outgoing.pieces())
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, PIECE, 200_000 - 2 - 3 * PIECE]


def test_size_counts_neither_stuffing_nor_dot() -> None:
    outgoing = check(b".a\r\n.b\r\n")
    assert (wire(outgoing), outgoing.size, outgoing.eight_bit) == (b"..a\r\n..b\r\n.\r\n", 8, False)
    assert check("è\r\n".encode()).eight_bit


@pytest.mark.parametrize("address", ["a@b.com", "", "o'brien+x@b.com", "ü@b.com", '"a b>"@c.com', r'"a\"b"@c.com'])
def test_addresses_a_command_can_carry(address: str) -> None:
    assert fits_command(address)


@pytest.mark.parametrize(
    "address",
    ["a b@c", "a>b@c", "<a@b", "a@b\r\nDATA", 'a"b c"@d', '"a"b c@d', '"a\r\n"@b', "a\x7f@b", "a\u2028b@c", '"a@b'],
)
def test_addresses_no_command_can_carry(address: str) -> None:
    assert not fits_command(address)
