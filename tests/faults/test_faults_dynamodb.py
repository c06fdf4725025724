"""The way to DynamoDB falls ill, in each way and in each phase: nothing is lost, nothing is sent twice, and the queue
beside it is worked on as before. It is moto here.

`MAILCULATOR_TEST_FAULTS=all MAILCULATOR_TEST_FAULTS_REPEATS=5` makes it a matter of half an hour.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chaos.ground import DynamodbGround, Ground
from tests.faults.cells import Cell, Dependency, chosen
from tests.faults.course import embedded, go_through, time_limit
from tests.faults.tally import Tally
from tests.faults.trial import Trial
from tests.support.dynamodb_bench import Bench

DEPENDENCY = Dependency.DYNAMODB
LOOK_EVERY = 0.5

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(time_limit())]


@pytest.mark.parametrize("cell", chosen(DEPENDENCY), ids=str)
async def test_dynamodb(cell: Cell, tally: Tally, bench: Bench, tmp_path: Path) -> None:
    await go_through(cell, partial(_prepare, bench), tally, tmp_path)


async def _prepare(bench: Bench, cell: Cell, rng: random.Random, folder: Path, exits: AsyncExitStack) -> Trial:
    # One table for all, emptied for each: they come one after the other.
    await bench.harness.fresh()
    sick = DynamodbGround(bench.records, bench.variables, look_every=LOOK_EVERY)
    port = urlsplit(str(bench.endpoint.endpoint_url)).port
    assert port is not None
    grounds: list[Ground] = [sick, await embedded(folder, exits)]
    return Trial(cell, grounds, rng, folder, port, lambda port: {"AWS_BASE_ENDPOINT": f"http://127.0.0.1:{port}"})
