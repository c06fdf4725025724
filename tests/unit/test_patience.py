"""What lasts too long, by a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailculator.patience import Patience, TimeLimit


class Timers:
    """The loop's timers: they ring when `pass_to` says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.set: list[float] = []
        self._rings: list[tuple[float, Callable[[], object]]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now)
        monkeypatch.setattr(loop, "call_at", self._call_at)

    def _call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        self.set.append(when)
        self._rings.append((when, lambda: callback(*args)))
        return asyncio.TimerHandle(when, callback, args, asyncio.get_running_loop())

    def pass_to(self, when: float) -> None:
        self.now = when
        due, self._rings = [ring for ring in self._rings if ring[0] <= when], [r for r in self._rings if r[0] > when]
        for _, ring in due:
            ring()


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    return Timers(monkeypatch)


async def test_many_that_end_in_time_need_one_timer(timers: Timers) -> None:
    late: list[int] = []
    patience = Patience[int](10.0, late.append)
    for number in range(100):
        patience.begin(number)
        timers.now += 0.01
        patience.end(number)
    timers.pass_to(110.0)
    assert (timers.set, late) == ([110.0], [])


async def test_each_is_late_once_and_at_its_own_time(timers: Timers) -> None:
    late: list[str] = []
    patience = Patience[str](10.0, late.append)
    assert patience.begin("first") == 110.0
    timers.now = 103.0
    assert patience.begin("second") == 113.0
    patience.begin("third")
    patience.end("third")
    timers.pass_to(109.0)
    assert late == []
    timers.pass_to(110.0)
    assert late == ["first"]
    patience.end("first")
    timers.pass_to(113.0)
    assert late == ["first", "second"]
    timers.pass_to(1000.0)
    assert late == ["first", "second"]
    assert timers.set == [110.0, 113.0]


async def test_what_begins_when_all_have_ended_is_watched_as_well(timers: Timers) -> None:
    late: list[str] = []
    patience = Patience[str](10.0, late.append)
    patience.begin("first")
    patience.end("first")
    timers.pass_to(110.0)
    patience.begin("second")
    timers.pass_to(120.0)
    assert late == ["second"]


async def limited(limit: TimeLimit, work: asyncio.Future[str]) -> str:
    with limit():
        return await work


async def begun(limit: TimeLimit) -> tuple[asyncio.Task[str], asyncio.Future[str]]:
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(limited(limit, work))
    await asyncio.sleep(0)
    return task, work


async def test_a_block_that_lasts_too_long_is_a_timeout_and_no_other_one_is(timers: Timers) -> None:
    limit = TimeLimit(10.0)
    late, _ = await begun(limit)
    timers.now = 105.0
    good, work = await begun(limit)
    timers.pass_to(110.0)
    with pytest.raises(TimeoutError):
        await late
    work.set_result("done")
    assert await good == "done"
    timers.pass_to(1000.0)


async def test_a_task_goes_on_after_its_timeout_as_if_nobody_had_cancelled_it(timers: Timers) -> None:
    async def twice() -> int:
        with pytest.raises(TimeoutError), TimeLimit(10.0)():
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    task = asyncio.create_task(twice())
    await asyncio.sleep(0)
    timers.pass_to(110.0)
    assert await task == 0


async def test_a_cancellation_by_somebody_else_wins(timers: Timers) -> None:
    limit = TimeLimit(10.0)
    task, _ = await begun(limit)
    task.cancel()
    timers.pass_to(110.0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_in_time_is_one(timers: Timers) -> None:
    task, _ = await begun(TimeLimit(10.0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    timers.pass_to(1000.0)


async def test_what_the_block_makes_of_its_end_is_passed_on(timers: Timers) -> None:
    async def stubborn() -> None:
        with TimeLimit(10.0)():
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                raise ValueError("its own") from None

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    timers.pass_to(110.0)
    with pytest.raises(ValueError, match="its own"):
        await task


async def test_what_a_task_does_after_its_block_has_no_limit(timers: Timers) -> None:
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def on_and_on() -> str:
        with TimeLimit(10.0)():
            pass
        return await work

    task = asyncio.create_task(on_and_on())
    await asyncio.sleep(0)
    timers.pass_to(1000.0)
    work.set_result("done")
    assert await task == "done"
