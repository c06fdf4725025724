"""The writer's group commit, cancellation, isolation and error map. Threads are held by events, never by time."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailculator.errors import ConfigError, StoreRejected, StoreUnavailable
from mailculator.stores import sqlite_connection
from mailculator.stores.sqlite_connection import ProcessLock, Reader, Writer, connect, mapped


class Gate:
    """A verb that stops the writer's thread within its transaction until it is opened."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._entered = asyncio.Event()
        self._open = threading.Event()

    def __call__(self, _connection: sqlite3.Connection) -> None:
        self._loop.call_soon_threadsafe(self._entered.set)
        assert self._open.wait(60)

    async def entered(self) -> None:
        await self._entered.wait()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    connection = connect(path, create=True)
    connection.execute("CREATE TABLE numbers (value INTEGER UNIQUE, CHECK (value < 100))")
    writer = Writer(connection)
    yield writer
    await writer.close()


def numbers(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        return [value for (value,) in connection.execute("SELECT value FROM numbers ORDER BY value")]
    finally:
        connection.close()


def add(writer: Writer, value: int) -> asyncio.Task[int]:
    return asyncio.create_task(
        writer.run("add", lambda connection: connection.execute("INSERT INTO numbers VALUES (?)", (value,)).rowcount)
    )


async def queued(*tasks: asyncio.Task[int]) -> None:
    """Let each task hand its verb over: one turn of the loop each is enough, and is no wait."""
    for _ in tasks:
        await asyncio.sleep(0)


async def test_what_gathers_during_one_transaction_shares_the_next(writer: Writer, path: Path) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    tasks = [add(writer, value) for value in range(5)]
    await queued(*tasks)
    assert writer.transactions == 0

    gate.open()

    assert await asyncio.gather(*tasks) == [1] * 5
    await first
    assert (writer.transactions, writer.verbs) == (2, 6)
    assert numbers(path) == [0, 1, 2, 3, 4]


async def test_a_lone_verb_is_committed_at_once(writer: Writer, path: Path) -> None:
    assert await add(writer, 1) == 1

    assert (writer.transactions, writer.verbs) == (1, 1)
    assert numbers(path) == [1]


async def test_nobody_is_answered_before_the_commit(writer: Writer, path: Path) -> None:
    gate, second_gate = Gate(), Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    answered = add(writer, 1)
    held = asyncio.create_task(writer.run("hold", second_gate))
    await queued(answered, answered)

    gate.open()
    await second_gate.entered()
    await first
    # The row is written in the transaction that the second gate holds open.
    assert not answered.done()
    assert numbers(path) == []

    second_gate.open()
    await asyncio.gather(answered, held)
    assert numbers(path) == [1]


async def test_one_failing_verb_of_a_group_leaves_no_trace_and_spoils_no_other(writer: Writer, path: Path) -> None:
    def half_done(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (50)")
        connection.execute("INSERT INTO numbers VALUES (1000)")

    gate = Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    before, bad, after = add(writer, 1), asyncio.create_task(writer.run("bad", half_done)), add(writer, 2)
    await queued(before, after, after)
    gate.open()
    results = await asyncio.gather(first, before, bad, after, return_exceptions=True)

    assert results[1] == results[3] == 1
    assert isinstance(results[2], StoreRejected)
    assert isinstance(results[2].__cause__, sqlite3.IntegrityError)
    assert (writer.transactions, numbers(path)) == (2, [1, 2])


async def test_a_caller_cancelled_before_its_turn_has_written_nothing(writer: Writer, path: Path) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    given_up, kept = add(writer, 1), add(writer, 2)
    await queued(given_up, kept)

    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    gate.open()
    await asyncio.gather(first, kept)

    assert numbers(path) == [2]


async def test_a_caller_cancelled_during_its_turn_leaves_no_transaction_open(writer: Writer, path: Path) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open()

    assert await add(writer, 1) == 1
    with sqlite3.connect(path, timeout=0) as other:
        other.execute("INSERT INTO numbers VALUES (2)")
    other.close()
    assert numbers(path) == [1, 2]


async def test_a_full_disk_is_unavailable_and_passes(writer: Writer, path: Path) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO blobs VALUES (zeroblob(100000))")

    await writer.run("make", lambda connection: connection.execute("CREATE TABLE blobs (content)").fetchall())
    await writer.run("limit", lambda connection: connection.execute("PRAGMA max_page_count = 4").fetchone())

    with pytest.raises(StoreUnavailable, match="full") as refused:
        await writer.run("fill", fill)
    assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
    assert refused.value.op == "fill"
    assert writer.writable is False

    await writer.run("limit", lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    await writer.run("fill", fill)
    assert writer.writable is True


async def test_an_end_of_the_whole_transaction_fails_the_whole_group(writer: Writer, path: Path) -> None:
    """As an I/O error may do it: nothing of the group is in the file, so none of it may be answered as done."""

    def break_off(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    gate = Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    before, bad, after = add(writer, 1), asyncio.create_task(writer.run("bad", break_off)), add(writer, 2)
    await queued(before, after, after)
    gate.open()
    results = await asyncio.gather(before, bad, after, return_exceptions=True)
    await first

    assert all(isinstance(result, StoreRejected) for result in results)
    assert numbers(path) == []
    assert await add(writer, 3) == 1


async def test_a_file_that_another_process_keeps_locked_is_unavailable(writer: Writer, path: Path) -> None:
    await writer.run("patience", lambda connection: connection.execute("PRAGMA busy_timeout = 1").fetchone())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        await add(writer, 1)
    other.execute("ROLLBACK")
    other.close()

    assert await add(writer, 1) == 1


async def test_close_finishes_what_was_asked_for(path: Path, writer: Writer) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()
    waiting = add(writer, 1)
    await queued(waiting)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    gate.open()

    await asyncio.gather(closing, first)

    assert await waiting == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.run("late", lambda _: None)
    assert numbers(path) == [1]


async def test_reads_do_not_wait_for_a_write(writer: Writer, path: Path) -> None:
    reader = Reader(connect(path, create=False))
    await add(writer, 1)
    gate = Gate()
    held = asyncio.create_task(writer.run("hold", gate))
    await gate.entered()

    assert await reader.run(
        "count", lambda connection: connection.execute("SELECT count(*) FROM numbers").fetchone()
    ) == (1,)
    assert not held.done()

    gate.open()
    await held
    await reader.close()


async def test_the_reader_cannot_write(writer: Writer, path: Path) -> None:
    reader = Reader(connect(path, create=False))

    with pytest.raises(StoreUnavailable, match="readonly"):
        await reader.run("write", lambda connection: connection.execute("INSERT INTO numbers VALUES (1)"))

    await reader.close()
    assert writer.writable


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, StoreUnavailable),
        (sqlite3.SQLITE_LOCKED, StoreUnavailable),
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, StoreUnavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnavailable),
        (sqlite3.SQLITE_ERROR, StoreRejected),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, StoreRejected),
        (sqlite3.SQLITE_CORRUPT, StoreRejected),
        (sqlite3.SQLITE_NOTADB, StoreRejected),
    ],
)
def test_extended_codes_are_mapped_by_their_primary_one(code: int, expected: type[Exception]) -> None:
    error = sqlite3.OperationalError("words of the driver")
    error.sqlite_errorcode = code

    ours = mapped(error, "claim")

    assert type(ours) is expected
    assert ours.__cause__ is error
    assert (ours.store, ours.op, ours.detail) == ("sqlite", "claim", "words of the driver")


async def test_durability_is_as_promised(writer: Writer) -> None:
    """https://sqlite.org/pragma.html#pragma_synchronous: 2 is FULL."""

    def pragmas(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await writer.run("pragmas", pragmas) == ["wal", 2, 1]


def test_the_lock_is_one_processs_and_ends_with_it(path: Path) -> None:
    lock = ProcessLock(path)
    with pytest.raises(ConfigError, match=r"SQLITE_PATH.*pid"):
        ProcessLock(path)

    lock.release()
    lock.release()

    ProcessLock(path).release()


def test_who_opens_a_new_file_first_does_not_keep_the_others_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sqlite3.connect(path, isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        first.rollback()

    monkeypatch.setattr(time, "sleep", sleep)
    connect(path, create=True).close()
    assert len(waits) == 1
    first.close()


def test_it_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sqlite3.connect(path, isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite_connection, "BUSY_TIMEOUT", 0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connect(path, create=True)
    first.close()
