"""Half of the worlds; see seeds.py for how many, and world.py for what they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.seeds import CELLS, Tally, tallied, time_limit

pytestmark = pytest.mark.timeout(time_limit())


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    with tallied("even seeds") as tally:
        yield tally


@pytest.mark.parametrize("cell", range(0, CELLS, 2), ids=lambda cell: f"cell{cell}")
def test_nothing_is_lost_and_nothing_doubled_in_worlds(tally: Tally, cell: int) -> None:
    tally.hold(cell)
