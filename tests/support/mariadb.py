"""One private mariadbd for a whole run of the tests, and databases in it."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.stores.mariadb_schema import MariadbSchema

_numbers = itertools.count(1)


class _Shared:
    server: PrivateMariadb | None = None
    users = 0


@asynccontextmanager
async def shared_mariadb() -> AsyncIterator[PrivateMariadb]:
    """The run's own server: started for the first who asks, ended with the last. Session fixtures hold it."""
    _Shared.users += 1
    try:
        if _Shared.server is None:
            _Shared.server = PrivateMariadb(arguments=("--default-time-zone=+02:00",))
            await _Shared.server.start()
        yield _Shared.server
    finally:
        _Shared.users -= 1
        if _Shared.users == 0 and _Shared.server is not None:
            await _Shared.server.close()
            _Shared.server = None


async def new_database(server: PrivateMariadb, **changes: Any) -> Settings:
    """A database with the current schema, and the settings that lead to it."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    execute(server, "mysql", f"CREATE DATABASE {name}")
    settings = settings_for(server, name, **changes)
    await MariadbSchema(settings).apply(lambda _: None)
    return settings


def settings_for(server: PrivateMariadb, database: str, **changes: Any) -> Settings:
    """Settings that lead to a database of `server`, as its root."""
    values = {
        "mysql_host": server.host,
        "mysql_port": server.port,
        "mysql_user": server.user,
        "mysql_password": server.password,
        "mysql_database": database,
        **changes,
    }
    return Settings(**values)


class Hands:
    """Other programs' hands on one database: each statement on a connection that no other has at that moment.

    Connections are kept for the next, since to open one costs more than most statements. They may be used from any
    thread.
    """

    def __init__(self, server: PrivateMariadb, database: str) -> None:
        self._server = server
        self._database = database
        self._idle: list[pymysql.Connection[Cursor]] = []

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Sequence[tuple[Any, ...]]:
        """As the function of that name. Errors: the driver's."""
        connection = self._idle.pop() if self._idle else connect(self._server, self._database)
        try:
            rows = _answer(connection, sql, parameters)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return rows

    def close(self) -> None:
        """End what is kept."""
        while self._idle:
            self._idle.pop().close()


def execute(
    server: PrivateMariadb, database: str, sql: str, parameters: Sequence[object] = ()
) -> Sequence[tuple[Any, ...]]:
    """A statement as a producer or an operator gives it: on a connection of its own, in the server's time zone."""
    with connect(server, database) as connection:
        return _answer(connection, sql, parameters)


def _answer(connection: pymysql.Connection[Cursor], sql: str, parameters: Sequence[object]) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, tuple(parameters) or None)
        return tuple(cursor.fetchall())


def connect(server: PrivateMariadb, database: str) -> pymysql.Connection[Cursor]:
    """A blocking connection, for a session that has to stay open."""
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=database,
        charset="utf8mb4",
        autocommit=True,
        # Left to itself it loads every CA of the machine first, for a server that has no TLS.
        ssl_disabled=True,
    )
