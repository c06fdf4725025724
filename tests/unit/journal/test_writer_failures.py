"""Whatever fails, and in whatever order: nothing acknowledged is lost, everybody is told, and it mends itself."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Key
from mailculator.journal.reader import find_traces
from mailculator.journal.writer import Journal
from tests.unit.journal.bench import RETRY, ROOT, Bench, handed_over, key, start
from tests.unit.journal.fake_disk import FakeDisk


@pytest.mark.parametrize(
    ("operation", "code", "words"),
    [("write", errno.ENOSPC, "No space left on device"), ("datasync", errno.EIO, "Input/output error")],
)
async def test_a_failure_is_told_to_the_whole_group_and_stops_the_marks_at_once(
    bench: Bench, operation: str, code: int, words: str
) -> None:
    journal = bench.journal
    hold, entered = bench.disk.hold("write")
    first = asyncio.create_task(journal.begin([key("first")]))
    await entered.wait()
    rest = start([journal.begin([key("a")]), journal.dot(key("b")), journal.accepted(key("c"), "250 ok")])
    await handed_over()
    next_call = len(bench.disk.calls)
    bench.disk.failures = {next_call if operation == "write" else next_call + 1: code}
    hold.open()
    await first
    broken = await asyncio.gather(*rest, return_exceptions=True)

    reason = f"cannot be written since 2026-01-02T12:00:00Z: {words}"
    for outcome in broken:
        assert isinstance(outcome, JournalBroken)
        assert outcome.reason == reason
        assert str(outcome) == f"the journal in /share/journal {reason}"
        assert isinstance(outcome.__cause__, OSError)
    assert len({id(outcome) for outcome in broken}) == len(broken)
    assert journal.trouble == reason
    assert bench.told == [reason]

    calls = len(bench.disk.calls)
    for mark in (
        journal.begin([key("x")]),
        journal.dot(key("x")),
        journal.accepted(key("x"), "250 ok"),
        journal.refused(key("x"), 550, "no"),
    ):
        with pytest.raises(JournalBroken, match=words):
            await mark
    journal.end([key("x")])  # nobody waits for it, so nobody is told
    assert len(bench.disk.calls) == calls


async def test_of_claims_that_begin_together_none_has_begun_when_the_disk_refuses(bench: Bench) -> None:
    bench.disk.failing = {"write": errno.ENOSPC}
    with pytest.raises(JournalBroken, match="No space"):
        await bench.journal.begin([key("a"), key("b")])


async def test_it_is_well_again_once_a_new_segment_is_durable(bench: Bench, tmp_path: Path) -> None:
    journal, disk = bench.journal, bench.disk
    await journal.dot(key("before"))
    disk.failing = {"write": errno.ENOSPC}
    with pytest.raises(JournalBroken):
        await journal.dot(key("lost"))
    await bench.change()

    for failing, words in (("write", "No space"), ("datasync", "Input/output"), ("create", "Permission denied")):
        disk.failing = {failing: {"write": errno.ENOSPC, "datasync": errno.EIO, "create": errno.EACCES}[failing]}
        tries = disk.count("create")
        await bench.clock.until_waited_for(RETRY)
        await bench.clock.advance(RETRY - 0.1)
        assert disk.count("create") == tries
        await bench.clock.advance(0.1)
        await bench.clock.until_waited_for(RETRY)
        assert disk.count("create") == tries + 1
        assert journal.trouble is not None
        assert words in journal.trouble
        with pytest.raises(JournalBroken, match=words):
            await journal.begin([key("lost")])

    disk.failing = {}
    await bench.mended()
    assert journal.trouble is None
    assert len(bench.told) == 2
    assert bench.told[1] is None

    await journal.dot(key("after"))
    assert not disk.synced_after_failure
    traces = bench.found(tmp_path, key("before"), key("lost"), key("after"), powerless=True)
    assert [trace.dot for trace in traces] == [True, False, True]
    assert not any(trace.unreadable for trace in traces)


async def test_it_breaks_and_mends_again_and_again(bench: Bench) -> None:
    for turn in range(3):
        bench.disk.failing = {"datasync": errno.EIO}
        with pytest.raises(JournalBroken):
            await bench.journal.dot(key(turn))
        bench.disk.failing = {}
        await bench.mended()
        await bench.journal.dot(key(turn))
    assert [trouble is None for trouble in bench.told] == [False, True] * 3
    assert not bench.disk.synced_after_failure


async def test_what_gathered_while_it_broke_fails_for_the_same_reason(bench: Bench) -> None:
    hold, entered = bench.disk.hold("datasync")
    first = asyncio.create_task(bench.journal.dot(key("first")))
    await entered.wait()
    late = asyncio.create_task(bench.journal.begin([key("late")]))
    await handed_over()
    bench.disk.failing = {"datasync": errno.EIO}
    bench.disk.failures = {len(bench.disk.calls) - 1: errno.EIO}
    hold.open()
    outcomes = await asyncio.gather(first, late, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [f"the journal in /share/journal {bench.journal.trouble}"] * 2
    assert len(bench.told) == 1


async def test_a_bug_below_is_told_like_a_failure_and_leaves_nobody_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_descriptor: int, _data: bytes) -> int:
        raise KeyError("bug")

    monkeypatch.setattr(bench.disk, "write", stumble)
    with pytest.raises(JournalBroken, match="KeyError"):
        await bench.journal.dot(key("a"))
    monkeypatch.undo()
    await bench.mended()
    await bench.journal.dot(key("a"))


async def ended(journal: Journal, one: Key) -> None:
    """Nobody waits for an end, but what is marked after it is written after it."""
    journal.end([one])
    await journal.begin([key("barrier")])


async def life(bench: Bench) -> dict[Key, set[str]]:
    """A short life with every operation in it; what was acknowledged of each mail."""
    journal, done = bench.journal, dict[Key, set[str]]()
    for one in map(key, range(4)):
        marks = {"begun": journal.begin([one]), "dot": journal.dot(one)}
        marks |= {"reply": journal.accepted(one, "250 ok"), "ended": ended(journal, one)}
        for name, mark in marks.items():
            try:
                await mark
                done.setdefault(one, set()).add(name)
            except JournalBroken:
                assert journal.trouble is not None
                await bench.mended()
    return done


async def lived(directory: Path, failures: dict[int, int]) -> Bench:
    bench = Bench(segment_bytes=400)  # a few marks, so that it rotates
    bench.disk.failures = failures
    await bench.journal.open()
    if bench.journal.trouble is not None:
        await bench.mended()
    try:
        done = await life(bench)
    finally:
        await bench.journal.close()
    for powerless in (False, True):
        to = directory / str(powerless)
        for one in map(key, range(4)):
            (trace,) = bench.found(to, one, powerless=powerless)
            has = {"begun": trace.begun, "dot": trace.dot, "reply": trace.reply is not None, "ended": trace.ended}
            promised = done.get(one, set()) & ({"dot", "reply"} if powerless else set(has))
            assert all(has[name] for name in promised), (failures, powerless, one)
    assert not bench.disk.synced_after_failure
    return bench


async def test_every_single_operation_may_fail(tmp_path: Path) -> None:
    clean = await lived(tmp_path / "clean", {})
    assert clean.told == []
    operations = clean.disk.calls
    assert operations.count("create") > 3
    for number in range(len(operations)):
        bench = await lived(tmp_path / str(number), {number: errno.EIO})
        # How marks gather into writes is the threads' affair: what failed is what this life had there, if anything. A
        # file that cannot be closed has nothing left to lose.
        failed = bench.disk.calls[number : number + 1]
        assert bool(bench.told) is (failed not in ([], ["close"])), (number, failed)


# Random interleavings

STEPS = st.lists(
    st.sampled_from(["begin", "dot", "accepted", "end", "turn", "cancel", "hold", "release", "time"]), max_size=40
)


@given(
    steps=STEPS,
    failures=st.dictionaries(st.integers(0, 50), st.sampled_from([errno.EIO, errno.ENOSPC]), max_size=4),
    bite=st.sampled_from([13, 1 << 20]),
    segment_bytes=st.sampled_from([300, 1 << 20]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_happens_in_whatever_order_no_mark_that_was_acknowledged_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[str],
    failures: dict[int, int],
    bite: int,
    segment_bytes: int,
) -> None:
    bench = Bench(disk=FakeDisk(ROOT, bite=bite), segment_bytes=segment_bytes)
    await bench.journal.open()
    bench.disk.failures = {len(bench.disk.calls) + number: code for number, code in failures.items()}
    tasks: dict[tuple[Key, str], asyncio.Task[None]] = {}
    holds = []
    for number, step in enumerate(steps):
        one = key(number)
        match step:
            case "end":
                bench.journal.end([one])
            case "begin":
                tasks[one, step] = asyncio.create_task(bench.journal.begin([one]))
            case "dot":
                tasks[one, step] = asyncio.create_task(bench.journal.dot(one))
            case "accepted":
                tasks[one, step] = asyncio.create_task(bench.journal.accepted(one, "250 ok"))
            case "turn":
                await asyncio.sleep(0)
            case "cancel" if tasks:
                list(tasks.values())[-1].cancel()
            case "hold":
                holds.append(bench.disk.hold("datasync")[0])
            case "release" if holds:
                holds.pop(0).open()
            case "time":
                await bench.clock.advance(RETRY)
    for hold in holds:
        hold.open()
    outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
    await bench.journal.close()

    acknowledged = [asked for asked, outcome in zip(tasks, outcomes, strict=True) if outcome is None]
    others = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, JournalBroken | asyncio.CancelledError) for outcome in others)
    to = tmp_path_factory.mktemp("left")
    for powerless in (False, True):
        bench.disk.leave(to / str(powerless), powerless=powerless)
        traces = find_traces(to / str(powerless), "one", [one for one, _ in tasks])
        for one, kind in acknowledged:
            trace = traces[one]
            has = {"begin": trace.begun, "dot": trace.dot, "accepted": trace.reply is not None, "end": trace.ended}
            assert has[kind] or (powerless and kind in {"begin", "end"})
            assert sum(has.values()) <= 1
    assert not bench.disk.synced_after_failure


async def test_a_disk_that_does_not_answer_is_trouble_until_it_does(tmp_path: Path) -> None:
    bench = Bench(patience=0.01)
    await bench.journal.open()
    hold, entered = bench.disk.hold("datasync")
    stuck = asyncio.create_task(bench.journal.dot(key("stuck")))
    await entered.wait()
    behind = asyncio.create_task(bench.journal.begin([key("behind")]))
    for mark in (stuck, behind):
        with pytest.raises(JournalBroken, match=r"has not answered for 0\.01 s"):
            await mark
    assert bench.told == ["has not answered for 0.01 s"]
    with pytest.raises(JournalBroken, match="has not answered"):
        await bench.journal.dot(key("later"))

    bench.changed.clear()
    hold.open()
    await bench.change()
    assert bench.told == ["has not answered for 0.01 s", None]
    await bench.journal.dot(key("well"))
    # What nobody waited for any more was written all the same: it may only say too much.
    assert [trace.dot for trace in bench.found(tmp_path, key("stuck"), key("later"), key("well"))] == [
        True,
        False,
        True,
    ]
    await bench.journal.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_a_disk_that_fails_at_the_start_is_trouble_that_passes(code: int, tmp_path: Path) -> None:
    bench = Bench()
    bench.disk.failing = {"write": code}
    await bench.journal.open()
    with pytest.raises(JournalBroken, match=os.strerror(code)):
        await bench.journal.dot(key("a"))
    bench.disk.failing = {}
    await bench.mended()
    await bench.journal.dot(key("a"))
    assert [trace.dot for trace in bench.found(tmp_path, key("a"))] == [True]
    await bench.journal.close()
