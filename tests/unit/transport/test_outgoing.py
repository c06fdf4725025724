from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailculator.errors import RelayRefused
from mailculator.transport.outgoing import LONGEST_LINE, fits_command, stuff

LINES = st.lists(st.binary(max_size=1010).map(lambda raw: raw.replace(b"\r", b".").replace(b"\n", b".")), max_size=8)


@given(LINES)
@example([b""])
@example([b".", b"..", b"", b"."])
@example([b"a" * 998, b"." * 998])
def test_what_is_stuffed_reads_back_as_it_was(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines) or b"\r\n"
    if any(len(line) > LONGEST_LINE for line in lines):
        with pytest.raises(RelayRefused):
            stuff(message)
        return
    wire = stuff(message).wire
    assert wire.endswith(b"\r\n.\r\n")
    received = wire[:-3].split(b"\r\n")[:-1]
    assert b"." not in received
    assert b"".join(line.removeprefix(b".") + b"\r\n" for line in received) == message


@given(st.binary(max_size=60).map(lambda raw: re.sub(rb"[^\r\n.]", b".", raw)))
@example(b"\r\n.\n")
@example(b"\r\r\n")
def test_no_bare_cr_or_lf_leaves(message: bytes) -> None:
    try:
        wire = stuff(message).wire
    except RelayRefused:
        assert re.search(rb"(?<!\r)\n|\r(?!\n)", message + b"\r\n")
    else:
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", wire)
        assert wire.count(b"\r\n.\r\n") + wire.startswith(b".\r\n") == 1


def test_size_counts_neither_stuffing_nor_dot() -> None:
    outgoing = stuff(b".a\r\n.b\r\n")
    assert (outgoing.wire, outgoing.size, outgoing.eight_bit) == (b"..a\r\n..b\r\n.\r\n", 8, False)
    assert stuff("è\r\n".encode()).eight_bit


@pytest.mark.parametrize("address", ["a@b.com", "", "o'brien+x@b.com", "ü@b.com", '"a b>"@c.com', r'"a\"b"@c.com'])
def test_addresses_a_command_can_carry(address: str) -> None:
    assert fits_command(address)


@pytest.mark.parametrize(
    "address",
    ["a b@c", "a>b@c", "<a@b", "a@b\r\nDATA", 'a"b c"@d', '"a"b c@d', '"a\r\n"@b', "a\x7f@b", "a\u2028b@c", '"a@b'],
)
def test_addresses_no_command_can_carry(address: str) -> None:
    assert not fits_command(address)
