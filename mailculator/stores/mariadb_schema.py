"""The schema in MariaDB: how it stands, and bringing it to where this program needs it."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import mailculator
from mailculator.config import Settings
from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.retry import spread
from mailculator.stores import mariadb_layout, schema_files
from mailculator.stores.base import SchemaState
from mailculator.stores.mariadb import NAME as STORE
from mailculator.stores.mariadb import endpoint, reread_password
from mailculator.stores.mariadb_connection import Connection
from mailculator.stores.mariadb_door import Door
from mailculator.stores.mariadb_errors import Aborted
from mailculator.stores.mariadb_wire import Result
from mailculator.stores.schema_files import SchemaFile

OLDEST_SERVER = (10, 11)

_DAY = 86400.0
_RECORDS = {"mailculator_schema", "mailculator_meta"}
_LOCK = "CONCAT('mailculator.', MD5(DATABASE()))"


class MariadbSchema:
    """The schema of the database that the settings name.

    Arguments:
        files: the schema files in their order; None for those this program came with.
        version: this service's version.
        timeout: seconds for each look, half of it for connecting; None for the settings' own.
        patience: seconds for which a statement that cannot get its lock is tried again.
        pause: seconds between two such tries, so that whoever queued behind us gets through; half of it is random.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        files: Sequence[SchemaFile] | None = None,
        version: str = mailculator.__version__,
        timeout: float | None = None,
        patience: float = 600.0,
        pause: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._files = tuple(files) if files is not None else schema_files.schema_files("mariadb")
        self._version = version
        self._timeout = timeout if timeout is not None else settings.timing.store_timeout
        self._patience = patience
        self._pause = pause
        self._clock = clock
        self._rng = rng or random.Random()

    async def state(self) -> SchemaState:
        """Look, change nothing. Errors: StoreUnavailable; StoreRejected when this user may not look."""
        async with self._session("schema state", self._timeout) as session:
            return await self._look(session)

    async def apply(self, progress: Callable[[str], None]) -> tuple[str, ...]:
        """Bring it to the current schema; any number of times, by any number of processes.

        What was begun and cut short is taken up from its first statement. Where every file is on record and something
        is missing all the same, the files are run again, unless a newer service has files of its own there.

        Errors: StoreUnavailable when the database goes away, or somebody holds a table for longer than `patience`;
            StoreRejected for what the server refuses. After either, call it again.
        """
        # A DDL statement takes as long as it takes; what bounds it is the lock wait that the files set.
        async with self._session("schema apply", _DAY) as session:
            await self._check_server(session)
            await self._lock(session, progress)
            todo = self._todo(await self._look(session))
            for file in todo:
                await self._run(session, file, progress)
            return tuple(file.name for file in todo)

    def _todo(self, state: SchemaState) -> list[SchemaFile]:
        if state.pending:
            return [file for file in self._files if file.name in state.pending]
        unknown = set(state.applied) - {file.name for file in self._files}
        return list(self._files) if state.differences and not unknown else []

    async def _look(self, session: _Session) -> SchemaState:
        tables = (await session.ask(mariadb_layout.TABLES_SQL)).rows
        found = mariadb_layout.Found(
            tables=tables,
            columns=(await session.ask(mariadb_layout.COLUMNS_SQL)).rows,
            indexes=(await session.ask(mariadb_layout.INDEXES_SQL)).rows,
            cascade=(await session.ask(mariadb_layout.CASCADE_SQL)).rows,
        )
        names = {row[0] for row in tables}
        applied: tuple[str, ...] = ()
        oldest: str | None = None
        if "mailculator_schema" in names:
            applied = tuple(
                row[0] for row in (await session.ask("SELECT name FROM mailculator_schema ORDER BY name")).rows
            )
        if "mailculator_meta" in names:
            rows = (await session.ask("SELECT value FROM mailculator_meta WHERE name = 'oldest_service'")).rows
            oldest = rows[0][0] if rows else None
        pending = schema_files.pending(self._files, applied)
        missing, others = found.differences()
        refusal = schema_files.refusal(pending, oldest, version=self._version)
        if refusal is not None and not names >= _RECORDS:
            # A user sees only tables on which it has a right.
            refusal = (
                "the database has no mailculator schema, or this user may not read mailculator_schema and"
                f" mailculator_meta; {schema_files.APPLY}"
            )
        if refusal is None and missing:
            refusal = f"the schema is damaged ({'; '.join(missing)}); {schema_files.APPLY}"
        return SchemaState(applied, pending, oldest, missing + others, refusal)

    async def _check_server(self, session: _Session) -> None:
        version = str((await session.ask("SELECT VERSION()")).rows[0][0])
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if "MariaDB" not in version or numbers < OLDEST_SERVER:
            raise StoreRejected(
                STORE, session.op, f"the schema files need MariaDB 10.11 or later, and this is {version}"
            )

    async def _lock(self, session: _Session, progress: Callable[[str], None]) -> None:
        """One run at a time, ours or one by hand: the files take the same lock, which its holder may take again."""
        if (await session.ask(f"SELECT GET_LOCK({_LOCK}, 0)")).rows[0][0] == 1:
            return
        progress("another run is changing this schema: waiting for it")
        if (await session.ask(f"SELECT GET_LOCK({_LOCK}, {self._patience:.3f})")).rows[0][0] != 1:
            detail = f"another run has been changing this schema for {self._patience:g} s"
            raise StoreUnavailable(STORE, session.op, detail)

    async def _run(self, session: _Session, file: SchemaFile, progress: Callable[[str], None]) -> None:
        for statement in statements(file.sql):
            step = await self._step(session, statement)
            if step is not None:
                progress(f"{file.name}: {step}")
            await self._insist(session, statement, progress)

    async def _step(self, session: _Session, statement: str) -> str | None:
        """What to tell of a statement; None for those that only prepare another, or decide that there is none."""
        if statement == "EXECUTE IMMEDIATE @sql":
            statement = str((await session.ask("SELECT @sql")).rows[0][0])
        words = " ".join(statement.split())
        return None if words.startswith(("SET ", "DO ")) else words[:100]

    async def _insist(self, session: _Session, statement: str, progress: Callable[[str], None]) -> None:
        """Run a statement, again while its table is in use.

        The files let a statement wait for its lock for two seconds only: while a DDL statement waits, everybody who
        comes after it waits as well. Between two tries they all get through.
        """
        deadline = self._clock() + self._patience
        while True:
            try:
                await session.ask(statement)
            except Aborted as error:
                if self._clock() >= deadline:
                    detail = f"a transaction has held the table for {self._patience:g} s (see SHOW PROCESSLIST)"
                    raise StoreUnavailable(STORE, session.op, f"{detail}: {error.detail}") from error
            else:
                return
            progress("  a transaction holds the table: trying again")
            await asyncio.sleep(spread(self._pause, self._rng))

    @asynccontextmanager
    async def _session(self, op: str, statement_timeout: float) -> AsyncIterator[_Session]:
        settings = self._settings
        target = replace(endpoint(settings), timeout=statement_timeout)
        try:
            async with asyncio.timeout(self._timeout / 2):
                connection = await Door(target, reread_password).open()
        except TimeoutError as error:
            where = f"{target.host}:{target.port}"
            raise StoreUnavailable(
                STORE, "connect", f"{where} did not answer within {self._timeout / 2:g} s"
            ) from error
        try:
            yield _Session(connection, op)
        finally:
            connection.close()
            # The transport reports its end one turn of the loop later.
            await asyncio.sleep(0)


class _Session:
    """A connection that knows which verb it works for."""

    def __init__(self, connection: Connection, op: str) -> None:
        self._connection = connection
        self.op = op

    async def ask(self, sql: str) -> Result:
        return await self._connection.execute(self.op, sql)


def statements(sql: str) -> list[str]:
    """The statements of a schema file: each ends with a semicolon at the end of a line, a comment has its own lines."""
    lines = (line.rstrip() for line in sql.splitlines() if not line.lstrip().startswith("--"))
    parts = re.split(r";$", "\n".join(lines), flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
