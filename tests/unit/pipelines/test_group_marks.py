from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mailculator.journal.marks import Key
from mailculator.pipelines.group_marks import GroupMarks
from tests.support.marks import MemoryMarks


def key(name: str) -> Key:
    return Key("sqlite", name, 2)


class CountedMarks(MemoryMarks):
    """Says how many marks were asked for at a time, and lets none be made before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[tuple[str, int]] = []
        self.go = asyncio.Event()

    async def begin(self, keys: Sequence[Key]) -> None:
        self.groups.append(("BEGIN", len(keys)))
        await self.go.wait()
        await super().begin(keys)

    def end(self, keys: Sequence[Key]) -> None:
        self.groups.append(("END", len(keys)))
        super().end(keys)


async def test_all_who_begin_in_one_turn_wait_for_one_mark_and_all_who_end_make_one() -> None:
    marks = CountedMarks()
    together = GroupMarks(marks)
    waiting = [asyncio.create_task(together.begin(key(name))) for name in "abc"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = asyncio.create_task(together.begin(key("late")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert marks.groups == [("BEGIN", 3), ("BEGIN", 1)], "who comes while a mark is made waits for the next"
    assert not any(task.done() for task in waiting)
    marks.go.set()
    await asyncio.gather(*waiting, late)
    assert marks.kinds("a") == ["BEGIN"]

    together.end(key("a"))
    together.end(key("b"))
    await asyncio.sleep(0)
    assert marks.groups[2:] == [("END", 2)]
    assert marks.kinds("b") == ["BEGIN", "END"]


async def test_who_is_cancelled_takes_no_mark_from_the_others() -> None:
    marks = CountedMarks()
    together = GroupMarks(marks)
    one, other = (asyncio.create_task(together.begin(key(name))) for name in "ab")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one.cancel()
    marks.go.set()
    await other
    assert one.cancelled()
    assert marks.kinds("b") == ["BEGIN"]


async def test_a_broken_journal_stops_nobody() -> None:
    marks = MemoryMarks()
    marks.broken = "full"
    await GroupMarks(marks).begin(key("a"))
