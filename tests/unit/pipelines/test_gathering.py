from __future__ import annotations

import asyncio

from mailculator.pipelines.gathering import SHARE, Gathering
from tests.support.clock import FakeClock

MOST = 0.25
TOOK = 1 / 128


class Bench:
    """Somebody who writes, and waits for results to gather."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.gathering = Gathering(self.clock, most=MOST)

    async def pause(self, step: float = 1 / 128) -> float:
        """Seconds until the next write, in steps."""
        began = self.clock.now()
        waiting = asyncio.create_task(self.gathering.wait())
        await self.clock.settle()
        while not waiting.done():
            await self.clock.advance(step)
        return self.clock.now() - began


async def test_without_a_backlog_a_write_is_followed_by_a_pause_by_how_dear_it_was() -> None:
    bench = Bench()
    assert await bench.pause() == 0.0
    for _ in range(3):
        bench.gathering.wrote(TOOK, backlog=False)
        assert await bench.pause() == SHARE * TOOK
    bench.gathering.wrote(10.0, backlog=False)
    assert await bench.pause() == MOST


async def test_with_a_backlog_the_pause_doubles_up_to_the_longest_and_begins_anew_after_it() -> None:
    bench = Bench()
    pauses = []
    for _ in range(6):
        bench.gathering.wrote(TOOK, backlog=True)
        pauses.append(await bench.pause())
    assert pauses == [SHARE * TOOK * times for times in (1, 2, 4)] + [MOST] * 3
    bench.gathering.wrote(TOOK, backlog=False)
    assert await bench.pause() == SHARE * TOOK
    bench.gathering.wrote(TOOK, backlog=True)
    assert await bench.pause() == 2 * SHARE * TOOK


async def test_a_backlog_that_is_gone_cuts_the_pause_to_what_the_write_makes_worth_while() -> None:
    bench = Bench()
    for _ in range(6):
        bench.gathering.wrote(TOOK, backlog=True)
    bench.gathering.hurry()
    assert await bench.pause() == SHARE * TOOK
    bench.gathering.wrote(TOOK, backlog=True)
    assert await bench.pause() == MOST, "the next is a new one"


async def test_enough_ends_the_pause_at_once_and_the_next_write_begins_another() -> None:
    bench = Bench()
    bench.gathering.wrote(TOOK, backlog=True)
    bench.gathering.enough()
    assert await bench.pause() == 0.0
    bench.gathering.wrote(TOOK, backlog=False)
    assert await bench.pause() == SHARE * TOOK
