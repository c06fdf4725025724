from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from mailculator import lifecycle
from mailculator.journal.marks import Key
from mailculator.lifecycle import Outcome, Prepared, Release, Retry
from mailculator.model import Email, Status
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.solitude import Solitude
from mailculator.pipelines.tasks import Tasks, Work
from tests.support.clock import FakeClock
from tests.support.marks import MemoryMarks
from tests.support.memory_store import email

PREPARED = Prepared("example.com")


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
        if keys:
            self.groups.append(("END", len(keys)))
        super().end(keys)


class Bench:
    """A pipeline whose handlers end when they are told to, and what was told of them."""

    stage = lifecycle.INTAKE
    concurrency = 100
    breakers: tuple[Breaker, ...] = ()

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.marks = CountedMarks()
        self.begun: list[str] = []
        self.finish = asyncio.Event()
        self.told: list[dict[str, Outcome]] = []
        solitude = Solitude(self.clock, patience=30.0)
        self.tasks = Tasks(
            "memory",
            self,
            marks=self.marks,
            solitude=solitude,
            on_ended=self._ended,
            on_bug=lambda *_: Retry("bug", 1.0),
        )

    async def handle(self, email: Email) -> Outcome:
        self.begun.append(email.id)
        await self.finish.wait()
        return PREPARED

    def _ended(self, works: Sequence[Work]) -> None:
        self.told.append({work.email.id: work.outcome for work in works})

    def begin(self, *ids: str, crashes: int = 0) -> None:
        self.tasks.begin((replace(claimed(one), crashes=crashes), 0.0) for one in ids)

    async def settle(self) -> None:
        await self.clock.settle()


def claimed(email_id: str) -> Email:
    return email(email_id, Status.INTAKING, version=2, claim_token="t1")


async def test_what_begins_together_waits_for_one_mark_and_what_ends_together_makes_one_and_is_told_at_once() -> None:
    bench = Bench()
    bench.begin("a", "b", "c")
    await bench.settle()
    bench.begin("late")
    await bench.settle()
    assert bench.marks.groups == [("BEGIN", 3), ("BEGIN", 1)], "who comes while a mark is made waits for the next"
    assert bench.begun == []
    bench.marks.go.set()
    await bench.settle()
    assert bench.begun == ["a", "b", "c", "late"]
    assert len(bench.tasks) == 4

    bench.finish.set()
    await bench.tasks.ended()
    assert bench.marks.groups[2:] == [("END", 4)]
    assert bench.told == [dict.fromkeys(("a", "b", "c", "late"), PREPARED)]
    assert [bench.marks.kinds(one) for one in "abc"] == [["BEGIN", "END"]] * 3
    assert len(bench.tasks) == 0


async def test_a_claim_is_marked_once_with_the_first_that_begin_after_it_and_before_them() -> None:
    bench = Bench()
    bench.marks.go.set()
    bench.tasks.claimed(["t1"])
    bench.tasks.claimed(["t2"])
    bench.begin("a", "b")
    await bench.settle()
    bench.begin("c")
    await bench.settle()
    assert bench.marks.groups == [("BEGIN", 4), ("BEGIN", 1)]
    assert [key.email_id for _, key in bench.marks.made] == ["t1", "t2", "a", "b", "c"]
    assert [key.version for _, key in bench.marks.made] == [0, 0, 2, 2, 2]
    bench.tasks.claimed(["t3"])
    bench.begin("suspect", crashes=1)
    bench.finish.set()
    await bench.tasks.ended()
    bench.tasks.claimed(["t4"])
    bench.begin()
    await bench.settle()
    kinds = [(kind, key.email_id) for kind, key in bench.marks.made]
    assert kinds.index(("BEGIN", "t3")) < kinds.index(("BEGIN", "suspect"))
    assert kinds[-1] == ("BEGIN", "t4"), "there is no place for what it took, but nobody knows for how long"


async def test_who_is_interrupted_before_its_beginning_is_marked_never_begins_and_the_others_do() -> None:
    bench = Bench()
    bench.begin("a", "b")
    await bench.settle()
    bench.tasks.interrupt(("a", "another claim's token"))
    bench.tasks.interrupt(("a", "t1"))
    bench.tasks.interrupt(("a", "t1"))
    await bench.settle()
    assert bench.told == [{"a": Release("interrupted")}], "nobody waits for the journal's disk"
    bench.marks.go.set()
    bench.finish.set()
    await bench.tasks.ended()
    assert bench.begun == ["b"]
    assert bench.told[1:] == [{"b": PREPARED}]
    assert bench.marks.kinds("a") == ["BEGIN"], "its end would come before its beginning"
    assert bench.marks.kinds("b") == ["BEGIN", "END"]


async def test_who_is_interrupted_before_its_first_step_is_told_of_and_its_mark_ended() -> None:
    bench = Bench()
    bench.marks.go.set()
    bench.begin("a")
    while bench.tasks._works["a", "t1"].task is None:
        await asyncio.sleep(0)
    assert bench.begun == [], "it was made in this very turn"
    bench.tasks.interrupt_all()
    await bench.tasks.ended()
    assert bench.begun == []
    assert bench.told == [{"a": Release("interrupted")}]
    assert bench.marks.kinds("a") == ["BEGIN", "END"]


async def test_who_has_ended_is_not_interrupted_any_more() -> None:
    bench = Bench()
    bench.marks.go.set()
    bench.finish.set()
    bench.begin("a")
    work = bench.tasks._works["a", "t1"]
    while not work.over:
        await asyncio.sleep(0)
    bench.tasks.interrupt_all()
    await bench.tasks.ended()
    assert bench.told == [{"a": PREPARED}]


async def test_a_broken_journal_stops_nobody() -> None:
    bench = Bench()
    bench.marks.broken = "full"
    bench.marks.go.set()
    bench.finish.set()
    bench.begin("a")
    await bench.tasks.ended()
    assert bench.told == [{"a": PREPARED}]


async def test_mail_that_a_process_died_of_is_marked_when_it_is_alone_and_what_comes_later_waits_for_its_end() -> None:
    bench = Bench()
    bench.marks.go.set()
    bench.begin("other")
    await bench.settle()
    bench.begin("suspect", crashes=1)
    await bench.settle()
    assert bench.marks.kinds("suspect") == []
    await bench.clock.advance(30.0)
    bench.begin("late")
    await bench.settle()
    assert bench.begun == ["other"], "by now it insists"
    bench.finish.set()
    await bench.tasks.ended()
    assert bench.begun == ["other", "suspect", "late"]
    order = [(kind, key.email_id) for kind, key in bench.marks.made]
    assert order.index(("END", "other")) < order.index(("BEGIN", "suspect"))
    assert order.index(("END", "suspect")) < order.index(("BEGIN", "late"))
    assert bench.marks.kinds("late") == ["BEGIN", "END"]
