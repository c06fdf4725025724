"""The embedded queue under the contract suite: one real file, emptied for each test."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailculator.stores.sqlite import SqliteStore, open_queue
from mailculator.stores.sqlite_schema import SqliteSchema
from tests.support.sql_harness import OWN_TIMES, SqlHands

_TIMES = ("created_at", "updated_at", "due_at", "lease_until", "failing_since", "reached_at")


_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files wait for no disk. What a disk has kept when the power fails is not what the contract is about."""


class SqliteHarness(SqlHands):
    """A file in a directory of its own."""

    name = "sqlite"
    server = "SQLite 3."
    files = "sqlite"
    taken = sqlite3.IntegrityError

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mailculator-sqlite-", dir=_MEMORY)
        self.path = Path(self._folder.name) / "queue.db"
        self._stores: list[SqliteStore] = []
        # Kept open, so that no test's last close folds the log into the file: that alone would cost most of the suite.
        self._producer: sqlite3.Connection | None = None

    async def fresh(self, *, service: bool = True) -> SqliteStore:
        await self._close_stores()
        if self.path.exists():
            await self.empty("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return await self._open(service=service)

    async def another(self) -> SqliteStore:
        return await self._open(service=False)

    def schema(self) -> SqliteSchema:
        return SqliteSchema(self.path)

    async def rewind(self, seconds: float) -> None:
        def earlier(*columns: str) -> str:
            return ", ".join(f"{column} = {column} - {round(seconds * 1000)}" for column in columns)

        await self.execute_all(
            [
                f"UPDATE emails SET {earlier(*_TIMES)}, ttl = ttl - {round(seconds)}",
                f"UPDATE email_status_history SET {earlier('created_at')}",
                *(f"UPDATE {table} SET {earlier(*columns)}" for table, columns in OWN_TIMES.items()),
            ]
        )

    async def execute(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return await asyncio.to_thread(self._run, sql, parameters)

    async def execute_all(self, statements: Sequence[str]) -> None:
        await asyncio.to_thread(self._run_all, statements)

    def _run(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        if self._producer is None:
            self._producer = sqlite3.connect(self.path, timeout=10, check_same_thread=False)
            self._producer.execute("PRAGMA synchronous = OFF")
        with self._producer:
            return self._producer.execute(sql, parameters).fetchall()

    def _run_all(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self._run(statement, ())

    async def close(self) -> None:
        await self._close_stores()
        if self._producer is not None:
            self._producer.close()
        self._folder.cleanup()

    async def _open(self, *, service: bool) -> SqliteStore:
        store = await open_queue(self.path, service=service)
        self._stores.append(store)
        return store

    async def _close_stores(self) -> None:
        while self._stores:
            await self._stores.pop().close()
