"""The embedded schema: applied by us, by hand, twice, by two at once, and beside what is not ours."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mailculator.errors import SchemaError, StoreRejected
from mailculator.stores.schema_files import schema_files
from mailculator.stores.sqlite import open_queue
from mailculator.stores.sqlite_schema import SqliteSchema

NAMES = tuple(file.name for file in schema_files("sqlite"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "queue.db"


def run(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


async def test_a_missing_file_lacks_everything_and_is_not_made_by_looking(path: Path) -> None:
    state = await SqliteSchema(path).state()

    assert (state.applied, state.pending, state.oldest_service) == ((), NAMES, None)
    assert state.refusal is not None
    assert "run: mailculator schema apply" in state.refusal
    assert not path.parent.exists()


async def test_apply_makes_it_and_says_so_once(path: Path) -> None:
    schema = SqliteSchema(path)
    told: list[str] = []

    assert await schema.apply(told.append) == NAMES
    assert await schema.apply(told.append) == ()

    assert told == [f"sqlite: applying {name}" for name in NAMES]
    assert (await schema.state()).refusal is None


async def test_two_at_once_take_turns(path: Path) -> None:
    results = await asyncio.gather(*(SqliteSchema(path).apply(lambda _: None) for _ in range(4)))

    assert sorted(results) == [(), (), (), NAMES]


COLUMNS = {"0003_crashes": "crashes", "0004_control": "cancelled"}
"""SQLite adds no column only where it is missing, so these files say no when they are run again."""


async def test_the_files_may_be_applied_by_hand_any_number_of_times(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    for file in schema_files("sqlite"):
        connection.executescript(file.sql)
    for file in schema_files("sqlite"):
        if file.name in COLUMNS:
            with pytest.raises(sqlite3.OperationalError, match=f"duplicate column name: {COLUMNS[file.name]}"):
                connection.executescript(file.sql)
            connection.rollback()
        else:
            connection.executescript(file.sql)
    connection.execute("INSERT INTO emails (id, status) VALUES ('a', 'ACCEPTED')")
    connection.commit()
    connection.executescript(schema_files("sqlite")[0].sql)
    connection.close()

    state = await SqliteSchema(path).state()

    assert (state.applied, state.pending, state.differences, state.refusal) == (NAMES, (), (), None)
    assert run(path, "SELECT count(*) FROM emails") == [(1,)]


@pytest.mark.parametrize(
    ("lacking", "column", "value"), [("0003_crashes", "crashes", 0), ("0004_control", "cancelled", None)]
)
async def test_a_file_of_before_is_refused_and_then_brought_there(
    path: Path, lacking: str, column: str, value: int | None
) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    for file in schema_files("sqlite"):
        if file.name < lacking:
            connection.executescript(file.sql)
    connection.execute("INSERT INTO emails (id, status) VALUES ('a', 'ACCEPTED')")
    connection.commit()
    connection.close()
    schema = SqliteSchema(path)
    with pytest.raises(SchemaError, match=rf"lacks {lacking}.*; run: mailculator schema apply"):
        await open_queue(path, service=True)

    assert await schema.apply(lambda _: None) == tuple(name for name in NAMES if name >= lacking)

    assert run(path, f"SELECT {column} FROM emails") == [(value,)]
    assert (await schema.state()).refusal is None


async def test_by_hand_again_does_not_lower_what_a_later_file_raised(path: Path) -> None:
    await SqliteSchema(path).apply(lambda _: None)
    run(path, "UPDATE mailculator_meta SET value = '0.5.0' WHERE name = 'oldest_service'")
    connection = sqlite3.connect(path)
    connection.executescript(schema_files("sqlite")[0].sql)
    connection.close()

    assert (await SqliteSchema(path).state()).oldest_service == "0.5.0"


async def test_what_was_taken_away_is_named(path: Path) -> None:
    await SqliteSchema(path).apply(lambda _: None)
    run(path, "DROP INDEX emails_ttl")
    run(path, "ALTER TABLE emails DROP COLUMN reached_at")

    state = await SqliteSchema(path).state()

    assert state.differences == ("emails lacks the column reached_at", "emails_ttl is missing")
    assert state.refusal is not None
    assert "emails lacks the column reached_at" in state.refusal


async def test_a_lost_index_refuses_nobody_and_is_made_again(path: Path) -> None:
    schema = SqliteSchema(path)
    await schema.apply(lambda _: None)
    run(path, "INSERT INTO emails (id, status) VALUES ('a', 'ACCEPTED')")
    run(path, "DROP INDEX emails_ttl")
    assert (await schema.state()).refusal is None

    assert await schema.apply(lambda _: None) == NAMES

    assert (await schema.state()).differences == ()
    assert run(path, "SELECT id FROM emails") == [("a",)]


async def test_a_lost_table_is_refused_and_made_again(path: Path) -> None:
    schema = SqliteSchema(path)
    await schema.apply(lambda _: None)
    run(path, "DROP TABLE mailculator_minutes")
    with pytest.raises(SchemaError, match=r"mailculator_minutes is missing\); run: mailculator schema apply"):
        await open_queue(path, service=True)

    assert await schema.apply(lambda _: None) == NAMES

    assert (await schema.state()).refusal is None


async def test_a_lost_column_that_cannot_be_made_again_is_named_and_nothing_is_changed(path: Path) -> None:
    schema = SqliteSchema(path)
    await schema.apply(lambda _: None)
    run(path, "ALTER TABLE emails DROP COLUMN claimed_by")
    run(path, "DROP INDEX emails_ttl")

    with pytest.raises(SchemaError, match=r"emails lacks the column claimed_by\. Nothing was changed"):
        await schema.apply(lambda _: None)

    assert (await schema.state()).differences == ("emails lacks the column claimed_by", "emails_ttl is missing")


async def test_what_a_later_version_has_taken_away_is_not_put_back(path: Path) -> None:
    schema = SqliteSchema(path)
    await schema.apply(lambda _: None)
    run(path, "INSERT INTO mailculator_schema (name) VALUES ('9999_later')")
    run(path, "DROP INDEX emails_ttl")

    assert await schema.apply(lambda _: None) == ()

    assert (await schema.state()).differences == ("emails_ttl is missing",)


async def test_columns_of_somebody_else_are_nobodys_trouble(path: Path) -> None:
    await SqliteSchema(path).apply(lambda _: None)
    run(path, "ALTER TABLE emails ADD COLUMN theirs TEXT")
    run(path, "CREATE TABLE other (value)")

    assert (await SqliteSchema(path).state()).differences == ()


async def test_tables_of_another_make_are_left_as_they_are(path: Path) -> None:
    path.parent.mkdir()
    run(
        path,
        "CREATE TABLE emails (id TEXT PRIMARY KEY, status TEXT, parked INTEGER, due_at INTEGER, ttl INTEGER,"
        " recipient_domain TEXT)",
    )

    with pytest.raises(SchemaError, match="emails lacks the column attempts"):
        await SqliteSchema(path).apply(lambda _: None)

    assert run(path, "SELECT name FROM sqlite_schema WHERE type = 'table'") == [("emails",)]


async def test_a_file_that_is_no_database_is_rejected(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(StoreRejected):
        await SqliteSchema(path).state()
    with pytest.raises(StoreRejected):
        await SqliteSchema(path).apply(lambda _: None)
