"""The page that operators read the files by is right about them."""

from __future__ import annotations

import io
from pathlib import Path

from mailculator.journal.framing import Records
from mailculator.journal.marks import REPLY_LIMIT, Kind, Mark, Opening, Reply, decode
from mailculator.journal.writer import RETENTION, RETRY_EVERY, SEGMENT_BYTES

PAGE = (Path(__file__).parents[3] / "docs" / "journal.md").read_text(encoding="utf-8")


def test_the_example_is_a_sound_segment() -> None:
    example = PAGE.partition("```text\n")[2].partition("```")[0]
    records = Records(io.BytesIO(example.encode()))
    opening, *marks = map(decode, records)
    assert (records.torn, records.damage) == (False, None)
    assert isinstance(opening, Opening)
    assert opening.replica == "web-1"
    assert [mark.kind for mark in marks if isinstance(mark, Mark)] == [
        Kind.BEGIN,
        Kind.DOT,
        Kind.BEGIN,
        Kind.ACCEPTED,
        Kind.END,
    ]
    assert [mark.reply for mark in marks if isinstance(mark, Mark) and mark.reply] == [
        Reply(250, "250 2.0.0 Ok: queued as 4F1A")
    ]


def test_its_figures_are_those_of_the_code() -> None:
    for figure in (
        f"{SEGMENT_BYTES >> 20} MB",
        f"{RETENTION / 86400:.0f} days",
        f"rested for {RETENTION / 2 / 86400:.0f} days",
    ):
        assert figure in PAGE
    assert f"Every {RETRY_EVERY:.0f} s" in PAGE
    assert f"first {REPLY_LIMIT} octets" in PAGE


def test_every_mark_is_explained() -> None:
    assert all(f"`{kind}`" in PAGE for kind in Kind)
