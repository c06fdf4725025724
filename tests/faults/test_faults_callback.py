"""The way to the callback falls ill, in each way and in each phase: mail is taken in and sent as before, and nothing
counts as acknowledged that was not answered 2xx.

`MAILCULATOR_TEST_FAULTS=all MAILCULATOR_TEST_FAULTS_REPEATS=5` makes it a matter of a quarter of an hour.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.cells import Cell, Dependency, chosen
from tests.faults.course import embedded, go_through, time_limit
from tests.faults.tally import Tally
from tests.faults.trial import Trial

DEPENDENCY = Dependency.CALLBACK

pytestmark = pytest.mark.timeout(time_limit())


@pytest.mark.parametrize("cell", chosen(DEPENDENCY), ids=str)
async def test_the_callback(cell: Cell, tally: Tally, tmp_path: Path) -> None:
    await go_through(cell, _prepare, tally, tmp_path)


async def _prepare(cell: Cell, rng: random.Random, folder: Path, exits: AsyncExitStack) -> Trial:
    return Trial(cell, [await embedded(folder, exits)], rng, folder)
