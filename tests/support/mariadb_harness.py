"""MariaDB under the contract suite: a real server in another time zone, one database, emptied for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from typing import Any

import pymysql

from mailculator.config import Settings
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
        self._settings: Settings | None = None
        self._hands: mariadb.Hands | None = None

    async def fresh(self, *, service: bool = True) -> MariadbStore:
        await self._close_stores()
        if self._settings is None:
            server = await self._exit.enter_async_context(mariadb.shared_mariadb())
            self._settings = await mariadb.new_database(server)
            self._hands = self._exit.enter_context(closing(mariadb.Hands(server, self._settings.mysql_database)))
        else:
            await self.empty(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
            )
        return await self._open(service=service)

    async def another(self) -> MariadbStore:
        return await self._open(service=False)

    def schema(self) -> MariadbSchema:
        assert self._settings is not None
        return MariadbSchema(self._settings)

    async def rewind(self, seconds: float) -> None:
        def earlier(*columns: str) -> str:
            by = f"INTERVAL {round(seconds * 1_000_000)} MICROSECOND"
            return ", ".join(f"{column} = {column} - {by}" for column in columns)

        await self.execute_all(
            [
                # updated_at is given a value as well, or the column would set itself to now.
                f"UPDATE emails SET {earlier(*_TIMES, 'updated_at')}, ttl = ttl - {round(seconds)}",
                f"UPDATE email_status_history SET {earlier('created_at')}",
                *(f"UPDATE {table} SET {earlier(*columns)}" for table, columns in OWN_TIMES.items()),
            ]
        )

    async def execute(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        assert self._hands is not None
        in_its_dialect = sql.replace("%", "%%").replace("?", "%s") if parameters else sql
        return await asyncio.to_thread(self._hands.execute, in_its_dialect, parameters)

    async def execute_all(self, statements: Sequence[str]) -> None:
        await asyncio.to_thread(self._run_all, statements)

    def _run_all(self, statements: Sequence[str]) -> None:
        assert self._hands is not None
        for statement in statements:
            self._hands.execute(statement)

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
