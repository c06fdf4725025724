"""The thread that writes dies of what nobody foresaw: all are told, nobody waits on, and nothing counts as marked."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import NoReturn

import pytest

from mailculator.journal.errors import JournalBroken
from mailculator.journal.traces import Trace
from tests.unit.journal.bench import RETRY, Bench, handed_over, key, start

REASON = "cannot be written since 2026-01-02T12:00:00Z: SystemExit: gone"


def die(*_what: object) -> NoReturn:
    """No Exception: what is one is told as a failure of the disk, and mended."""
    raise SystemExit("gone")


async def test_whoever_waits_for_a_mark_is_told_and_so_is_whoever_asks_later(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = bench.journal
    hold, entered = bench.disk.hold("datasync")
    before = asyncio.create_task(journal.dot(key("before")))
    await entered.wait()
    rest = start([journal.begin([key("a")]), journal.dot(key("b")), journal.accepted(key("c"), "250 ok")])
    await handed_over()
    monkeypatch.setattr(bench.disk, "write", die)
    hold.open()
    await before

    for outcome in await asyncio.gather(*rest, return_exceptions=True):
        assert isinstance(outcome, JournalBroken)
        assert outcome.reason == REASON
        assert isinstance(outcome.__cause__, SystemExit)
    assert journal.trouble == REASON
    assert bench.told == [REASON]
    assert [str(death) for death in bench.deaths] == ["gone"]

    monkeypatch.undo()
    for late in (journal.begin([key("late")]), journal.dot(key("late")), journal.refused(key("late"), 550, "no")):
        with pytest.raises(JournalBroken, match="gone"):
            await late
    journal.end([key("late")])
    traces = bench.found(tmp_path, *map(key, ["before", "a", "b", "c", "late"]))
    assert traces == [Trace(dot=True), *[Trace()] * 4]


async def test_a_mark_that_is_put_before_the_death_is_known_is_told_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is gone already, and the loop has not heard of it."""
    monkeypatch.setattr(bench.disk, "write", die)
    first = asyncio.create_task(bench.journal.dot(key("first")))
    await handed_over()
    assert bench.journal._scribe is not None
    bench.journal._scribe._thread.join()
    late = asyncio.create_task(bench.journal.dot(key("late")))
    outcomes = await asyncio.gather(first, late, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [f"the journal in /share/journal {REASON}"] * 2


async def test_no_new_segment_is_asked_of_a_thread_that_is_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.disk.failing = {"write": errno.ENOSPC}
    with pytest.raises(JournalBroken, match="No space"):
        await bench.journal.dot(key("a"))
    await bench.change()
    monkeypatch.setattr(bench.disk, "create", die)
    await bench.clock.until_waited_for(RETRY)
    await bench.clock.advance(RETRY)
    await bench.change()
    assert bench.journal.trouble == REASON
    assert len(bench.deaths) == 1
    await bench.clock.advance(RETRY)
    await bench.journal.close()


async def test_a_disk_that_hung_before_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(patience=0.0)
    await bench.journal.open()
    hold, entered = bench.disk.hold("write")
    with pytest.raises(JournalBroken, match="has not answered"):
        await bench.journal.dot(key("a"))
    await entered.wait()
    await bench.change()
    monkeypatch.setattr(bench.disk, "datasync", die)
    hold.open()
    await bench.change()
    assert bench.told == ["has not answered for 0 s", REASON]
    assert bench.journal.trouble == REASON
    await bench.journal.close()


async def test_it_dies_as_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    monkeypatch.setattr(bench.disk, "create", die)
    with pytest.raises(JournalBroken, match="cannot be opened: SystemExit: gone"):
        await bench.journal.open()
    assert len(bench.deaths) == 1


async def test_it_dies_as_it_closes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put before is written; that the process ended badly is told all the same."""
    await bench.journal.dot(key("a"))
    monkeypatch.setattr(bench.disk, "close", die)
    await bench.journal.close()
    assert bench.journal.trouble == "is closed"
    assert bench.told == []
    assert len(bench.deaths) == 1
