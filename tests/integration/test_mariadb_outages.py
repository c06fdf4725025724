"""A MariaDB that dies, freezes or stops taking writes, and comes back, under a store that stays open."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreUnavailable
from mailculator.lifecycle import INTAKE
from mailculator.model import NewEmail
from mailculator.stores.base import Enqueued, Recorded
from mailculator.stores.mariadb import MariadbStore, open_store
from tests.support import mariadb


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[PrivateMariadb]:
    """One of our own: nobody else's tests may find it gone. Durable, since it is killed."""
    async with PrivateMariadb(durable=True) as running:
        yield running


@pytest.fixture(scope="module")
async def settings(server: PrivateMariadb) -> Settings:
    # Two seconds for a statement, so that a frozen server is noticed soon.
    settings = await mariadb.new_database(server, lease=15.0, time_scale=0.4)
    assert settings.timing.store_timeout == 2.0
    return settings


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[MariadbStore]:
    opened = await open_store(settings, service=True)
    yield opened
    await opened.close()


async def enqueue_one(store: MariadbStore) -> str:
    email_id = str(uuid.uuid4())
    assert await store.enqueue([NewEmail(email_id, "/p")]) == [Enqueued.CREATED]
    return email_id


async def warm_up(store: MariadbStore, connections: int) -> None:
    """Leave that many idle connections in the pool."""
    barrier = asyncio.Barrier(connections)

    async def hold() -> None:
        async with store._pool.session("test"):
            await barrier.wait()

    await asyncio.gather(*(hold() for _ in range(connections)))
    assert store._pool.open_connections == connections


async def test_a_killed_server_is_unavailable_and_welcome_again(server: PrivateMariadb, store: MariadbStore) -> None:
    email_id = await enqueue_one(store)
    (email,) = await store.claim(INTAKE, 1, lease=60, holder="me")
    move = lifecycle.move(email, lifecycle.Prepared("example.com"))
    await server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.record([move])
    await server.start()
    assert await store.record([move]) == [Recorded.DONE]
    assert [entry.version for entry in await store.history(email_id)] == [None, 2, 3]


async def test_connections_from_before_a_restart_cost_no_call(server: PrivateMariadb, store: MariadbStore) -> None:
    await warm_up(store, 4)
    await server.kill()
    await server.start()
    results = await asyncio.gather(*(store.ping() for _ in range(4)))
    assert all(result.writable for result in results)


async def test_a_frozen_server_costs_one_timeout_and_not_one_per_connection(
    server: PrivateMariadb, store: MariadbStore
) -> None:
    await warm_up(store, 4)
    server.pause()
    try:
        with pytest.raises(StoreUnavailable, match="no answer within 2 s"):
            await store.counts()
        assert store._pool.open_connections == 0
    finally:
        server.resume()
    await store.counts()


async def test_a_server_that_takes_no_writes_says_so_and_loses_nothing(
    server: PrivateMariadb, settings: Settings
) -> None:
    # Root may write all the same.
    database = settings.mysql_database
    mariadb.execute(server, "mysql", "CREATE OR REPLACE USER service@'127.0.0.1' IDENTIFIED BY 'pw'")
    mariadb.execute(server, "mysql", f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{database}`.* TO service@'127.0.0.1'")
    login = mariadb.settings_for(server, database, mysql_user="service", mysql_password="pw")
    store = await open_store(login, service=True)
    try:
        email_id = await enqueue_one(store)
        assert (await store.ping()).writable
        mariadb.execute(server, "mysql", "SET GLOBAL read_only = 1")
        assert not (await store.ping()).writable
        with pytest.raises(StoreUnavailable, match="error 1290"):
            await store.claim(INTAKE, 10, lease=60, holder="me")
        assert store._pool.open_connections == 0
        mariadb.execute(server, "mysql", "SET GLOBAL read_only = 0")
        assert [email.id for email in await store.claim(INTAKE, 10, lease=60, holder="me")] == [email_id]
    finally:
        mariadb.execute(server, "mysql", "SET GLOBAL read_only = 0")
        await store.close()
