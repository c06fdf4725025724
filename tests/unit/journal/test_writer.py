"""Group commit, cancellation, opening, rotation and closing. Threads are held by events, never by time."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from mailculator.journal.errors import JournalBroken
from mailculator.journal.layout import segments
from mailculator.journal.marks import Key, Reply
from mailculator.journal.reader import find_traces
from mailculator.journal.traces import Trace
from tests.unit.journal.bench import Bench, handed_over, key, start

# Groups


async def test_what_gathers_during_one_sync_shares_the_next(bench: Bench) -> None:
    before = bench.disk.count("datasync")
    hold, entered = bench.disk.hold("datasync")
    first = asyncio.create_task(bench.journal.dot(key("first")))
    await entered.wait()
    rest = start([bench.journal.dot(key(number)) for number in range(50)])
    await handed_over()

    hold.open()
    await asyncio.gather(first, *rest)

    assert bench.disk.count("datasync") - before == 2
    assert bench.disk.count("write") == 3  # the segment's beginning, the first mark, the others


async def test_nobody_is_answered_before_the_sync(bench: Bench) -> None:
    hold, entered = bench.disk.hold("datasync")
    marks = start([bench.journal.dot(key("dot")), bench.journal.accepted(key("acc"), "250 ok")])
    await entered.wait()
    await bench.clock.settle()
    assert not any(mark.done() for mark in marks)
    hold.open()
    await asyncio.gather(*marks)


async def test_a_group_goes_on_together(bench: Bench) -> None:
    hold, entered = bench.disk.hold("datasync")
    first = asyncio.create_task(bench.journal.dot(key("first")))
    await entered.wait()
    rest = start([bench.journal.dot(key(number)) for number in range(5)])
    await handed_over()
    hold.open()
    await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
    assert all(mark.done() for mark in [first, *rest])


async def test_many_claims_begin_and_end_with_one_write_each(bench: Bench, tmp_path: Path) -> None:
    before = bench.disk.count("write")
    names = [key(number) for number in range(20)]
    await bench.journal.begin(names)
    assert bench.disk.count("write") == before + 1
    assert all(trace.begun and not trace.ended for trace in bench.found(tmp_path / "1", *names))
    bench.journal.end(names)
    await bench.journal.begin([])  # nothing to be marked, nothing to wait for
    await bench.journal.close()
    assert bench.disk.count("write") == before + 2
    assert all(trace.begun and trace.ended for trace in bench.found(tmp_path / "2", *names))


async def test_marks_that_need_no_sync_make_none(bench: Bench, tmp_path: Path) -> None:
    before = bench.disk.count("datasync")
    await bench.journal.begin([key("a")])
    bench.journal.end([key("a")])
    await bench.journal.begin([key("b")])  # nobody waits for an end; what is marked after it is written after it
    assert bench.disk.count("datasync") == before
    (trace,) = bench.found(tmp_path, key("a"))
    assert (trace.begun, trace.ended) == (True, True)


async def test_dots_and_replies_survive_the_machine_each_by_itself(bench: Bench, tmp_path: Path) -> None:
    await bench.journal.dot(key("a"))
    assert bench.found(tmp_path / "1", key("a"), powerless=True) == [Trace(dot=True)]
    await bench.journal.accepted(key("a"), "250 ok")
    assert bench.found(tmp_path / "2", key("a"), powerless=True) == [Trace(dot=True, reply=Reply(250, "250 ok"))]
    await bench.journal.refused(key("b"), 550, "no")
    assert bench.found(tmp_path / "3", key("b"), powerless=True) == [Trace(reply=Reply(550, "no"))]


async def test_each_kind_of_mark_is_found_again(bench: Bench, tmp_path: Path) -> None:
    journal = bench.journal
    for name in ("sent", "refused", "cut"):
        await journal.begin([key(name)])
        await journal.dot(key(name))
    await journal.accepted(key("sent"), "251 2.0.0 will forward")
    await journal.accepted(key("bare"), "2.0.0 taken")
    await bench.clock.advance(7.25)
    await journal.refused(key("refused"), 451, "4.3.0 later")
    late = 7.25
    assert bench.found(tmp_path, *map(key, ["sent", "bare", "refused", "cut", "other"])) == [
        Trace(begun=True, dot=True, reply=Reply(251, "251 2.0.0 will forward"), outlived=late),
        Trace(reply=Reply(250, "2.0.0 taken")),
        Trace(begun=True, dot=True, reply=Reply(451, "4.3.0 later"), outlived=late),
        Trace(begun=True, dot=True, outlived=late),
        Trace(),
    ]


@pytest.mark.parametrize("code", [250, 354, 399, 600, 0])
async def test_only_4yz_and_5yz_are_refusals(bench: Bench, code: int) -> None:
    with pytest.raises(ValueError, match="no refusal"):
        await bench.journal.refused(key("a"), code, "what")


# Cancellation


async def test_a_cancelled_caller_neither_loses_its_mark_nor_spoils_the_group(bench: Bench, tmp_path: Path) -> None:
    hold, entered = bench.disk.hold("datasync")
    first = asyncio.create_task(bench.journal.dot(key("first")))
    await entered.wait()
    gone, stays = start([bench.journal.dot(key("gone")), bench.journal.dot(key("stays"))])
    await handed_over()
    first.cancel()
    gone.cancel()
    await asyncio.wait([first, gone])
    assert first.cancelled()
    assert gone.cancelled()

    hold.open()
    await stays

    traces = bench.found(tmp_path, key("first"), key("gone"), key("stays"), powerless=True)
    assert all(trace.dot for trace in traces)


# Opening, rotating, closing


async def test_a_journal_that_is_not_open_marks_nothing() -> None:
    journal = Bench().journal
    with pytest.raises(JournalBroken, match="is not open"):
        await journal.dot(key("a"))
    with pytest.raises(JournalBroken, match="is not open"):
        await journal.trim()
    await journal.close()


async def test_a_journal_that_cannot_be_opened_names_its_directory_and_is_done_with() -> None:
    bench = Bench()
    bench.disk.failing = {"create": errno.EACCES}
    with pytest.raises(JournalBroken, match="/share/journal cannot be opened: Permission denied"):
        await bench.journal.open()
    assert bench.told == []
    with pytest.raises(JournalBroken, match="is closed"):
        await bench.journal.begin([key("a")])


async def test_rotation_while_many_write_loses_and_doubles_nothing(tmp_path: Path) -> None:
    bench = Bench(segment_bytes=1000)
    await bench.journal.open()
    names = [key(number) for number in range(300)]

    async def mail(one: Key) -> None:
        await bench.journal.begin([one])
        await bench.journal.dot(one)
        await bench.journal.accepted(one, "250 ok")

    await asyncio.gather(*map(mail, names))
    await bench.journal.close()
    bench.disk.leave(tmp_path)
    (written,) = segments(tmp_path / "one").values()
    assert [segment.number for segment in written] == list(range(1, len(written) + 1))
    assert len(written) >= 3
    lines = [line.split()[2:] for segment in written for line in segment.path.read_text().splitlines()]
    marks = [(line[0], line[4]) for line in lines if line[0] != "SEGMENT"]
    assert len(marks) == len(set(marks)) == 900
    traces = find_traces(tmp_path, "one", names)
    assert all(trace.dot and trace.reply and not trace.unreadable for trace in traces.values())


async def test_close_finishes_what_was_asked_for_and_may_be_asked_twice(tmp_path: Path) -> None:
    bench = Bench()
    await bench.journal.open()
    hold, entered = bench.disk.hold("datasync")
    first = asyncio.create_task(bench.journal.dot(key("first")))
    await entered.wait()
    second = asyncio.create_task(bench.journal.dot(key("second")))
    await handed_over()
    closing = asyncio.create_task(bench.journal.close())
    await handed_over()
    with pytest.raises(JournalBroken, match="is closed"):
        await bench.journal.dot(key("third"))
    hold.open()
    await asyncio.gather(first, second, closing)
    await bench.journal.close()
    assert [trace.dot for trace in bench.found(tmp_path, *map(key, ["first", "second", "third"]))] == [
        True,
        True,
        False,
    ]


async def test_close_does_not_wait_for_the_next_try_to_mend() -> None:
    bench = Bench()
    await bench.journal.open()
    bench.disk.failing = {"write": errno.ENOSPC}
    with pytest.raises(JournalBroken):
        await bench.journal.dot(key("a"))
    await bench.journal.close()
    assert bench.journal.trouble == "is closed"


async def test_a_failure_after_close_was_asked_for_reaches_its_caller(bench: Bench) -> None:
    hold, entered = bench.disk.hold("write")
    mark = asyncio.create_task(bench.journal.dot(key("a")))
    await entered.wait()
    bench.disk.failing = {"datasync": errno.EIO}
    closing = asyncio.create_task(bench.journal.close())
    await handed_over()
    hold.open()
    with pytest.raises(JournalBroken, match="Input/output"):
        await mark
    await closing
    assert bench.told == []
