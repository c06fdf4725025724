"""A message in pieces is the message: the same octets, as many as were told, with little in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailculator import message, message_stream
from mailculator.errors import PayloadError
from mailculator.message import Attachment
from mailculator.message_stream import PIECE, AttachmentFile, MessageStream
from mailculator.payload import AttachmentRef, Payload
from mailculator.pipelines import files
from tests.support.payloads import EMAIL_ID, payloads, read_attachments, sample
from tests.unit.test_message_properties import CASES, Case

DATE = datetime(2026, 11, 20, 8, 30, 5, tzinfo=UTC)
PLENTY = 100_000_000


def in_memory(attachment: Attachment) -> AttachmentFile:
    def read() -> Generator[bytes, None, None]:
        for start in range(0, len(attachment.content), PIECE):
            yield attachment.content[start : start + PIECE]

    try:
        is_utf8 = attachment.content.decode() is not None
    except UnicodeDecodeError:
        is_utf8 = False
    return AttachmentFile(attachment.name, len(attachment.content), is_utf8, read)


def streamed(payload: Payload, *attachments: AttachmentFile) -> MessageStream:
    return message_stream.stream(
        payload, email_id=EMAIL_ID, domain="mail.example.com", date=DATE, attachments=attachments
    )


def rendered(payload: Payload, *attachments: Attachment) -> bytes:
    return message.render(payload, email_id=EMAIL_ID, domain="mail.example.com", date=DATE, attachments=attachments)


def naming(directory: Path, **contents: bytes) -> Payload:
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return sample(attachments=tuple(AttachmentRef(f"/{name}", f"{name}.txt") for name in contents))


@CASES
@given(payloads())
def test_the_pieces_are_the_rendered_message(case: Case) -> None:
    stream = streamed(case[0], *map(in_memory, case[1]))
    whole = rendered(case[0], *case[1])
    assert b"".join(stream) == whole
    assert stream.size == len(whole)
    assert b"".join(stream) == whole  # a second try


@given(st.integers(-60, 60).map((2 * PIECE).__add__) | st.integers(0, 300))
def test_base64_is_as_long_as_it_was_said_to_be(size: int) -> None:
    assert len(message.base64_lines(b"x" * size)) == message.base64_size(size)


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 58])
@pytest.mark.parametrize("octets", [b"a", "\u00e8".encode(), b"\xff"], ids=["ascii", "utf-8", "neither"])
def test_files_give_what_they_give_when_read_whole(tmp_path: Path, size: int, octets: bytes) -> None:
    mail = naming(tmp_path, first=(octets * size)[:size], second=b"%PDF")
    stream = streamed(mail, *files.open_attachments(mail, tmp_path, PLENTY))
    whole = rendered(mail, *read_attachments(mail, tmp_path, PLENTY))
    assert b"".join(stream) == whole
    assert stream.size == len(whole)


def test_a_character_across_two_pieces_is_one(tmp_path: Path) -> None:
    mail = naming(tmp_path, text=b"a" * (PIECE - 1) + "\u00e8".encode())
    assert files.open_attachments(mail, tmp_path, PLENTY)[0].is_utf8


def test_without_attachments_there_is_one_piece() -> None:
    assert list(streamed(sample())) == [rendered(sample())]
    assert files.open_attachments(sample(), None, PLENTY) == ()


@pytest.mark.parametrize("size", [0, 10, PIECE, PIECE + 10])
@pytest.mark.parametrize("change", [-1, 1])
def test_bad_input_37_grown_or_shrunk_before_it_leaves(tmp_path: Path, size: int, change: int) -> None:
    mail = naming(tmp_path, file=b"a" * size)
    stream = streamed(mail, *files.open_attachments(mail, tmp_path, PLENTY))
    (tmp_path / "file").write_bytes(b"a" * (size + change if size + change >= 0 else 1))
    with pytest.raises(PayloadError, match=r"^attachment_changed: "):
        list(stream)


def test_bad_input_37_shrunk_while_it_leaves(tmp_path: Path) -> None:
    mail = naming(tmp_path, file=b"a" * 3 * PIECE)
    with closing(iter(streamed(mail, *files.open_attachments(mail, tmp_path, PLENTY)))) as pieces:
        next(pieces)
        next(pieces)
        with (tmp_path / "file").open("r+b") as file:
            file.truncate(2 * PIECE)
        with pytest.raises(PayloadError, match=r"^attachment_changed: "):
            list(pieces)


def test_bad_input_36_a_link_that_takes_the_files_place_is_not_followed(tmp_path: Path) -> None:
    mail = naming(tmp_path, file=b"a", secret=b"a")
    stream = streamed(mail, *files.open_attachments(mail, tmp_path, PLENTY))
    (tmp_path / "file").unlink()
    (tmp_path / "file").symlink_to(tmp_path / "secret")
    with pytest.raises(PayloadError, match=r"^attachment_not_regular: "):
        list(stream)


def test_bad_input_38_too_large_is_seen_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(PayloadError, match=r"^size: "):
        files.open_attachments(naming(tmp_path, file=b"a" * 1000), tmp_path, 500)


def test_an_attachment_of_10_mb_needs_one_of_memory(tmp_path: Path) -> None:
    mail = naming(tmp_path, file=b"a" * 10_000_000)
    tracemalloc.start()
    try:
        assert sum(map(len, streamed(mail, *files.open_attachments(mail, tmp_path, PLENTY)))) > 13_000_000
        assert tracemalloc.get_traced_memory()[1] < 1_300_000
    finally:
        tracemalloc.stop()
