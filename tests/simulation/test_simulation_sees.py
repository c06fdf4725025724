"""The simulation would see the service do what it must not: three of ten defects, each within its first worlds.

The others are tried by hand, with `MAILCULATOR_TEST_SIMULATION_DEFECTS=all`.
"""

from __future__ import annotations

import os
import random

import pytest

from mailculator.pipelines.inquest import ALONE
from tests.simulation.defects import DEFECTS
from tests.simulation.faults import MOST_BLOWS, Weather
from tests.simulation.seeds import explain
from tests.simulation.world import simulate

WITHIN = 200
MAILS = 20
QUICK = ("no_mark_of_the_dot", "any_answer_acknowledges", "no_renewal")
"""What the first worlds show; the others take up to fifty."""

pytestmark = pytest.mark.timeout(1800)


def chosen() -> list[str]:
    return sorted(DEFECTS) if os.environ.get("MAILCULATOR_TEST_SIMULATION_DEFECTS") == "all" else list(QUICK)


@pytest.mark.parametrize("defect", chosen())
def test_the_simulation_sees(defect: str) -> None:
    with DEFECTS[defect]():
        for seed in range(WITHIN):
            outcome = simulate(seed, MAILS)
            if outcome.faults:
                return
    raise AssertionError(f"{defect} was not seen in {WITHIN} worlds")


def test_a_world_that_does_not_hold_says_how_it_can_be_had_again() -> None:
    with DEFECTS["any_answer_acknowledges"]():
        outcome = next(one for one in (simulate(seed, MAILS) for seed in range(WITHIN)) if one.faults)
        again = simulate(outcome.seed, outcome.mails)
    assert again.faults == outcome.faults
    said = explain(outcome)
    assert f"MAILCULATOR_TEST_SIMULATION_SEED={outcome.seed} " in said
    assert outcome.faults[0] in said
    assert outcome.last[-1] in said


def test_no_mail_can_be_struck_often_enough_to_be_set_aside() -> None:
    for seed in range(200):
        weather = Weather(random.Random(seed), float, 100.0, lambda what: None)
        weather.draw(["one", "another"])
        assert len(weather.blows) <= MOST_BLOWS < ALONE + 1
