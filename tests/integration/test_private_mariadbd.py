"""The private server: it comes, goes and comes back with its data, leaves nothing behind, and says what it lacks."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pymysql
import pytest

from mailculator.demo import mariadbd
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import MailculatorError
from tests.support.older_service import Session


async def query(server: PrivateMariadb, *statements: str) -> object:
    session = await Session.open(port=server.port, database=None)
    try:
        return [await session.run(statement) for statement in statements][-1]
    finally:
        session.close()


async def test_it_keeps_its_data_and_port_over_a_stop_a_crash_and_a_restart() -> None:
    async with PrivateMariadb(durable=True) as server:
        port, directory = server.port, server.directory
        await query(server, "CREATE DATABASE kept", "CREATE TABLE kept.t (n INT) SELECT 7 AS n")
        for end in (server.stop, server.kill):
            await end()
            assert not server.running
            with pytest.raises(pymysql.err.OperationalError):
                await query(server, "SELECT 1")
            await server.restart()
            assert server.port == port
            assert await query(server, "SELECT n FROM kept.t") == ((7,),)
    assert not server.running
    assert not directory.exists()


async def test_a_directory_of_ones_own_stays() -> None:
    # Not pytest's: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="mdb-") as directory:
        async with PrivateMariadb(Path(directory)) as server:
            await query(server, "CREATE DATABASE kept")
        async with PrivateMariadb(Path(directory)) as again:
            assert await query(again, "SHOW DATABASES LIKE 'kept'") == (("kept",),)


async def test_paused_it_answers_nothing_and_resumed_it_does() -> None:
    async with PrivateMariadb() as server:
        session = await Session.open(port=server.port, database=None)
        server.pause()
        answer = asyncio.create_task(session.run("SELECT 1"))
        done, _ = await asyncio.wait([answer], timeout=0.05)
        assert not done
        server.resume()
        assert await answer == ((1,),)
        session.close()


async def test_a_server_that_does_not_come_up_says_why() -> None:
    server = PrivateMariadb(arguments=("--no-such-option",))
    with pytest.raises(MailculatorError, match="no-such-option"):
        await server.start()
    assert not server.running
    await server.close()
    assert not server.directory.exists()


async def test_a_missing_mariadbd_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mariadbd, "_PATH", "/nonexistent")
    server = PrivateMariadb()
    with pytest.raises(MailculatorError, match="apt-get install mariadb-server"):
        await server.start()
    await server.close()


async def test_several_at_once_leave_each_other_alone() -> None:
    # In one directory for temporary tables, a starting server deletes the others' (error 1051 in their installation).
    async def live() -> object:
        async with PrivateMariadb() as server:
            return await query(server, "SELECT @@tmpdir")

    assert len({str(answer) for answer in await asyncio.gather(*(live() for _ in range(4)))}) == 4
