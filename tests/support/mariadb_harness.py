"""MariaDB under the contract suite: a real server in another time zone, one database, emptied for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pymysql

from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.stores.mariadb import MariadbStore, open_store
from mailculator.stores.mariadb_schema import MariadbSchema
from tests.support import mariadb
from tests.support.sql_harness import OWN_TIMES, SqlHands

_TIMES = ("created_at", "due_at", "lease_until", "failing_since", "reached_at")


class MariadbHarness(SqlHands):
    """A database of its own in the run's private server."""

    name = "mysql"
    server = "MariaDB "
    files = "mariadb"
    taken = pymysql.err.IntegrityError

    def __init__(self) -> None:
        self._exit = AsyncExitStack()
        self._stores: list[MariadbStore] = []
        self._server: PrivateMariadb | None = None
        self._settings: Settings | None = None

    async def fresh(self) -> MariadbStore:
        await self._close_stores()
        if self._settings is None:
            self._server = await self._exit.enter_async_context(mariadb.shared_mariadb())
            self._settings = await mariadb.new_database(self._server)
        else:
            await self.empty(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
            )
        return await self._open(service=True)

    async def another(self) -> MariadbStore:
        return await self._open(service=False)

    def schema(self) -> MariadbSchema:
        assert self._settings is not None
        return MariadbSchema(self._settings)

    async def rewind(self, seconds: float) -> None:
        # updated_at is given a value as well, or the column would set itself to now.
        earlier = ", ".join(f"{column} = {column} - INTERVAL %s MICROSECOND" for column in (*_TIMES, "updated_at"))
        by = round(seconds * 1_000_000)
        await self._run(f"UPDATE emails SET {earlier}, ttl = ttl - %s", [by] * (len(_TIMES) + 1) + [round(seconds)])
        await self._run("UPDATE email_status_history SET created_at = created_at - INTERVAL %s MICROSECOND", [by])
        for table, columns in OWN_TIMES.items():
            earlier = ", ".join(f"{column} = {column} - INTERVAL %s MICROSECOND" for column in columns)
            await self._run(f"UPDATE {table} SET {earlier}", [by] * len(columns))

    async def execute(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return await self._run(sql.replace("%", "%%").replace("?", "%s") if parameters else sql, parameters)

    async def _run(self, sql: str, parameters: Sequence[object]) -> Sequence[tuple[Any, ...]]:
        assert self._server is not None
        assert self._settings is not None
        return await asyncio.to_thread(mariadb.execute, self._server, self._settings.mysql_database, sql, parameters)

    async def close(self) -> None:
        await self._close_stores()
        await self._exit.aclose()

    async def _open(self, *, service: bool) -> MariadbStore:
        assert self._settings is not None
        store = await open_store(self._settings, service=service)
        self._stores.append(store)
        return store

    async def _close_stores(self) -> None:
        while self._stores:
            await self._stores.pop().close()
