"""Databases of a private MariaDB, one for each test, and what a test wants to know of their schema."""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.stores.mariadb_schema import MariadbSchema
from tests.support import older_service
from tests.support.older_service import Session

SQL = Path(__file__).parents[2] / "sql" / "mariadb"

_numbers = itertools.count(1)


@dataclass
class Database:
    """One database of the private server."""

    server: PrivateMariadb
    name: str

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "MYSQL_HOST": self.server.host,
                "MYSQL_PORT": self.server.port,
                "MYSQL_USER": self.server.user,
                "MYSQL_DATABASE": self.name,
            }
        )

    def schema(self, **options: Any) -> MariadbSchema:
        return MariadbSchema(self.settings, **{"pause": 0.01, **options})

    async def apply(self) -> tuple[str, ...]:
        return await self.schema().apply(lambda _: None)

    async def session(self) -> Session:
        return await Session.open(port=self.server.port, database=self.name)

    async def run(self, *batch: str) -> tuple[tuple[Any, ...], ...]:
        """Statements on a connection of their own; the rows of the last."""
        session = await self.session()
        try:
            rows: tuple[tuple[Any, ...], ...] = ()
            for sql in batch:
                rows = await session.run(sql)
            return rows
        finally:
            session.close()

    async def by_hand(self) -> None:
        """As a DBA does it: the client, and the files."""
        for path in sorted(SQL.glob("*.sql")):
            process = await asyncio.create_subprocess_exec(
                *("mariadb", "--no-defaults", "-h", self.server.host, "-P", str(self.server.port)),
                *("-u", self.server.user, self.name),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate(path.read_bytes())
            assert process.returncode == 0, output.decode()

    async def snapshot(self) -> dict[str, object]:
        """Everything about the schema that anybody could see, and nothing about the rows."""
        session = await self.session()
        try:
            found: dict[str, object] = {}
            for name, kind in await session.run("SHOW FULL TABLES"):
                if kind == "BASE TABLE":
                    created = (await session.run(f"SHOW CREATE TABLE {name}"))[0][1]
                    found[name] = re.sub(r" AUTO_INCREMENT=\d+", "", created)
                else:
                    view = await session.run(
                        "SELECT view_definition, check_option, is_updatable, security_type, character_set_client,"
                        " collation_connection, algorithm FROM information_schema.views"
                        " WHERE table_schema = DATABASE() AND table_name = ?",
                        name,
                    )
                    found[name] = tuple(str(value).replace(f"`{self.name}`.", "") for value in view[0])
            found["meta"] = await session.run("SELECT name, value FROM mailculator_meta ORDER BY name")
            found["applied"] = await session.run("SELECT name FROM mailculator_schema ORDER BY name")
            return found
        finally:
            session.close()


async def make(server: PrivateMariadb, *, older: int | None = None) -> Database:
    """A database of its own: empty, or the older service's with so many rows in every status."""
    database = Database(server, f"schema_{next(_numbers)}")
    session = await Session.open(port=server.port, database=None)
    try:
        await session.run(f"CREATE DATABASE {database.name}")
        if older is not None:
            await session.run(f"USE {database.name}")
            await older_service.create(session, rows=older)
    finally:
        session.close()
    return database
