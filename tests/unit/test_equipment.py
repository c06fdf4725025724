from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import NoReturn

import pytest

from mailculator.config import load
from mailculator.equipment import Equipment
from mailculator.events import PipelineFailed
from mailculator.journal.errors import JournalBroken
from mailculator.journal.writer import Journal
from mailculator.pipelines.watchdog import Watchdog
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.exported import SETTINGS


class Bench:
    """What all stores share, what it told, and whether it asked for the end of the process."""

    def __init__(self, journal: Path) -> None:
        self.seen = Recording()
        self.ending = asyncio.Event()
        self.clock = FakeClock()
        settings = load({**SETTINGS, "MAILCULATOR_JOURNAL_DIR": str(journal)})
        self.equipment = Equipment(
            settings, observer=self.seen, clock=self.clock, rng=random.Random(1), on_death=self.ending.set
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in ("start", "beat", "stop"):  # a real one has a thread, and sets the interpreter's only timer
        monkeypatch.setattr(Watchdog, name, lambda _: None)
    return Bench(tmp_path / "journal")


@pytest.mark.parametrize(("name", "house", "work"), [("beat", Watchdog, "beat"), ("journal-trim", Journal, "trim")])
async def test_the_death_of_a_loop_is_told_and_ends_the_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, house: type, work: str
) -> None:
    """Otherwise the watchdog would end it for a silence of the loop's, or the disk be full after weeks: unexplained."""

    def dying(_: object) -> NoReturn:
        raise RuntimeError("a bug in the loop")

    monkeypatch.setattr(house, work, dying)
    await bench.equipment.open()
    await bench.clock.settle()
    assert bench.ending.is_set()
    (event,) = bench.seen.of(PipelineFailed)
    assert (event.store, event.pipeline, event.fatal) == ("", name, True)
    assert event.error == "RuntimeError: a bug in the loop"
    assert "in dying" in (event.traceback or "")
    await bench.equipment.close()


async def test_a_journal_that_cannot_be_trimmed_for_now_is_no_death(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Journal) -> NoReturn:
        raise JournalBroken(Path("journal"), "cannot be trimmed")

    monkeypatch.setattr(Journal, "trim", broken)
    await bench.equipment.open()
    await bench.clock.settle()
    await bench.equipment.close()
    assert bench.seen.events == []
    assert not bench.ending.is_set()


async def test_a_loop_that_ends_with_the_process_is_no_death(bench: Bench) -> None:
    before = asyncio.all_tasks()
    await bench.equipment.open()
    await bench.clock.settle()
    loops = asyncio.all_tasks() - before
    assert {loop.get_name() for loop in loops} >= {"beat", "journal-trim"}
    await bench.equipment.close()
    await asyncio.wait(loops)
    assert bench.seen.events == []
    assert not bench.ending.is_set()
