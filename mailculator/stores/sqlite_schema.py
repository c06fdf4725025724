"""The schema of an embedded queue: what stands in the file, and bringing it to the current one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from mailculator.errors import SchemaError
from mailculator.stores.base import SchemaState
from mailculator.stores.schema_files import SchemaFile, pending, refusal, schema_files
from mailculator.stores.sqlite_connection import NAME, connect, mapped


class SqliteSchema:
    """The schema of the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = schema_files(NAME)

    async def state(self) -> SchemaState:
        """Look, change nothing: a missing file is not made, and is a schema that lacks everything.

        Errors: StoreUnavailable, StoreRejected.
        """
        return await asyncio.to_thread(self._state)

    async def apply(self, progress: Callable[[str], None]) -> tuple[str, ...]:
        """Bring the file to the current schema in one transaction; a missing file and its folder are made.

        Errors: StoreUnavailable, StoreRejected; SchemaError when the file has tables of another make, and then nothing
        is changed.
        """
        return await asyncio.to_thread(self._apply, progress)

    def _state(self) -> SchemaState:
        try:
            if not self._path.exists():
                return read_state(None, self._files)
            with closing(connect(self._path, create=False)) as connection:
                return read_state(connection, self._files)
        except (sqlite3.Error, OSError) as error:
            raise mapped(error, "schema") from error

    def _apply(self, progress: Callable[[str], None]) -> tuple[str, ...]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(connect(self._path, create=True)) as connection:
                return apply_files(connection, self._files, progress)
        except (sqlite3.Error, OSError) as error:
            raise mapped(error, "schema") from error


def read_state(connection: sqlite3.Connection | None, files: tuple[SchemaFile, ...]) -> SchemaState:
    """How a database compares with the files; None is one that is not there.

    Errors: sqlite3.Error.
    """
    applied: tuple[str, ...] = ()
    oldest: str | None = None
    if connection is not None and {"mailculator_schema", "mailculator_meta"} <= set(_shape(connection)):
        applied = tuple(name for (name,) in connection.execute("SELECT name FROM mailculator_schema ORDER BY name"))
        found = connection.execute("SELECT value FROM mailculator_meta WHERE name = 'oldest_service'").fetchone()
        oldest = found and found[0]
    missing = pending(files, applied)
    return SchemaState(
        applied=applied,
        pending=missing,
        oldest_service=oldest,
        differences=_differences(connection, files) if connection is not None and not missing else (),
        refusal=refusal(missing, oldest),
    )


def apply_files(
    connection: sqlite3.Connection, files: tuple[SchemaFile, ...], progress: Callable[[str], None]
) -> tuple[str, ...]:
    """Apply what the database lacks. Two processes at once take turns, and the second finds nothing to do.

    Errors: sqlite3.Error, SchemaError.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        missing = read_state(connection, files).pending
        for file in files:
            if file.name in missing:
                progress(f"{NAME}: applying {file.name}")
                for statement in _statements(file.sql):
                    connection.execute(statement)
        if missing:
            _check(connection, files)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return missing


def _check(connection: sqlite3.Connection, files: tuple[SchemaFile, ...]) -> None:
    """`IF NOT EXISTS` passes over a table of the same name whatever its columns, so look at what is there now."""
    differences = _differences(connection, files)
    if differences:
        raise SchemaError(NAME, f"the file has tables of another make: {'; '.join(differences)}")


def _statements(sql: str) -> Iterator[str]:
    """One by one: executescript would commit between them."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _differences(connection: sqlite3.Connection, files: tuple[SchemaFile, ...]) -> tuple[str, ...]:
    """What the database lacks beside an empty one made from the same files. More than that is nobody's trouble."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for file in files:
            for statement in _statements(file.sql):
                model.execute(statement)
        wanted = _shape(model)
    found = _shape(connection)
    lines = []
    for name, parts in wanted.items():
        if name not in found:
            lines.append(f"{name} is missing")
        lines.extend(f"{name} lacks the column {part}" for part in sorted(parts - found.get(name, parts)))
    return tuple(lines)


def _shape(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """Tables and indexes by name, each with its columns."""
    return {
        name: frozenset(
            column
            for (column,) in connection.execute(
                "SELECT name FROM pragma_table_info(:name) UNION SELECT name FROM pragma_index_info(:name)",
                {"name": name},
            )
        )
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall()
    }
