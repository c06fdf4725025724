"""Several statements that are sent in one go: what becomes of those behind one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiomysql
import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreError, StoreRejected
from mailculator.stores.mariadb import endpoint
from mailculator.stores.mariadb_connection import Endpoint
from mailculator.stores.mariadb_door import connect
from mailculator.stores.mariadb_pool import Pool, Session
from tests.support import mariadb


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture(scope="session")
async def target(server: PrivateMariadb) -> Endpoint:
    return endpoint(await mariadb.new_database(server))


@asynccontextmanager
async def pool_of(size: int, target: Endpoint) -> AsyncIterator[Pool]:
    pool = Pool(partial(connect, target), size=size, timeout=10.0)
    try:
        yield pool
    finally:
        await pool.close()


async def test_what_follows_a_deadlock_in_one_go_is_not_committed(server: PrivateMariadb, target: Endpoint) -> None:
    """The server rolls all of it back at the deadlock, and runs what has been sent already."""
    for statement in (
        "CREATE OR REPLACE TABLE pair (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
        "INSERT INTO pair VALUES (1, 0), (2, 0)",
        "CREATE OR REPLACE TABLE told (attempt INT NOT NULL) ENGINE=InnoDB",
    ):
        mariadb.execute(server, target.database, statement)
    locked = {1: asyncio.Event(), 2: asyncio.Event()}
    attempts: list[int] = []

    async def add(first: int, second: int, session: Session) -> int:
        attempts.append(first)
        mine = len(attempts)
        await session.execute("UPDATE pair SET n = n + 1 WHERE id = %s", (first,))
        locked[first].set()
        await locked[second].wait()
        await session.execute_all(
            [
                session.filled("UPDATE pair SET n = n + 1 WHERE id = %s", (second,)),
                session.filled("INSERT INTO told VALUES (%s)", (mine,)),
            ]
        )
        return mine

    async with pool_of(2, target) as pool:
        done = await asyncio.gather(pool.run("test", partial(add, 1, 2)), pool.run("test", partial(add, 2, 1)))
    assert len(attempts) >= 3
    told = mariadb.execute(server, target.database, "SELECT attempt FROM told ORDER BY attempt")
    assert [attempt for (attempt,) in told] == sorted(done)


async def test_of_statements_in_one_go_the_first_refusal_tells(target: Endpoint) -> None:
    async with pool_of(1, target) as pool:
        with pytest.raises(StoreRejected, match="error 1146"):
            async with pool.transaction("test") as session:
                await session.execute_all(["SELECT 1", "SELECT 1 FROM nowhere", "SELECT nothing"])
        async with pool.session("test") as session:
            ((number,),) = (await session.execute("SELECT CONNECTION_ID()")).rows
            with pytest.raises(StoreError, match=r"error (1317|1927|1053)"):
                await session.execute_all([f"KILL {number}", "SELECT 1"])


async def test_a_server_that_is_no_mariadb_gets_one_statement_after_the_other(
    server: PrivateMariadb, target: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    mariadb.execute(server, target.database, "CREATE OR REPLACE TABLE single (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
    statements = ["INSERT INTO single VALUES (1, 0)", "SELECT 1 FROM nowhere", "INSERT INTO single VALUES (2, 0)"]
    connection = await connect(target)
    monkeypatch.setattr(aiomysql.Connection, "get_server_info", lambda _: "8.0.40")
    with pytest.raises(StoreRejected, match="error 1146"):
        await connection.execute_all("test", statements)
    connection.close()
    assert mariadb.execute(server, target.database, "SELECT id FROM single") == ((1,),)


async def test_a_connection_commits_by_itself_again_after_a_transaction(
    server: PrivateMariadb, target: Endpoint
) -> None:
    mariadb.execute(server, target.database, "CREATE OR REPLACE TABLE single (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
    async with pool_of(1, target) as pool:
        for number in (1, 3):
            async with pool.transaction("test") as session:
                await session.execute("INSERT INTO single VALUES (%s, 0)", (number,))
                assert (number,) not in mariadb.execute(server, target.database, "SELECT id FROM single")
            async with pool.session("test") as session:
                await session.execute("INSERT INTO single VALUES (%s, 0)", (number + 1,))
                assert (number + 1,) in mariadb.execute(server, target.database, "SELECT id FROM single")
