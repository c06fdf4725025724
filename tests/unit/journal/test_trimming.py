"""What nobody will ask about is deleted; what somebody may still write to, or did not make here, is not."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailculator.journal.marks import Kind, Mark
from mailculator.journal.trimming import trim
from mailculator.journal.writer import Journal
from tests.unit.journal.files import OTHER, SECOND, mark, put

RETENTION = 1000.0
NOW = 10_000.0
OLD = NOW - RETENTION - 1
YOUNG = NOW - RETENTION + 1


def marks_until(at: float) -> list[Mark]:
    return [mark(Kind.BEGIN, "a", 1), mark(Kind.DOT, "a", int(at * SECOND))]


def old(journal: Path, replica: str = "one", number: int = 1) -> Path:
    return put(journal, marks_until(OLD), replica=replica, number=number, modified=OLD)


@pytest.fixture
def present(tmp_path: Path) -> Path:
    """Somebody's segment of this moment: the newest of all says how late it is."""
    return put(tmp_path, marks_until(NOW), replica="present", modified=NOW)


def files(journal: Path) -> set[str]:
    return {str(path.relative_to(journal)) for path in journal.rglob("*")}


def test_old_segments_of_every_replica_go_and_directories_left_empty(tmp_path: Path, present: Path) -> None:
    for replica in ("one", "two", "a/b", "é" * 100):
        old(tmp_path, replica, 1)
        old(tmp_path, replica, 2)
    (tmp_path / "empty").mkdir()
    assert trim(tmp_path, RETENTION, NOW, None) == 8
    assert files(tmp_path) == {"present", str(present.relative_to(tmp_path))}


def test_a_segment_goes_by_its_last_mark_and_by_when_it_was_last_written(tmp_path: Path, present: Path) -> None:
    stays = [
        put(tmp_path, marks_until(YOUNG), replica="by mark", modified=OLD),
        put(tmp_path, marks_until(OLD), replica="by file", modified=YOUNG),
    ]
    assert trim(tmp_path, RETENTION, NOW, None) == 0
    assert all(path.exists() for path in stays)


def test_the_last_mark_of_a_large_segment_is_found(tmp_path: Path, present: Path) -> None:
    many = [mark(Kind.BEGIN, number, 1) for number in range(9000)]
    stays = put(tmp_path, [*many, *marks_until(YOUNG)], modified=OLD)
    goes = put(tmp_path, [*many, *marks_until(OLD)], replica="two", modified=OLD)
    assert goes.stat().st_size > 300_000
    assert trim(tmp_path, RETENTION, NOW, None) == 1
    assert stays.exists()


def test_a_segment_without_a_readable_mark_goes_by_its_file(tmp_path: Path, present: Path) -> None:
    for number, octets in enumerate((b"", b"\0" * 100, b"damage\n")):
        path = put(tmp_path, [], replica=str(number))
        path.write_bytes(octets)
        os.utime(path, (OLD, OLD))
    assert trim(tmp_path, RETENTION, NOW, None) == 3


def test_ones_own_open_segment_and_its_directory_stay(tmp_path: Path, present: Path) -> None:
    kept = old(tmp_path)
    assert trim(tmp_path, RETENTION, NOW, kept) == 0
    assert kept.exists()


def test_an_incarnation_is_trimmed_from_its_beginning_without_a_gap(tmp_path: Path, present: Path) -> None:
    old(tmp_path, number=1)
    stays = [put(tmp_path, marks_until(YOUNG), number=2, modified=YOUNG), old(tmp_path, number=3)]
    other = put(tmp_path, marks_until(OLD), incarnation=OTHER, modified=OLD)
    assert trim(tmp_path, RETENTION, NOW, None) == 2
    assert all(path.exists() for path in stays)
    assert not other.exists()


def test_a_clock_that_runs_ahead_deletes_nothing_of_the_others(tmp_path: Path, present: Path) -> None:
    stays = put(tmp_path, marks_until(YOUNG), modified=YOUNG)
    assert trim(tmp_path, RETENTION, NOW + 1e9, None) == 0
    assert stays.exists()


def test_what_it_does_not_recognise_stays(tmp_path: Path, present: Path) -> None:
    segment = old(tmp_path)
    for name in ("notes.txt", f"{segment.name}.bak", segment.name.replace("000001", "1"), segment.name.upper()):
        (segment.parent / name).write_text("mine")
        os.utime(segment.parent / name, (OLD, OLD))
    (segment.parent / segment.name.replace("000001", "000002")).symlink_to("notes.txt")
    for directory in ("lost+found", ".hidden", "%zz"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / segment.name).write_text("mine")
        os.utime(tmp_path / directory / segment.name, (OLD, OLD))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("lost+found")
    before = files(tmp_path)
    assert trim(tmp_path, RETENTION, NOW, None) == 1
    assert before - files(tmp_path) == {str(segment.relative_to(tmp_path))}


def test_a_segment_that_cannot_be_deleted_is_left_for_the_next_time(
    tmp_path: Path, present: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = old(tmp_path, number=1), old(tmp_path, number=2)
    other = old(tmp_path, "two")
    unlink = Path.unlink

    def refuse(path: Path) -> None:
        if path == first:
            raise PermissionError(13, "no")
        unlink(path)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert trim(tmp_path, RETENTION, NOW, None) == 1
    assert (first.exists(), second.exists(), other.exists()) == (True, True, False)


def test_a_journal_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        trim(tmp_path / "gone", RETENTION, NOW, None)


async def test_an_open_journal_trims_with_its_own_retention_and_keeps_what_it_writes(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    journal = Journal(tmp_path, "one", retention=RETENTION, wall=lambda: now)
    await journal.open()
    long_ago = now.timestamp() - RETENTION - 1
    put(tmp_path, marks_until(long_ago), replica="two", modified=long_ago)
    before = set((tmp_path / "one").iterdir())
    assert await journal.trim() == 1
    assert set(tmp_path.iterdir()) == {tmp_path / "one"}
    assert set((tmp_path / "one").iterdir()) == before
    await journal.close()
