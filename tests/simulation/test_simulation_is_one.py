"""A seed is one world: the same history each time, in every process, whatever Python hashes."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.loop import RealWorld, VirtualLoop, owner
from tests.simulation.seeds import seeds
from tests.simulation.world import simulate

ROOT = Path(__file__).parents[2]
MAILS = 20
ELSEWHERE = """
import sys
from tests.simulation.world import simulate
print(*(simulate(int(seed), int(sys.argv[1])).digest for seed in sys.argv[2:]))
"""

pytestmark = pytest.mark.timeout(600)


def digests(count: int) -> tuple[list[int], list[str]]:
    chosen = [5 + 7 * number for number in range(count)]
    return chosen, [simulate(seed, MAILS).digest for seed in chosen]


def test_the_same_seed_has_the_same_history() -> None:
    _, once = digests(2)
    _, again = digests(2)
    assert once == again
    assert len(set(once)) == len(once)


@pytest.mark.parametrize("hashes", ["0", "1"])
def test_in_another_process_as_well(hashes: str) -> None:
    chosen, here = digests(2)
    there = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(MAILS), *map(str, chosen)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    assert there.stdout.split() == here


def test_nothing_of_the_machine_is_reached() -> None:
    loop = VirtualLoop(random.Random(1))
    try:
        with pytest.raises(RealWorld, match="sockets"):
            loop.run_until_complete(asyncio.open_connection("127.0.0.1", 1))
        with pytest.raises(RealWorld, match="names"):
            loop.run_until_complete(loop.getaddrinfo("localhost", 25))
        with pytest.raises(RealWorld, match="hang"):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()


def test_time_is_made_up_and_in_order() -> None:
    loop = VirtualLoop(random.Random(1))
    came: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        came.append((name, loop.time()))

    async def both() -> None:
        await asyncio.gather(wait("late", 7200.0), wait("early", 3600.0))

    try:
        loop.run_until_complete(both())
    finally:
        loop.close()
    assert came == [("early", 3600.0), ("late", 7200.0)]


def test_who_is_killed_tells_nobody_and_who_is_frozen_goes_on() -> None:
    loop = VirtualLoop(random.Random(1))
    told: list[tuple[str, float]] = []
    killed, frozen = loop.add("killed"), loop.add("frozen")

    async def tell(name: str) -> None:
        try:
            await asyncio.sleep(10.0)
        finally:
            told.append((f"{name}, alive: {owner().alive}", loop.time()))

    async def watch() -> None:
        killed.context.run(loop.create_task, tell("killed"))
        frozen.context.run(loop.create_task, tell("frozen"))
        await asyncio.sleep(5.0)
        killed.kill()
        frozen.frozen = True
        await asyncio.sleep(95.0)
        frozen.thaw()
        await asyncio.sleep(1.0)

    try:
        loop.run_until_complete(watch())
    finally:
        loop.close()
    assert told == [("killed, alive: False", 5.0), ("frozen, alive: True", 100.0)]


def test_every_cell_has_seeds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILCULATOR_TEST_SIMULATION_SEEDS", "45")
    monkeypatch.delenv("MAILCULATOR_TEST_SIMULATION_SEED", raising=False)
    monkeypatch.delenv("MAILCULATOR_TEST_SIMULATION_FIRST", raising=False)
    assert sorted(seed for cell in range(20) for seed in seeds(cell)) == list(range(45))
