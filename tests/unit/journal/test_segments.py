"""Nothing that was acknowledged is lost, whatever fails and wherever the process or the power ends."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator.journal.framing import frame
from mailculator.journal.layout import segments
from mailculator.journal.marks import DURABLE, Key, Kind, Mark, Reply, encode
from mailculator.journal.reader import find_traces
from mailculator.journal.segments import Segments
from mailculator.journal.traces import Trace
from tests.support.clock import FakeClock
from tests.unit.journal.fake_disk import FakeDisk, PowerLoss

ROOT = Path("/share")
INCARNATION = "0123456789abcdef" * 2
REPLY = Reply(250, "250 ok")
IDLE = 1000.0


def open_segments(disk: FakeDisk, *, size_limit: int = 1 << 20, clock: FakeClock | None = None) -> Segments:
    return Segments(
        ROOT / "journal",
        "one",
        incarnation=INCARNATION,
        software="1.0",
        size_limit=size_limit,
        idle_limit=IDLE,
        disk=disk,
        clock=clock or FakeClock(),
        wall=lambda: datetime(2026, 1, 2, tzinfo=UTC),
    )


def record(kind: Kind, key: Key) -> bytes:
    return frame(encode(Mark(kind, key, 1, 2, REPLY if kind is Kind.ACCEPTED else None)))


def has(trace: Trace, kind: Kind) -> bool:
    match kind:
        case Kind.BEGIN:
            return trace.begun
        case Kind.DOT:
            return trace.dot
        case Kind.ACCEPTED:
            return trace.reply == REPLY
    return trace.ended


def found(disk: FakeDisk, keys: Iterable[Key], *, powerless: bool, kept: float = 0.0) -> dict[Key, Trace]:
    with tempfile.TemporaryDirectory() as directory:
        disk.leave(Path(directory), powerless=powerless, kept=kept)
        return dict(find_traces(Path(directory), "one", frozenset(keys)))


KINDS = [Kind.BEGIN, Kind.DOT, Kind.ACCEPTED, Kind.END]
GROUPS = st.lists(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), min_size=1, max_size=8)


@given(
    groups=GROUPS,
    failures=st.dictionaries(st.integers(0, 60), st.sampled_from([errno.EIO, errno.ENOSPC, errno.ENOENT]), max_size=6),
    power_fails_at=st.integers(-1, 60),
    bite=st.sampled_from([1, 7, 40, 1 << 20]),
    size_limit=st.sampled_from([100, 300, 1 << 20]),
    kept=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
@settings(max_examples=300, deadline=None)
def test_what_was_acknowledged_is_found_and_nothing_else(
    groups: list[list[Kind]], failures: dict[int, int], power_fails_at: int, bite: int, size_limit: int, kept: float
) -> None:
    disk = FakeDisk(ROOT, bite=bite)
    disk.failures, disk.power_fails_at = failures, power_fails_at
    journal = open_segments(disk, size_limit=size_limit)
    asked: set[tuple[Key, Kind]] = set()
    acknowledged: set[tuple[Key, Kind]] = set()
    with suppress(PowerLoss):
        for number, kinds in enumerate(groups):
            marks = [(Key("s", f"{number}-{index}", 1), kind) for index, kind in enumerate(kinds)]
            if journal.path is None:
                with suppress(OSError):
                    journal.start()
            asked.update(marks)
            with suppress(OSError):
                records = b"".join(record(kind, key) for key, kind in marks)
                journal.write(records, durable=any(kind in DURABLE for kind in kinds))
                acknowledged.update(marks)

    keys = [key for key, _ in asked]
    after_kill = found(disk, keys, powerless=False)
    after_power_loss = found(disk, keys, powerless=True, kept=kept)
    for key, kind in acknowledged:
        assert has(after_kill[key], kind)
        if kind in DURABLE:
            assert has(after_power_loss[key], kind)
    for traces in (after_kill, after_power_loss):
        for key in keys:
            assert {kind for kind in KINDS if has(traces[key], kind)} <= {kind for one, kind in asked if one == key}
    if acknowledged and not failures:
        assert not any(trace.unreadable for trace in after_kill.values())
    assert not disk.synced_after_failure


def test_the_first_segment_and_its_name_are_durable_before_it_is_used() -> None:
    disk = FakeDisk(ROOT)
    open_segments(disk).start()
    first_of_all = ["make_directory", "sync_directory", "make_directory"]  # the journal, its name, the replica's
    assert disk.calls == [*first_of_all, "create", "write", "datasync", "sync_directory", "sync_directory"]


def test_a_mark_that_need_not_survive_the_machine_costs_no_sync() -> None:
    disk = FakeDisk(ROOT)
    journal = open_segments(disk)
    journal.start()
    del disk.calls[:]
    journal.write(record(Kind.BEGIN, Key("s", "a", 1)), durable=False)
    assert disk.calls == ["write"]


@pytest.mark.parametrize("operation", ["write", "datasync"])
def test_a_segment_that_failed_is_closed_and_never_touched_again(operation: str) -> None:
    disk = FakeDisk(ROOT)
    journal = open_segments(disk)
    journal.start()
    journal.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    disk.failing = {operation: errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        journal.write(record(Kind.DOT, Key("s", "b", 1)), durable=True)
    disk.failing = {}
    del disk.calls[:]
    for _ in range(2):
        with pytest.raises(OSError, match="no segment is open"):
            journal.write(record(Kind.DOT, Key("s", "b", 1)), durable=True)
    assert disk.calls == []
    journal.start()
    journal.write(record(Kind.DOT, Key("s", "c", 1)), durable=True)
    traces = found(disk, [Key("s", name, 1) for name in "ac"], powerless=True)
    assert all(trace.dot and not trace.unreadable for trace in traces.values())


def test_a_torn_record_does_not_hide_the_marks_before_it_nor_those_of_the_next_segment() -> None:
    disk = FakeDisk(ROOT)
    journal = open_segments(disk)
    journal.start()
    journal.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    disk.bite = 10
    disk.failures = {len(disk.calls) + 2: errno.ENOSPC}
    with pytest.raises(OSError, match="No space"):
        journal.write(record(Kind.DOT, Key("s", "b", 1)), durable=True)
    for failing in ("create", "write", "sync_directory"):  # no try may leave a number out: that would be a loss
        disk.failures, disk.failing = {}, {failing: errno.EIO}
        with pytest.raises(OSError, match="Input/output"):
            journal.start()
    disk.failing = {}
    journal.start()
    journal.write(record(Kind.DOT, Key("s", "c", 1)), durable=True)
    traces = found(disk, [Key("s", name, 1) for name in "abc"], powerless=False)
    assert [trace.dot for trace in traces.values()].count(True) == 2
    assert not traces[Key("s", "b", 1)].dot
    assert not any(trace.unreadable for trace in traces.values())


def test_tries_on_a_full_disk_leave_no_files(tmp_path: Path) -> None:
    disk = FakeDisk(ROOT)
    journal = open_segments(disk)
    for failing in ("write", "datasync", "sync_directory", "create"):
        disk.failing = {failing: errno.ENOSPC}
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                journal.start()
    disk.failing = {}
    journal.start()
    disk.failing = {"write": errno.ENOSPC}
    with pytest.raises(OSError, match="No space"):
        journal.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    disk.leave(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_made_by_an_open_that_failed_is_stepped_over(tmp_path: Path) -> None:
    disk = FakeDisk(ROOT)
    journal = open_segments(disk)
    disk.failing = {"write": errno.EIO, "remove": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        journal.start()
    disk.failing = {}
    again = open_segments(disk)  # counts from one, as after an open that failed
    again.start()
    again.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    disk.leave(tmp_path)
    assert [one.number for one in segments(tmp_path / "one")[INCARNATION]] == [1, 2]
    trace = found(disk, [Key("s", "a", 1)], powerless=True)[Key("s", "a", 1)]
    assert trace.dot
    assert not trace.unreadable


def test_a_disk_that_takes_nothing_is_an_error_not_a_loop() -> None:
    disk = FakeDisk(ROOT, bite=0)
    with pytest.raises(OSError, match="the disk took nothing"):
        open_segments(disk).start()


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    disk = FakeDisk(ROOT)
    one = record(Kind.DOT, Key("s", "a", 1))
    journal = open_segments(disk, size_limit=500)
    journal.start()
    for _ in range(30):
        journal.write(one, durable=True)
    journal.write(one * 50, durable=True)
    journal.write(one, durable=True)
    disk.leave(tmp_path)
    sizes = [segment.path.stat().st_size for segment in segments(tmp_path / "one")[INCARNATION]]
    assert len(sizes) > 4
    assert all(size <= 500 for size in sizes[:-2])
    assert sizes[-2] > 50 * len(one)


async def test_a_segment_that_rested_long_is_not_taken_up_again() -> None:
    disk, clock = FakeDisk(ROOT), FakeClock()
    journal = open_segments(disk, clock=clock)
    journal.start()
    first = journal.path
    for pause in (IDLE, IDLE):  # counted from the last mark, not from the first
        await clock.advance(pause)
        journal.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    assert journal.path == first
    await clock.advance(IDLE + 1)
    journal.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    assert journal.path != first


def test_the_journals_own_name_is_made_durable_until_that_succeeds() -> None:
    disk = FakeDisk(ROOT)
    journal = open_segments(disk)
    disk.failures = {1: errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        journal.start()
    journal.start()
    journal.write(record(Kind.DOT, Key("s", "a", 1)), durable=True)
    assert found(disk, [Key("s", "a", 1)], powerless=True)[Key("s", "a", 1)].dot


def test_what_is_above_the_journal_need_not_be_readable() -> None:
    disk = FakeDisk(ROOT)
    disk.failures = {1: errno.EACCES}
    open_segments(disk).start()


def test_a_directory_that_is_deleted_meanwhile_is_made_again() -> None:
    disk = FakeDisk(ROOT)
    disk.failures = {3: errno.ENOENT}
    journal = open_segments(disk)
    journal.start()
    assert disk.calls[2:6] == ["make_directory", "create", "make_directory", "make_directory"]
    assert journal.path is not None
