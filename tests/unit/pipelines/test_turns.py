from __future__ import annotations

import asyncio

import pytest

from mailculator.pipelines.turns import Turns


class Places:
    """Some places, and what keeps from waiting for them."""

    def __init__(self, count: int) -> None:
        self.why = ""
        self.turns = Turns(count, away=lambda: self.why)

    async def take(self, count: int) -> list[asyncio.Task[str]]:
        """So many tries; all of them have come as far as they can."""
        tries = [asyncio.create_task(self.turns.take()) for _ in range(count)]
        await asyncio.sleep(0)
        return tries


async def test_turns_come_in_order() -> None:
    places = Places(2)
    first, second, third, fourth = await places.take(4)
    assert (await first, await second) == ("", "")
    assert not third.done()
    places.turns.give_back()
    assert await third == ""
    assert not fourth.done()
    places.turns.give_back()
    assert await fourth == ""


async def test_a_place_that_nobody_waits_for_is_free_again() -> None:
    places = Places(1)
    for _ in range(3):
        assert await places.turns.take() == ""
        places.turns.give_back()


async def test_what_waits_is_told_why_it_need_not_as_soon_as_that_is_so() -> None:
    places = Places(1)
    first, *others = await places.take(3)
    places.why = "the relay is away"
    places.turns.look()
    assert await asyncio.gather(*others) == ["the relay is away"] * 2
    assert await first == ""
    assert await places.turns.take() == "the relay is away", "and so is what comes and would have to wait"
    places.turns.give_back()
    assert await places.turns.take() == "", "but not what finds a place: somebody has to find out"


async def test_what_changes_between_a_turn_and_its_taking_counts() -> None:
    places = Places(1)
    _first, second, third = await places.take(3)
    places.turns.give_back()
    places.why = "stopping"
    assert [await second, await third] == ["stopping"] * 2
    assert await places.turns.take() == "", "the place is free"


@pytest.mark.parametrize("handed", [False, True], ids=["waiting", "its turn had come"])
async def test_a_turn_of_one_that_was_cancelled_is_the_next_ones(handed: bool) -> None:
    places = Places(1)
    _first, second, third = await places.take(3)
    if handed:
        places.turns.give_back()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    if not handed:
        places.turns.give_back()
    assert second.cancelled()
    assert await third == ""
    places.turns.give_back()
    assert await places.turns.take() == ""
