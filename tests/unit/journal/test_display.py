"""A segment as people are shown it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailculator.journal.display import describe
from mailculator.journal.errors import JournalBroken
from mailculator.journal.framing import frame
from mailculator.journal.marks import Kind, Reply
from tests.unit.journal.files import INCARNATION, mark, put

AT = 1_767_355_200_000  # 2026-01-02 12:00 UTC
MARKS = [
    mark(Kind.BEGIN, "a", AT),
    mark(Kind.DOT, "a", AT + 1),
    mark(Kind.ACCEPTED, "a", AT + 1234, Reply(250, "250 ok\x1b")),
    mark(Kind.END, "b c", AT + 2000),
]
LINES = [
    f"2026-01-02T12:00:00.000Z SEGMENT of 'one', incarnation {INCARNATION}, mailculator 1.0",
    "2026-01-02T12:00:00.000Z BEGIN 'mysql' 'a' version 3",
    "2026-01-02T12:00:00.001Z DOT   'mysql' 'a' version 3",
    "2026-01-02T12:00:01.234Z ACC   'mysql' 'a' version 3: 250 '250 ok\\x1b'",
    "2026-01-02T12:00:02.000Z END   'mysql' 'b c' version 3",
]


def test_one_line_a_mark_fit_for_a_terminal(tmp_path: Path) -> None:
    assert list(describe(put(tmp_path, MARKS))) == LINES


def test_a_torn_end_is_told(tmp_path: Path) -> None:
    path = put(tmp_path, MARKS)
    path.write_bytes(path.read_bytes()[:-5])
    *lines, last = describe(path)
    assert lines == LINES[:-1]
    assert last.startswith("the last record is incomplete")


@pytest.mark.parametrize("tail", [b"\0" * 50, frame(b"WHAT 1 2 s a 3"), frame(b"DOT 1 99999999999999999999 s a 3")])
def test_damage_is_told_with_its_place(tmp_path: Path, tail: bytes) -> None:
    path = put(tmp_path, MARKS)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + tail)
    *lines, last = describe(path)
    assert lines == LINES
    assert last.startswith(f"unreadable from octet {size} on: ")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalBroken, match=r"cannot be read: x\.log: No such file"):
        list(describe(tmp_path / "x.log"))
