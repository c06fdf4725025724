"""What kills at system calls rest on: a process is followed call by call, and struck before the one that is meant."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.service import environment
from tests.syscalls.calls import numbered
from tests.syscalls.points import Point, points, sample, window
from tests.syscalls.tracing import World, traced

THREADS, EACH = 3, 40
WRITERS = f"""
import os, sys, threading
from tests.syscalls.sieve import await_tracer
await_tracer()
print("ready", flush=True)
sys.stdin.readline()
def work():
    for _ in range({EACH}):
        descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"x")
        os.close(descriptor)
threads = [threading.Thread(target=work) for _ in range({THREADS})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("done", flush=True)
"""
CLIENT = """
import socket, sys
from tests.syscalls.sieve import await_tracer
await_tracer()
print("ready", flush=True)
sys.stdin.readline()
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as peer:
    peer.send(b"one")
    peer.send(b"two")
"""


@asynccontextmanager
async def running(script: str, argument: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """That script, once it is ready; it goes on when a line is written to it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-c", script, str(argument)),
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def go(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


@pytest.mark.parametrize("number", [1, 2, EACH + 1, THREADS * EACH])
async def test_it_is_struck_before_the_call_whichever_thread_makes_it(tmp_path: Path, number: int) -> None:
    file = tmp_path / "file"
    strike = Point("write journal", number)
    async with (
        running(WRITERS, file) as process,
        traced(process.pid, World({}, [(file, "journal")]), strike) as tracer,
    ):
        go(process)
        assert await process.wait() == -signal.SIGKILL
        seen = await tracer.finish()
    assert seen.struck is not None
    assert Counter(seen.calls)["write journal"] == number
    # Of each other thread one call may be cut short that was already on its way.
    assert number - THREADS <= file.stat().st_size <= number - 1


async def test_what_never_happens_strikes_nobody(tmp_path: Path) -> None:
    file = tmp_path / "file"
    async with running(WRITERS, file) as process:
        strike = Point("write journal", THREADS * EACH + 1)
        async with traced(process.pid, World({}, [(file, "journal")]), strike) as tracer:
            go(process)
            assert await process.wait() == 0
            seen = await tracer.finish()
    assert seen.struck is None
    calls = Counter(seen.calls)
    assert [calls[f"{name} journal"] for name in ("openat", "write", "close")] == [THREADS * EACH] * 3
    assert calls["write log"]


async def test_who_was_not_struck_dies_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "file"
    async with (
        running(WRITERS, file) as process,
        traced(process.pid, World({}, [(file, "journal")]), Point("write journal", 1)) as tracer,
    ):
        assert (await tracer.finish()).struck is None
        assert await process.wait() == -signal.SIGKILL


async def test_nobody_outlives_its_tracer(tmp_path: Path) -> None:
    async with running(WRITERS, tmp_path / "file") as process:
        async with traced(process.pid, World({}, [])):
            pass
        assert await process.wait() == -signal.SIGKILL


async def test_sockets_go_by_the_port_that_they_lead_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with running(CLIENT, port) as process, traced(process.pid, World({port: "relay"}, [])) as tracer:
            go(process)
            assert await process.wait() == 0
            seen = await tracer.finish()
    relay = [call for call in seen.calls if call.endswith(" relay")]
    assert relay == ["connect relay", "sendto relay", "sendto relay", "close relay"]


async def test_a_process_that_is_not_there_cannot_be_traced() -> None:
    with pytest.raises(AssertionError, match="cannot be traced"):
        async with traced(2**22 + 1, World({}, [])):
            pass


def test_every_kind_of_machine_has_the_calls_that_matter() -> None:
    for machine in ("x86_64", "aarch64"):
        wanted = {"write", "pwrite64", "sendto", "recvfrom", "connect", "fdatasync", "openat", "epoll_pwait"}
        assert wanted <= set(numbered(machine).values())
    with pytest.raises(LookupError):
        numbered("pdp11")


def test_points_are_what_all_lives_came_to() -> None:
    lives = [["a x", "b y", "a x", "c z"], ["a x", "a x", "a x", "b y"], ["b y", "a x", "a x", "b y"]]
    assert points(lives) == [Point("a x", 1), Point("a x", 2), Point("b y", 1)]
    assert [point.target for point in points(lives)] == ["x", "x", "y"]


def test_a_sample_has_some_of_every_kind_of_call_and_nothing_twice() -> None:
    whole = [Point("many x", number) for number in range(1, 101)] + [Point("two y", 1), Point("two y", 2)]
    chosen = sample(whole, 8, random.Random(1))
    assert len(chosen) == len(set(chosen)) == 8
    assert Counter(point.call for point in chosen) == {"many x": 6, "two y": 2}
    assert sample(whole, 8, random.Random(1)) == chosen
    assert sorted(sample(whole, 1000, random.Random(2))) == sorted(whole)


def test_the_moment_that_nobody_can_tell_of_is_in_every_sample() -> None:
    whole = [Point(call, number) for call in ("recvfrom relay", "sendto relay") for number in range(1, 20)]
    (moment,) = window(whole)
    assert moment == Point("recvfrom relay", 19)
    for seed in range(20):
        chosen = sample(whole, 3, random.Random(seed), window(whole))
        assert moment in chosen
        assert len(set(chosen)) == 3
    assert sorted(sample(whole, 1000, random.Random(2), window(whole))) == sorted(whole)
    assert window([Point("recvfrom store", 1)]) == set()
