"""The way to MariaDB falls ill, in each way and in each phase: nothing is lost, nothing is sent twice, and the queue
beside it is worked on as before.

`MAILCULATOR_TEST_FAULTS=all MAILCULATOR_TEST_FAULTS_REPEATS=5` makes it a matter of a quarter of an hour.
"""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from tests.chaos.ground import SqlGround
from tests.faults.cells import Cell, Dependency, chosen
from tests.faults.course import embedded, go_through, time_limit
from tests.faults.tally import Tally
from tests.faults.trial import Trial
from tests.support import mariadb
from tests.support.mariadb_queue import mariadb_variables
from tests.support.producer import MariadbProducer
from tests.support.scenario import Queue

DEPENDENCY = Dependency.MARIADB

pytestmark = pytest.mark.timeout(time_limit())


@pytest.mark.parametrize("cell", chosen(DEPENDENCY), ids=str)
async def test_mariadb(cell: Cell, tally: Tally, mariadb_server: PrivateMariadb, tmp_path: Path) -> None:
    await go_through(cell, partial(_prepare, mariadb_server), tally, tmp_path)


async def _prepare(
    server: PrivateMariadb, cell: Cell, rng: random.Random, folder: Path, exits: AsyncExitStack
) -> Trial:
    name = (await mariadb.new_database(server)).mysql_database
    producer = MariadbProducer(port=server.port, database=name)
    exits.callback(producer.close)
    variables = mariadb_variables(server, name)
    grounds = [SqlGround(Queue("mysql", variables, producer)), await embedded(folder, exits)]
    return Trial(cell, grounds, rng, folder, server.port, lambda port: {"MYSQL_PORT": port})
