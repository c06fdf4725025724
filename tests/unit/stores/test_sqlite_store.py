"""What is SQLite's own: the file, its lock, the command line beside the service, and rows no other store could hold."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from mailculator.errors import ConfigError, SchemaError, StoreRejected, StoreUnavailable
from mailculator.lifecycle import INTAKE, Prepared, move
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Enqueued, Recorded, Steered
from mailculator.stores.sqlite import SqliteStore, open_queue
from mailculator.stores.sqlite_schema import SqliteSchema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "still" / "queue.db"


async def claimed(store: SqliteStore) -> list[str]:
    return [email.id for email in await store.claim(INTAKE, 100, lease=60.0, holder="tester")]


async def test_the_service_makes_its_file_and_folder(path: Path) -> None:
    store = await open_queue(path, service=True)

    assert await store.enqueue([NewEmail("a", "/a.json")]) == [Enqueued.CREATED]
    await store.close()

    again = await open_queue(path, service=True)
    assert await claimed(again) == ["a"]
    await again.close()


async def test_the_command_line_makes_none(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="mailculator schema apply"):
        await open_queue(path, service=False)

    assert not path.parent.exists()


async def test_a_second_service_is_told_who_has_the_file(path: Path) -> None:
    store = await open_queue(path, service=True)

    with pytest.raises(ConfigError) as refused:
        await open_queue(path, service=True)

    (problem,) = refused.value.problems
    assert problem.variable == "SQLITE_PATH"
    assert str(path) in problem.message
    assert f"pid {os.getpid()}" in problem.message
    await store.close()
    await (await open_queue(path, service=True)).close()


async def test_a_service_that_was_killed_leaves_no_lock(path: Path) -> None:
    program = (
        "import asyncio, os, sys, pathlib\n"
        "from mailculator.model import NewEmail\n"
        "from mailculator.stores.sqlite import open_queue\n"
        "async def main():\n"
        "    store = await open_queue(pathlib.Path(sys.argv[1]), service=True)\n"
        "    await store.enqueue([NewEmail('survivor', '/a.json')])\n"
        "    print('written', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"written\n"
    with pytest.raises(ConfigError, match=f"pid {other.pid}"):
        await open_queue(path, service=True)

    other.kill()
    await other.wait()

    store = await open_queue(path, service=True)
    assert await claimed(store) == ["survivor"]
    await store.close()


async def test_a_failed_start_lets_go_of_the_lock(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)
    with pytest.raises(StoreRejected, match="not a database"):
        await open_queue(path, service=True)

    path.unlink()

    await (await open_queue(path, service=True)).close()


async def test_the_command_line_reads_and_writes_beside_the_service(path: Path) -> None:
    service = await open_queue(path, service=True)
    command = await open_queue(path, service=False)

    await command.enqueue([NewEmail("from the command line", "/a.json")])
    assert await claimed(service) == ["from the command line"]
    assert (await command.counts())[Status.INTAKING].count == 1

    await command.close()
    await service.close()


async def test_a_schema_that_serves_only_later_versions_stops_the_service(path: Path) -> None:
    await SqliteSchema(path).apply(lambda _: None)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE mailculator_meta SET value = '99.0' WHERE name = 'oldest_service'")
    connection.close()

    with pytest.raises(SchemaError, match="upgrade the service"):
        await open_queue(path, service=True)


async def test_a_schema_that_lacks_a_file_stops_the_service(path: Path) -> None:
    await SqliteSchema(path).apply(lambda _: None)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM mailculator_schema")
    connection.close()

    with pytest.raises(SchemaError, match=r"0001_queue.*mailculator schema apply"):
        await open_queue(path, service=True)


async def test_a_file_of_somebody_else_is_not_taken_over(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (value)")
    connection.close()

    with pytest.raises(SchemaError, match="mailculator schema apply"):
        await open_queue(path, service=True)


async def test_a_path_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable):
        await open_queue(tmp_path / "file" / "queue.db", service=True)


async def test_g14_a_path_that_is_no_text_does_not_spoil_the_claim(path: Path) -> None:
    store = await open_queue(path, service=True)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO emails (id, status, payload_file_path) VALUES ('bad', 'ACCEPTED', CAST(x'2FFF' AS TEXT))"
        )
        connection.execute("INSERT INTO emails (id, status, payload_file_path) VALUES ('good', 'ACCEPTED', '/good')")
    connection.close()

    found = {email.id: email.payload_file_path for email in await store.claim(INTAKE, 10, lease=60.0, holder="t")}

    assert found == {"bad": "/\N{REPLACEMENT CHARACTER}", "good": "/good"}
    assert (await store.page())[0].payload_file_path == "/\N{REPLACEMENT CHARACTER}"
    await store.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "LOST"), ("ttl", "tomorrow"), ("id", "x" * 37), ("version", None), ("payload_file_path", "p" * 501)],
)
async def test_the_file_itself_refuses_rows_that_nobody_could_work(path: Path, column: str, value: object) -> None:
    await (await open_queue(path, service=True)).close()
    values = {"id": "a", "status": "ACCEPTED", "version": 1, "ttl": None, "payload_file_path": None, column: value}
    connection = sqlite3.connect(path)

    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO emails (id, status, version, ttl, payload_file_path) "
            "VALUES (:id, :status, :version, :ttl, :payload_file_path)",
            values,
        )
    connection.close()


async def test_times_far_outside_any_calendar_are_no_error(path: Path) -> None:
    store = await open_queue(path, service=True)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO emails (id, status, created_at) VALUES ('late', 'ACCEPTED', 1 << 62)")
        connection.execute("INSERT INTO emails (id, status, created_at) VALUES ('early', 'ACCEPTED', -1 << 62)")
    connection.close()

    assert sorted(await claimed(store)) == ["early", "late"]
    assert [email.created_at.year for email in await store.page()] == [1970, 9999]
    await store.close()


async def test_ping_says_when_no_write_is_taken_and_when_it_is_again(path: Path) -> None:
    store = await open_queue(path, service=True)
    await store.enqueue([NewEmail("a", "/a.json")])
    store.writer._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable):
        await claimed(store)
    assert (await store.ping()).writable is False

    store.writer._connection.execute("PRAGMA query_only = OFF")

    assert (await store.ping()).writable is True
    assert await claimed(store) == ["a"]
    await store.close()


async def test_results_that_come_together_are_committed_together(path: Path) -> None:
    store = await open_queue(path, service=True)
    await store.enqueue([NewEmail(str(number), "/a.json") for number in range(20)])
    emails = await store.claim(INTAKE, 20, lease=60.0, holder="tester")
    before = store.writer.transactions

    answers = await asyncio.gather(*(store.record([move(email, Prepared("example.com"))]) for email in emails))

    assert list(answers) == [[Recorded.DONE]] * 20
    # The first of them goes alone at once; how many more transactions there are depends on the disk, but never twenty.
    assert store.writer.transactions - before < 20
    await store.close()


async def test_an_id_that_is_no_text_is_neither_claimed_nor_rescued_for_ever(path: Path) -> None:
    """It would be handed out under another id, under which no result of it could be written down."""
    store = await open_queue(path, service=True)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO emails (id, status) VALUES (CAST(x'FF61' AS TEXT), 'ACCEPTED')")
        connection.execute("INSERT INTO emails (id, status) VALUES ('perché no', 'ACCEPTED')")
        connection.execute("INSERT INTO emails (id, status) VALUES (CAST(x'FE' AS TEXT), 'INTAKING')")
    connection.close()
    assert await claimed(store) == ["perché no"]

    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE emails SET updated_at = 0")
    assert await store.overdue(10, foreign_hold=1800) == []
    connection.close()
    assert await claimed(store) == []

    (parked,) = await store.page(parked=True)
    (held,) = [email for email in await store.page(Status.INTAKING) if email.last_error]
    assert {parked.last_error, held.last_error} == {"row_corrupt: the id is no UTF-8 text"}
    assert held.lease_until is not None
    await store.close()


@pytest.mark.parametrize("version", [(1 << 63) - 1, -(1 << 63)])
async def test_a_version_at_the_end_of_all_numbers_stops_no_verb(path: Path, version: int) -> None:
    store = await open_queue(path, service=True)
    with sqlite3.connect(path) as connection:
        for status in ("ACCEPTED", "INTAKING", "INVALID"):
            connection.execute(
                "INSERT INTO emails (id, status, version, updated_at) VALUES (?, ?, ?, 0)", (status, status, version)
            )
        connection.execute("INSERT INTO emails (id, status) VALUES ('good', 'ACCEPTED')")
    connection.close()

    assert await claimed(store) == ["good"]
    assert await store.overdue(10, foreign_hold=60) == []
    assert await store.requeue(["INVALID"], who="w", why="y", ttl_extension=1.0) == [Steered.NOT_APPLICABLE]
    assert {email.version for email in await store.page() if email.id != "good"} == {version}
    await store.close()


@pytest.mark.parametrize(
    ("how", "plan"),
    [
        ({"parked": True}, "SEARCH emails USING INDEX emails_due (status=? AND parked=?)"),
        # The index is in the order of the ids, and holds nothing else.
        ({"unknown": True}, "SEARCH emails USING INDEX emails_unknown (id>?)"),
        ({"unknown": True, "status": Status.FAILED}, "SEARCH emails USING INDEX emails_unknown (id>?)"),
    ],
)
async def test_a_page_of_few_rows_looks_at_no_others(path: Path, how: dict[str, Any], plan: str) -> None:
    store = await open_queue(path, service=True)
    asked: list[str] = []
    store._reader._connection.set_trace_callback(asked.append)
    await store.page(after="a", **how)
    store._reader._connection.set_trace_callback(None)

    (page,) = [sql for sql in asked if sql.startswith("SELECT id")]
    lines = [line[-1] for line in store._reader._connection.execute("EXPLAIN QUERY PLAN " + page)]
    assert any(plan in line for line in lines)
    assert not any("B-TREE" in line for line in lines) or "parked" in how
    await store.close()


async def test_who_opens_the_file_ends_the_leases_of_who_had_it_before_and_the_command_line_does_not(
    path: Path,
) -> None:
    before = await open_queue(path, service=True)
    await before.enqueue([NewEmail("a", "/a.json")])
    assert await claimed(before) == ["a"]
    beside = await open_queue(path, service=False)
    assert await before.overdue(10, foreign_hold=1800.0) == []
    await beside.close()
    await before.close()  # as a kill would leave it: nothing is given back

    after = await open_queue(path, service=True)
    (left,) = await after.overdue(10, foreign_hold=1800.0)
    assert (left.email.id, left.holder) == ("a", "tester")
    await after.close()
