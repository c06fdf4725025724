from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailculator.transport.smtp_waiting import Waiting


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each timer that is set will ring."""
    rings: list[float] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def counted(when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        if getattr(callback, "__func__", None) is Waiting._ring:
            rings.append(when)
        return call_at(when, callback, *args)

    monkeypatch.setattr(loop, "call_at", counted)
    return rings


def now() -> float:
    return asyncio.get_running_loop().time()


async def woken(waiting: Waiting, deadline: float) -> None:
    """One wait that ends with news."""
    asyncio.get_running_loop().call_soon(waiting.wake)
    await waiting.wait(deadline)


async def test_many_waits_need_one_timer(timers: list[float]) -> None:
    waiting = Waiting()
    begin = now()
    for number in range(100):
        await woken(waiting, begin + 30 + number)
    assert timers == [begin + 30]
    waiting.end()


async def test_a_timer_that_rings_before_the_deadline_is_set_anew(timers: list[float]) -> None:
    waiting = Waiting()
    first, second = now() + 0.01, now() + 0.02
    await woken(waiting, first)
    with pytest.raises(TimeoutError):
        await waiting.wait(second)
    assert now() >= second - 0.001  # a loop may count in milliseconds
    assert timers[:2] == [first, second]


async def test_a_sooner_deadline_is_kept(timers: list[float]) -> None:
    waiting = Waiting()
    await woken(waiting, now() + 300)
    with pytest.raises(TimeoutError):
        await waiting.wait(now() + 0.01)
    assert len(timers) == 2


async def test_a_deadline_that_passed_while_nobody_waited_is_over_at_the_next_wait() -> None:
    waiting = Waiting()
    past = now() - 1
    with pytest.raises(TimeoutError):
        await waiting.wait(past)
    with pytest.raises(TimeoutError):
        await waiting.wait(past)


async def test_a_timer_that_rings_while_nobody_waits_is_not_set_anew(timers: list[float]) -> None:
    waiting = Waiting()
    await woken(waiting, now() + 0.01)
    loop = asyncio.get_running_loop()
    rung = asyncio.Event()
    loop.call_at(now() + 0.02, rung.set)
    await rung.wait()
    assert len(timers) == 1
    await woken(waiting, now() + 10)
    assert len(timers) == 2
    waiting.end()


async def test_a_cancellation_that_comes_with_the_news_is_not_swallowed() -> None:
    waiting = Waiting()
    task = asyncio.create_task(waiting.wait(now() + 10))
    await asyncio.sleep(0)
    waiting.wake()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiting.end()


async def test_news_that_nobody_waits_for_is_no_error() -> None:
    waiting = Waiting()
    waiting.wake()
    waiting.end()
    waiting.end()
