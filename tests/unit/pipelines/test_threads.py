"""Threads are held by events, never by time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from mailculator.pipelines.threads import Threads


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.close()


async def test_a_function_runs_elsewhere_and_its_result_or_error_comes_back(threads: Threads) -> None:
    def fail() -> None:
        raise KeyError("surprise")

    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert await threads.run(max, 1, 3, key=lambda one: -one) == 1
    with pytest.raises(KeyError, match="surprise"):
        await threads.run(fail)


async def test_one_that_hangs_holds_up_no_other_and_no_more_run_than_were_asked_for(threads: Threads) -> None:
    go, hung = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        go.wait()

    stuck = asyncio.create_task(threads.run(hang))
    names = await asyncio.gather(*(threads.run(lambda: threading.current_thread().name) for _ in range(20)))
    assert hung.is_set()
    assert not stuck.done()
    assert len(set(names)) == 1, "of the two threads one hangs, and the other has done all of it"
    go.set()
    await stuck


async def test_a_caller_that_is_cancelled_leaves_the_thread_to_the_others(threads: Threads) -> None:
    go, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait()

    callers = [asyncio.create_task(threads.run(wait)) for _ in range(2)]
    await threads_have_begun(begun)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    later = asyncio.create_task(threads.run(lambda: "later"))
    go.set()
    assert await later == "later"


async def test_results_that_came_while_the_loop_was_busy_are_told_in_one_turn(threads: Threads) -> None:
    done = [threading.Event() for _ in range(5)]
    loop, told = asyncio.get_running_loop(), 0
    call = loop.call_soon_threadsafe

    def counted(*arguments: object) -> object:
        nonlocal told
        told += 1
        return call(*arguments)  # type: ignore[arg-type]

    loop.call_soon_threadsafe = counted  # type: ignore[method-assign,assignment]
    jobs = [asyncio.create_task(threads.run(one.set)) for one in done]
    await asyncio.sleep(0)
    for one in done:  # the loop stands still meanwhile
        one.wait()
    await asyncio.gather(*jobs)
    assert told <= 2, "the last result may have been put down just after the loop looked"


async def test_nothing_begins_after_the_end() -> None:
    threads = Threads(1, "test")
    await threads.run(int)
    threads.close()
    with pytest.raises(RuntimeError, match="test threads were closed"):
        await threads.run(int)


async def threads_have_begun(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait)
