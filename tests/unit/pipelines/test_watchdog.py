from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from mailculator.pipelines.threads import Threads
from mailculator.pipelines.watchdog import LOOKS, STUCK, Watchdog


class Ended(list[str]):
    """Why, instead of the end."""


def test_a_loop_that_turns_between_two_looks_is_left_alone() -> None:
    ended = Ended()
    watchdog = Watchdog(30.0, end=ended.append)
    for _ in range(100):
        watchdog.look()
        watchdog._beaten = True
    assert ended == []


def test_a_silence_as_long_as_the_limit_ends_it() -> None:
    ended = Ended()
    watchdog = Watchdog(30.0, end=ended.append)
    for _ in range(LOOKS + 1):
        watchdog.look()
    assert ended == []
    watchdog.look()
    assert ended == ["the event loop has not turned for 30 s"]


def test_a_process_that_was_frozen_has_time_to_turn_again() -> None:
    """Nobody looks meanwhile, however long it is."""
    ended = Ended()
    watchdog = Watchdog(30.0, end=ended.append)
    for _ in range(5):
        for _ in range(LOOKS):
            watchdog.look()
        watchdog._beaten = True
    assert ended == []


@pytest.mark.parametrize("used", [29.0, 31.0])
def test_a_job_that_spins_ends_it(used: float) -> None:
    ended = Ended()
    Watchdog(30.0, busiest=[lambda: 0.0, lambda: used], end=ended.append).look()
    assert ended == ([] if used < 30 else ["one job has used 31 s of CPU"])


def test_a_job_may_be_given_less_than_silence() -> None:
    ended = Ended()
    Watchdog(30.0, cpu=10.0, busiest=[lambda: 11.0], end=ended.append).look()
    assert ended == ["one job has used 11 s of CPU"]


async def test_what_a_job_uses_is_told_from_what_it_waits() -> None:
    threads, waiting, go = Threads(2, "test"), threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        go.wait()

    def spin() -> None:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        wait()

    slow = asyncio.create_task(threads.run(wait))
    await asyncio.to_thread(waiting.wait)
    assert threads.busiest() < 0.1
    waiting.clear()
    busy = asyncio.create_task(threads.run(spin))
    await asyncio.to_thread(waiting.wait)
    assert 0.2 <= threads.busiest() < 5.0
    go.set()
    await asyncio.gather(slow, busy)
    assert threads.busiest() == 0.0
    threads.close()


SPINNING = """
import asyncio, sys, threading
from mailculator.pipelines.watchdog import Watchdog

async def main():
    dog = Watchdog(float(sys.argv[2]))
    dog.start()
    asyncio.get_running_loop().call_soon(dog.beat)
    await asyncio.sleep(0)
    if sys.argv[1] == "python":
        while True:
            pass
    import re
    re.match("(a+)+$", "a" * 64 + "b")  # never lets go of the interpreter

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("what", "code", "words"), [("python", STUCK, "ended by its watchdog"), ("regex", 1, "Timeout")]
)
def test_a_process_that_spins_ends_and_says_where(what: str, code: int, words: str) -> None:
    limit = "0.5" if what == "python" else "0.2"
    done = subprocess.run(
        [sys.executable, "-c", SPINNING, what, limit], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "in main" in done.stderr
