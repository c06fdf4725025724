"""Queues side by side, each with a lane on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.stores.sqlite_schema import SqliteSchema
from tests.acceptance.conftest import mariadb_server
from tests.chaos.ground import DynamodbGround, SqlGround
from tests.support import mariadb
from tests.support.dynamodb_bench import fresh_bench
from tests.support.dynamodb_harness import DynamodbHarness
from tests.support.mariadb_queue import mariadb_variables
from tests.support.producer import MariadbProducer, SqliteProducer
from tests.support.scenario import Queue, Variables
from tests.syscalls.campaign import Campaign
from tests.syscalls.lane import Lane

__all__ = ["mariadb_server"]

LANES = {"mysql": 4, "sqlite": 4, "dynamodb": 1}
"""Side by side; an emulator has no time for two at once."""


OpenLane = Callable[[Path], AbstractAsyncContextManager[Lane]]


@pytest.fixture(params=["mysql", "sqlite", pytest.param("dynamodb", marks=[pytest.mark.dynamodb, pytest.mark.long])])
def store(request: pytest.FixtureRequest) -> tuple[str, OpenLane]:
    """Its name, and how a lane on it comes about."""
    if request.param == "mysql":
        return "mysql", partial(_mariadb_lane, request.getfixturevalue("mariadb_server"))
    return request.param, {"sqlite": _sqlite_lane, "dynamodb": _dynamodb_lane}[request.param]


@pytest.fixture
async def campaign(store: tuple[str, OpenLane], tmp_path: Path) -> AsyncIterator[Campaign]:
    name, open_lane = store
    async with AsyncExitStack() as stack:
        folders = [tmp_path / str(number) for number in range(LANES[name])]
        yield Campaign(name, [await stack.enter_async_context(open_lane(folder)) for folder in folders])


@asynccontextmanager
async def _mariadb_lane(server: PrivateMariadb, folder: Path) -> AsyncIterator[Lane]:
    settings = await mariadb.new_database(server)
    database = settings.mysql_database
    variables = mariadb_variables(server, database)
    producer = MariadbProducer(port=server.port, database=database)
    yield Lane(SqlGround(Queue("mysql", variables, producer)), folder, ports={server.port: "store"})
    producer.close()
    mariadb.execute(server, "mysql", f"DROP DATABASE {database}")


@asynccontextmanager
async def _sqlite_lane(folder: Path) -> AsyncIterator[Lane]:
    path = folder / "queue.db"
    folder.mkdir()
    await SqliteSchema(path).apply(lambda _: None)
    producer = SqliteProducer(path)
    variables: Variables = {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": path}
    yield Lane(SqlGround(Queue("sqlite", variables, producer)), folder, paths=[(path, "store")])
    producer.close()


@asynccontextmanager
async def _dynamodb_lane(folder: Path) -> AsyncIterator[Lane]:
    harness = DynamodbHarness()
    try:
        async with fresh_bench(harness) as bench:
            ground = DynamodbGround(bench.records, bench.variables, look_every=1.0)
            port = urlsplit(bench.endpoint.endpoint_url).port
            assert port is not None
            yield Lane(ground, folder, ports={port: "store"})
    finally:
        await harness.close()
