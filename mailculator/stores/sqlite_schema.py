"""The schema of an embedded queue: what stands in the file, and bringing it to the current one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from mailculator.errors import SchemaError
from mailculator.stores.base import SchemaState
from mailculator.stores.schema_files import APPLY, SchemaFile, pending, refusal, schema_files
from mailculator.stores.sqlite_connection import NAME, connect, mapped

_RECORDS = {("table", "mailculator_schema"), ("table", "mailculator_meta")}


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

        Where every schema file is on record and something is missing all the same, they are run again, unless a newer
        service has files of its own there. That brings back tables and indexes, but hardly any column.

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
    if connection is not None and set(_shape(connection)) >= _RECORDS:
        applied = tuple(name for (name,) in connection.execute("SELECT name FROM mailculator_schema ORDER BY name"))
        found = connection.execute("SELECT value FROM mailculator_meta WHERE name = 'oldest_service'").fetchone()
        oldest = found and found[0]
    missing = pending(files, applied)
    needed, others = _differences(connection, files) if connection is not None and not missing else ((), ())
    why = refusal(missing, oldest)
    if why is None and needed:
        why = f"the schema is damaged ({'; '.join(needed)}); {APPLY}"
    return SchemaState(
        applied=applied, pending=missing, oldest_service=oldest, differences=needed + others, refusal=why
    )


def apply_files(
    connection: sqlite3.Connection, files: tuple[SchemaFile, ...], progress: Callable[[str], None]
) -> tuple[str, ...]:
    """Apply what the database lacks. Two processes at once take turns, and the second finds nothing to do.

    Errors: sqlite3.Error, SchemaError.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        todo = _todo(read_state(connection, files), files)
        for file in todo:
            progress(f"{NAME}: applying {file.name}")
            _run(connection, file)
        if todo:
            _check(connection, files)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return tuple(file.name for file in todo)


def _todo(state: SchemaState, files: tuple[SchemaFile, ...]) -> list[SchemaFile]:
    if state.pending:
        return [file for file in files if file.name in state.pending]
    unknown = set(state.applied) - {file.name for file in files}
    return list(files) if state.differences and not unknown else []


def _run(connection: sqlite3.Connection, file: SchemaFile) -> None:
    for statement in _statements(file.sql):
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            # There is no ADD COLUMN IF NOT EXISTS, and a file that is run again may find its column. Where an index
            # has none to stand on, that is told in the end, with whatever else is missing (`_check`).
            if not str(error).startswith(("duplicate column name", "no such column")):
                raise


def _check(connection: sqlite3.Connection, files: tuple[SchemaFile, ...]) -> None:
    """`IF NOT EXISTS` passes over a table of the same name whatever its columns, so look at what is there now."""
    needed, others = _differences(connection, files)
    if needed or others:
        raise SchemaError(
            NAME,
            f"the file has tables of another make: {'; '.join(needed + others)}. Nothing was changed; put back what is"
            " missing by hand or from a backup",
        )


def _statements(sql: str) -> Iterator[str]:
    """One by one: executescript would commit between them."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _differences(
    connection: sqlite3.Connection, files: tuple[SchemaFile, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the database lacks beside an empty one made from the same files. More than that is nobody's trouble.

    Returns: what no statement can do without, the tables and their columns; and what else, the indexes. One line each.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        for file in files:
            for statement in _statements(file.sql):
                model.execute(statement)
        wanted = _shape(model)
    found = _shape(connection)
    lines: dict[str, list[str]] = {"table": [], "index": []}
    for (kind, name), parts in wanted.items():
        if (kind, name) not in found:
            lines[kind].append(f"{name} is missing")
        lines[kind].extend(f"{name} lacks the column {part}" for part in sorted(parts - found.get((kind, name), parts)))
    return tuple(lines["table"]), tuple(lines["index"])


def _shape(connection: sqlite3.Connection) -> dict[tuple[str, str], frozenset[str]]:
    """Tables and indexes by kind and name, each with its columns."""
    return {
        (kind, name): frozenset(
            column
            for (column,) in connection.execute(
                "SELECT name FROM pragma_table_info(:name) UNION SELECT name FROM pragma_index_info(:name)",
                {"name": name},
            )
        )
        for kind, name in connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    }
