from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailculator.errors import RelayRefused
from mailculator.transport.outgoing import END, LARGE, LONGEST_LINE, check
from mailculator.transport.streamed import Streamed
from tests.support.streams import Stream

LINES = st.lists(st.sampled_from([b"\r\n", b".", b"x", b".\r\n"]), max_size=30).map(b"".join)


async def wire(stream: Stream) -> bytes:
    """What a relay gets of it."""
    streamed = Streamed(stream)
    octets = b""
    while (piece := await streamed.next_piece()) is not None:
        octets += piece
        assert END not in octets
        assert not octets.startswith(b".\r\n"), "no number of pieces completes a message"
    return octets + END


@given(LINES, st.lists(st.integers(1, 5), min_size=1, max_size=30))
@example(b".\r\n.\r\n..\r\n\r\n.", [1])
@example(b"\r\n.x", [1, 1, 1])
async def test_the_edges_of_pieces_do_not_show(lines: bytes, sizes: list[int]) -> None:
    message = lines + b"\r\n"
    whole = b"".join(check(message).pieces()) + END
    assert await wire(Stream(message, sizes)) == whole


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"x"]), max_size=30).map(b"".join), st.integers(1, 5))
@example(b"a\r\r\n", 2)
@example(b"\n\r\n", 1)
async def test_what_may_not_leave_as_a_whole_may_not_in_pieces(lines: bytes, size: int) -> None:
    message = lines + b"\r\n"
    try:
        whole = b"".join(check(message).pieces()) + END
    except RelayRefused as refusal:
        with pytest.raises(RelayRefused, match=refusal.detail):
            await wire(Stream(message, [size]))
    else:
        assert await wire(Stream(message, [size])) == whole


@pytest.mark.parametrize("size", [1, 7, 997, 998, 999, 1000, 1001, 10_000])
async def test_the_longest_line_leaves_and_a_longer_one_does_not(size: int) -> None:
    fits = b"a\r\n" + b"." * LONGEST_LINE + b"\r\n" + b"b\r\n"
    assert await wire(Stream(fits, [size])) == b"".join(check(fits).pieces()) + END
    with pytest.raises(RelayRefused, match="a line over 998"):
        await wire(Stream(fits.replace(b"b", b"." * (LONGEST_LINE + 1)), [size]))


async def test_a_line_without_an_end_is_found_out_before_it_is_held() -> None:
    streamed = Streamed(Stream(b"x" * 10_000, [1000]))
    await streamed.next_piece()
    with pytest.raises(RelayRefused, match="a line over 998"):
        await streamed.next_piece()


async def test_a_piece_that_is_looked_through_in_a_thread() -> None:
    message = (b"." * 98 + b"\r\n") * (2 * LARGE // 100)
    assert await wire(Stream(message, [LARGE + 1])) == b"".join(check(message).pieces()) + END


@pytest.mark.parametrize(
    ("stream", "detail"),
    [
        (Stream(b"abc\r\n", [2], size=4), "larger than the 4 octets"),
        (Stream(b"abc\r\n", [2], size=6), "has 5 octets, and 6 were announced"),
        (Stream(b"", [1]), "no line end at its end"),
        (Stream(b"abc", [2]), "no line end at its end"),
        (Stream(b"a\r\nb", [2]), "no line end at its end"),
        (Stream(b"a\r\nb\r", [2]), "no line end at its end"),
        (Stream("è\r\n".encode(), [1]), "above 127"),
    ],
)
async def test_what_is_not_as_announced_is_refused(stream: Stream, detail: str) -> None:
    with pytest.raises(RelayRefused, match=detail):
        await wire(stream)


async def test_eight_bit_octets_that_were_announced() -> None:
    message = "è\r\n".encode()
    assert await wire(Stream(message, [1], eight_bit=True)) == message[:-2] + END
