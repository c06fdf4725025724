"""What the scenarios share: an empty queue of each kind, and a callback receiver."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from tests.support import mariadb
from tests.support.counting_sink import CountingCallback
from tests.support.mariadb_queue import new_mariadb_queue
from tests.support.outage_bench import Scene
from tests.support.producer import SqliteProducer
from tests.support.scenario import Queue, Variables, apply_schema
from tests.support.smtp_peer import SmtpPeer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
async def mariadb_server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as server:
        yield server


@pytest.fixture
async def mariadb_queue(mariadb_server: PrivateMariadb) -> AsyncIterator[Queue]:
    """An empty database with the current schema."""
    name = f"acceptance_{os.getpid()}_{next(_numbers)}"
    queue = await new_mariadb_queue(mariadb_server, name)
    yield queue
    queue.producer.close()
    await asyncio.to_thread(mariadb.execute, mariadb_server, "mysql", f"DROP DATABASE {name}")


@pytest.fixture
async def sqlite_queue(tmp_path: Path) -> AsyncIterator[Queue]:
    """A new file with the current schema."""
    path = tmp_path / "queue.db"
    variables: Variables = {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": path}
    await apply_schema(variables)
    producer = SqliteProducer(path)
    yield Queue("sqlite", variables, producer)
    producer.close()


@pytest.fixture
async def callback() -> AsyncIterator[CountingCallback]:
    peer = CountingCallback()
    async with peer:
        yield peer


@pytest.fixture
async def relay() -> AsyncIterator[SmtpPeer]:
    async with SmtpPeer() as peer:
        yield peer


@pytest.fixture(params=["mysql", "sqlite"])
def queue(request: pytest.FixtureRequest) -> Queue:
    found = request.getfixturevalue("mariadb_queue" if request.param == "mysql" else "sqlite_queue")
    assert isinstance(found, Queue)
    return found


@pytest.fixture
def scene(queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path) -> Scene:
    return Scene(dict(queue.variables), queue.producer, relay, callback, tmp_path)
