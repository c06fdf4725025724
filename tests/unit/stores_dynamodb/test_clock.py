"""The service's time, as whole seconds in answers let it be known."""

from __future__ import annotations

import random
from email.utils import formatdate

import pytest

from mailculator.errors import StoreUnavailable
from mailculator.events import StoreNoticed
from mailculator.stores.dynamodb.clock import DRIFT, SKEW, ServerClock
from tests.support.events import Recording


def no_wall() -> float:
    raise AssertionError("the machine's clock was asked")


class World:
    """A service whose clock is `ahead` of the monotonic one, and answers that take their time on both ways."""

    def __init__(self, ahead: float = 1_795_176_000.4) -> None:
        self.now = 50.0
        self.ahead = ahead
        self.rng = random.Random(7)
        self.clock = ServerClock(monotonic=lambda: self.now, wall=no_wall)

    @property
    def true(self) -> float:
        return self.now + self.ahead

    def answer(self, *, there: float = 0.002, back: float = 0.002) -> None:
        sent = self.now
        self.now += there
        date = formatdate(int(self.true), usegmt=True)
        self.now += back
        self.clock.heard(date, sent, self.now)

    def answers(self, count: int, *, every: float = 0.13) -> None:
        for _ in range(count):
            self.now += every * self.rng.random()
            self.answer(there=0.01 * self.rng.random(), back=0.01 * self.rng.random())

    @property
    def off(self) -> float:
        return abs(self.clock.now() - self.true)


def test_before_the_first_answer_nobody_knows() -> None:
    world = World()
    assert not world.clock.known
    with pytest.raises(StoreUnavailable, match="no answer yet"):
        world.clock.now()


@pytest.mark.parametrize("ahead", [0.0, 0.2, 0.5, 0.999])
def test_one_answer_tells_the_time_to_half_a_second(ahead: float) -> None:
    world = World(1_795_176_000 + ahead)
    world.answer()
    assert world.clock.known
    assert world.off <= 0.5 + SKEW + 0.004
    assert world.off <= world.clock.error


@pytest.mark.parametrize("seed", range(20))
def test_many_answers_tell_it_to_a_tenth(seed: int) -> None:
    world = World(1_795_176_000 + random.Random(seed).random())
    world.answers(100)
    assert world.off <= world.clock.error <= SKEW + 0.03


def test_a_slow_answer_takes_away_nothing() -> None:
    world = World()
    world.answers(100)
    before = world.clock.error
    world.answer(there=2.0, back=3.0)
    assert world.clock.error <= before + 5 * DRIFT + 1e-6


def test_time_goes_on_between_answers() -> None:
    world = World()
    world.answers(100)
    world.now += 3600.0
    assert world.off <= world.clock.error


def test_clocks_that_part_slowly_are_followed() -> None:
    world = World()
    world.answers(100)
    for _ in range(200):
        world.now += 60.0
        world.ahead += 60.0 * DRIFT * 0.8
        world.answer()
        assert world.off <= world.clock.error
    assert world.clock.error < 0.3


@pytest.mark.parametrize("step", [3600.0, 2.5, -2.5, -86400.0])
def test_a_clock_that_was_set_is_believed(step: float) -> None:
    world = World()
    world.answers(100)
    world.ahead += step
    world.answer()
    assert world.off <= 0.5 + SKEW + 0.004
    world.answers(100)
    assert world.off <= world.clock.error <= SKEW + 0.03


def test_servers_that_differ_a_little_are_one_clock() -> None:
    world = World()
    world.answers(100)
    before = world.clock.error
    for number in range(100):
        world.now += 0.01
        world.ahead += SKEW * (0.9 if number % 2 else -0.9)
        world.answer()
        world.ahead -= SKEW * (0.9 if number % 2 else -0.9)
    assert world.clock.error <= before


def test_it_never_goes_back_while_it_is_narrowed_down() -> None:
    world = World()
    world.answer()
    told = [world.clock.now()]
    for _ in range(300):
        world.answers(1, every=0.01)
        told.append(world.clock.now())
    assert told == sorted(told)


def test_the_machines_clock_is_used_where_answers_carry_no_date_and_somebody_is_told() -> None:
    seen = Recording()
    clock = ServerClock(monotonic=lambda: 60.0, wall=lambda: 5000.0, observer=seen)
    clock.heard(None, 49.0, 50.0)
    clock.heard("not a date", 59.0, 60.0)
    assert clock.now() == 5010.0
    (notice,) = seen.of(StoreNoticed)
    assert (notice.kind, notice.detail) == ("clock", "answers carry no date: this machine's own clock is used")


def test_a_date_ends_the_use_of_the_machines_clock() -> None:
    clock = ServerClock(monotonic=lambda: 50.0, wall=lambda: 5000.0)
    clock.heard(None, 49.0, 50.0)
    clock.heard(formatdate(9000, usegmt=True), 50.0, 50.0)
    assert clock.now() == pytest.approx(9000.5)


def test_an_answer_without_a_date_changes_nothing_later() -> None:
    world = World()
    world.answers(100)
    before = world.clock.now()
    world.clock.heard(None, world.now, world.now)
    assert world.clock.now() == before
