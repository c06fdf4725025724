"""Threads are held by events, never by time."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from mailculator.pipelines.threads import Threads

LONG = 60.0
"""Seconds that no test waits."""


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
    for _ in range(2):  # the next turn begins what this one puts
        await asyncio.sleep(0)
    for one in done:  # the loop stands still meanwhile
        one.wait()
    await asyncio.gather(*jobs)
    assert told <= 2, "the last result may have been put down just after the loop looked"


async def test_one_thread_does_what_came_together_and_tells_it_together(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, told = Threads(4, "test", patience=LONG, slow=LONG), []
    loop = asyncio.get_running_loop()
    call = loop.call_soon_threadsafe

    def counted(*arguments: object) -> object:
        told.append(arguments)
        return call(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for turn in (1, 2):
        names = await asyncio.gather(*(threads.run(lambda: threading.current_thread().name) for _ in range(50)))
        assert set(names) == {"test_0"}
        assert len(told) == turn
        assert threads._next_look is None, "and nobody looks where nothing waits"
    threads.close()


async def test_where_files_are_slow_as_many_threads_work_as_there_may_be() -> None:
    threads, together = Threads(3, "test", patience=0.001), threading.Barrier(3)
    waits = [threads.run(together.wait, LONG) for _ in range(6)]
    assert sorted(await asyncio.gather(*waits)) == [0, 0, 1, 1, 2, 2]
    threads.close()


async def test_where_all_files_are_slow_nobody_waits_until_that_is_seen() -> None:
    threads, together = Threads(3, "test", patience=LONG, slow=1e-9), threading.Barrier(3)
    for _ in range(8):
        await threads.run(int)
    assert sorted(await asyncio.gather(*(threads.run(together.wait, LONG) for _ in range(3)))) == [0, 1, 2]
    threads.close()


async def test_what_several_end_while_the_loop_stands_still_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, together, told = Threads(3, "several", patience=0.001), threading.Barrier(4), []
    loop = asyncio.get_running_loop()
    call, begun = loop.call_soon_threadsafe, threading.Semaphore(0)

    def counted(*arguments: object) -> object:
        told.append(arguments)
        return call(*arguments)  # type: ignore[arg-type]

    def work() -> int:
        begun.release()
        return together.wait(LONG)

    jobs = [asyncio.create_task(threads.run(work)) for _ in range(3)]
    for _ in jobs:
        await asyncio.to_thread(begun.acquire)
    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    threads.close()
    together.wait(LONG)
    for thread in named("several"):
        thread.join(LONG)
    assert len(told) < 3, "two may have come to it at one moment"
    assert len(await asyncio.gather(*jobs)) == 3, "and what was under way at the end is told, too"


async def test_no_more_threads_run_than_there_may_be() -> None:
    threads, begun, go = Threads(2, "few", patience=0.0), threading.Semaphore(0), threading.Event()

    def hang() -> bool:
        begun.release()
        return go.wait()

    jobs = [asyncio.create_task(threads.run(hang)) for _ in range(3)]
    for _ in range(2):
        await asyncio.to_thread(begun.acquire)
    threads._look(asyncio.get_running_loop())
    assert len(named("few")) == 2
    go.set()
    assert await asyncio.gather(*jobs) == [True] * 3
    threads.close()


async def test_what_ended_before_a_job_hung_is_told() -> None:
    threads, go = Threads(1, "test", patience=0.001), threading.Event()
    quick, stuck, behind = (asyncio.create_task(threads.run(one)) for one in (int, go.wait, int))
    assert await quick == 0
    assert not stuck.done()
    go.set()
    assert (await stuck, await behind) == (True, 0)
    threads.close()


async def test_beside_one_that_hangs_the_next_begin_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, begun, go = Threads(2, "test", patience=0.001), threading.Event(), threading.Event()

    def hang() -> bool:
        begun.set()
        return go.wait()

    stuck = asyncio.create_task(threads.run(hang))
    await threads_have_begun(begun)
    assert await threads.run(int) == 0, "somebody has looked, and woken the second"
    monkeypatch.setattr(threads, "_look", lambda _: None)
    for _ in range(20):
        assert await threads.run(int) == 0
    go.set()
    assert await stuck
    threads.close()


async def test_where_no_thread_can_be_started_jobs_wait_until_one_can(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(1, "test", patience=0.001)
    troubles: list[Exception] = []
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if len(troubles) == 3:
            start(thread)
        else:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context["exception"]))
    assert await threads.run(int) == 0
    assert len(troubles) == 3
    threads.close()


async def test_a_thread_lets_go_of_what_it_has_done() -> None:
    class Message:
        """Something that can be looked for."""

    threads, message = Threads(1, "test"), Message()
    gone = weakref.ref(message)
    await threads.run(id, message)
    del message
    assert gone() is None
    threads.close()


async def test_at_the_end_the_threads_end() -> None:
    threads, together = Threads(3, "ending", patience=0.001), threading.Barrier(3)
    await asyncio.gather(*(threads.run(together.wait, LONG) for _ in range(3)))
    mine = named("ending")
    threads.close()
    assert len(mine) == 3
    for thread in mine:
        thread.join(LONG)
        assert not thread.is_alive()


async def test_nothing_begins_after_the_end() -> None:
    threads = Threads(1, "test")
    await threads.run(int)
    threads.close()
    with pytest.raises(RuntimeError, match="test threads were closed"):
        await threads.run(int)


async def threads_have_begun(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait)


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]
