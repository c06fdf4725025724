"""A journal on a disk in memory, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mailculator.journal.marks import Key
from mailculator.journal.reader import find_traces
from mailculator.journal.traces import Trace
from mailculator.journal.writer import Journal
from tests.support.clock import FakeClock
from tests.unit.journal.fake_disk import FakeDisk

ROOT = Path("/share")
DIRECTORY = ROOT / "journal"
RETRY = 5.0
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def key(name: object) -> Key:
    return Key("mysql", str(name), 3)


@dataclass
class Bench:
    """The journal, what it told of its trouble and its death, and what it leaves behind."""

    disk: FakeDisk = field(default_factory=lambda: FakeDisk(ROOT))
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[str | None] = field(default_factory=list)
    deaths: list[BaseException] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    segment_bytes: int = 1 << 20
    patience: float = 60.0

    def __post_init__(self) -> None:
        self.journal = Journal(
            DIRECTORY,
            "one",
            segment_bytes=self.segment_bytes,
            patience=self.patience,
            retry_every=RETRY,
            on_change=self._note,
            on_death=self.deaths.append,
            disk=self.disk,
            clock=self.clock,
            wall=lambda: NOON,
        )

    def _note(self, trouble: str | None) -> None:
        self.told.append(trouble)
        self.changed.set()

    async def change(self) -> None:
        await self.changed.wait()
        self.changed.clear()

    async def mended(self) -> None:
        """Let the next try to mend it come, and succeed."""
        self.changed.clear()
        await self.clock.until_waited_for(RETRY)
        await self.clock.advance(RETRY)
        await self.change()

    def found(self, to: Path, *keys: Key, powerless: bool = False) -> list[Trace]:
        self.disk.leave(to, powerless=powerless)
        return [find_traces(to, "one", [one])[one] for one in keys]


def start(marks: list[Coroutine[object, object, None]]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(mark) for mark in marks]


async def handed_over() -> None:
    """A task hands its mark over in its first step: one turn of the loop, no wait."""
    await asyncio.sleep(0)
