from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailculator.transport.smtp_replies import LARGEST_REPLY, LONGEST_LINE, Reply, ReplyError, ReplyReader


def read(*pieces: bytes) -> list[Reply]:
    """Every reply there is; a failure shows what was read before it."""
    reader = ReplyReader()
    found: list[Reply] = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.take()) is not None:
            found.append(reply)
    return found


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        (b"250 ok\r\n", 250, "ok"),
        (b"250-a\r\n250-b\r\n250 c\r\n", 250, "a\nb\nc"),
        (b"354\r\n", 354, ""),
        (b"250-a\r\n250\r\n", 250, "a\n"),
        (b"220 \r\n", 220, ""),
        (b"571 5.7.1 no such code in any RFC\r\n", 571, "5.7.1 no such code in any RFC"),
        (b"250 bare\n", 250, "bare"),
        (b"250-a\n250 b\r\n", 250, "a\nb"),
        (b"250 a\rb\r\n", 250, "a\rb"),
        (b"550 5.1.1 \xff\xfe\r\n", 550, "5.1.1 \udcff\udcfe"),
        (b"250 " + b"x" * (LONGEST_LINE - 6) + b"\r\n", 250, "x" * (LONGEST_LINE - 6)),
    ],
)
def test_a_reply(said: bytes, code: int, text: str) -> None:
    for pieces in ([said], [bytes([octet]) for octet in said]):
        [reply] = read(*pieces)
        assert (reply.code, reply.text) == (code, text)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"junk\r\n", "junk"),
        (b"\r\n", "an empty line"),
        (b"25 ok\r\n", "25 ok"),
        (b"2500 ok\r\n", "2500 ok"),
        (b"250_ok\r\n", "250_ok"),
        (b"199 no\r\n", "199 no"),
        (b"600 no\r\n", "600 no"),
        (b"-25 no\r\n", "-25 no"),
        (b"\xb2\xb5\xb0 no\r\n", ""),
        ("٢٥٠ no\r\n".encode(), "٢٥٠ no"),
        (b" 250 ok\r\n", " 250 ok"),
        (b"250-a\r\n251 b\r\n", "its lines bear different codes: 251 b"),
        (b"250-a\r\njunk\r\n", "junk"),
        (b"250 " + b"x" * (LONGEST_LINE - 5) + b"\r\n", "reply too long"),
        (b"x" * (LONGEST_LINE + 1), "reply too long"),
        (b"250-x\r\n" * (LARGEST_REPLY // 7 + 1), "reply too long"),
    ],
)
def test_what_is_no_reply(said: bytes, words: str) -> None:
    for pieces in ([said], [bytes([octet]) for octet in said]):
        with pytest.raises(ReplyError) as caught:
            read(*pieces)
        assert words in str(caught.value)
        assert len(str(caught.value)) < 300


def test_a_reply_before_junk_is_read() -> None:
    reader = ReplyReader()
    reader.feed(b"250 ok\r\njunk\r\n")
    assert reader.take() == Reply(250, ("250 ok",))
    assert not reader.silent
    with pytest.raises(ReplyError):
        reader.take()


def test_a_reply_before_a_flood_is_read() -> None:
    reader = ReplyReader()
    assert not reader.feed(b"250 ok\r\n" + b"x" * 10_000_000)
    assert reader.take() == Reply(250, ("250 ok",))
    with pytest.raises(ReplyError, match="too long"):
        reader.take()


def test_what_is_kept_unread_is_bounded() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250 ok\r\n" * (LARGEST_REPLY // 8))
    for _ in range(1000):
        assert not reader.feed(b"250 ok\r\n" * 1000)
    assert len(reader._received) == LARGEST_REPLY


def test_the_parts_of_a_reply_are_no_silence() -> None:
    reader = ReplyReader()
    assert reader.silent
    for octets in (b"2", b"50-a", b"\r\n"):
        reader.feed(octets)
        assert reader.take() is None
        assert not reader.silent
    reader.feed(b"250 b\r\n")
    assert reader.take() is not None
    assert reader.silent


def test_a_reply_octet_by_octet_takes_time_in_proportion_to_its_length() -> None:
    # Quadratic, this would take minutes; the suite's own timeout is the limit.
    said = b"250-" + b"x" * 2000 + b"\r\n"
    assert read(*(bytes([octet]) for octet in said * 31 + b"250 y\r\n"))[0].text.endswith("y")


TEXTS = st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), min_size=1, max_size=4)


@given(st.lists(st.tuples(st.integers(200, 599), TEXTS), max_size=5), st.data())
def test_replies_are_read_the_same_however_they_come(replies: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    said = b"".join(
        b"".join(f"{code}{' ' if at == len(texts) else '-'}{text}\r\n".encode() for at, text in enumerate(texts, 1))
        for code, texts in replies
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    pieces = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    found = read(*pieces)
    assert [(reply.code, [line[4:] for line in reply.lines]) for reply in found] == replies


@given(st.binary(max_size=200))
@example(b"250-a\r\n250 b\r\n\n")
def test_no_octets_do_worse_than_a_reply_error(said: bytes) -> None:
    try:
        found = read(said)
    except ReplyError:
        return
    assert all(200 <= reply.code <= 599 for reply in found)
