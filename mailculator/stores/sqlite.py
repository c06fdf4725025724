"""The embedded queue: one SQLite file, no server, one service process at a time.

The command line may read and write beside the service. Verbs that write take their turn at one writer, which commits
in groups; verbs that only read have a connection of their own (sqlite_connection).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path

from mailculator.config import Settings
from mailculator.errors import SchemaError, StoreError, StoreUnavailable
from mailculator.events import Observer, ignore
from mailculator.lifecycle import Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores import sqlite_claims, sqlite_minutes, sqlite_moves, sqlite_overdue, sqlite_rows, sqlite_steering
from mailculator.stores.base import (
    Capabilities,
    Enqueued,
    Minute,
    Overdue,
    Ping,
    Recorded,
    Renewal,
    Spent,
    Steered,
    Survey,
)
from mailculator.stores.control import Control
from mailculator.stores.rescue_name import RescueNames
from mailculator.stores.schema_files import schema_files
from mailculator.stores.sought import Sought
from mailculator.stores.sqlite_connection import NAME, ProcessLock, Reader, Writer, connect, mapped
from mailculator.stores.sqlite_control import SqliteControl
from mailculator.stores.sqlite_schema import SqliteSchema, apply_files, read_state


async def open_store(
    settings: Settings, *, service: bool, observer: Observer = ignore, guard: object = None
) -> SqliteStore:
    """Open the queue at SQLITE_PATH; see `open_queue`."""
    return await open_queue(settings.sqlite_path, service=service)


def open_schema(settings: Settings) -> SqliteSchema:
    """The schema of the queue at SQLITE_PATH."""
    return SqliteSchema(settings.sqlite_path)


async def open_queue(path: Path, *, service: bool) -> SqliteStore:
    """Open the queue in the file at `path`.

    Arguments:
        service: take the file's lock, check its schema, and where the file is missing or empty, make it with its
            folder and apply the schema: an embedded queue has no DBA to do so. Without, the file must be there.

    Errors: ConfigError when another service process has the file; SchemaError when the schema does not fit;
    StoreUnavailable when it cannot be opened; StoreRejected when it is no database.
    """
    return await asyncio.to_thread(_open, path, service)


def _open(path: Path, service: bool) -> SqliteStore:
    if not service and not path.exists():
        raise StoreUnavailable(NAME, "open", f"{path} does not exist; run: mailculator schema apply")
    with ExitStack() as opened:
        try:
            lock = None
            if service:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = ProcessLock(path)
                opened.callback(lock.release)
                _prepare(path)
            writing = opened.enter_context(closing(connect(path, create=False)))
            reading = opened.enter_context(closing(connect(path, create=False)))
            store = SqliteStore(path, writing, reading, lock)
        except (sqlite3.Error, OSError) as error:
            raise mapped(error, "open") from error
        # All of it is the store's from here on, and `close` gives it back.
        opened.pop_all()
    return store


def _prepare(path: Path) -> None:
    """Make the file where there is none, compare its schema with ours, and end the leases of whoever had it before."""
    files = schema_files(NAME)
    with closing(connect(path, create=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            apply_files(connection, files, lambda _: None)
        refusal = read_state(connection, files).refusal
        if refusal is not None:
            raise SchemaError(NAME, refusal)
        with suppress(sqlite3.OperationalError):  # a full disk: then they run out by themselves
            sqlite_overdue.let_go(connection)


class SqliteStore:
    """The queue in one file; `stores.base.Store` has the meaning of every verb.

    Arguments:
        path: of the file.
        writing, reading: two connections of `sqlite_connection.connect`, the store's own from now on.
        lock: held until `close`, if any.
    """

    name = NAME
    capabilities = Capabilities(many_processes=False)

    def __init__(
        self, path: Path, writing: sqlite3.Connection, reading: sqlite3.Connection, lock: ProcessLock | None = None
    ) -> None:
        writing.execute(sqlite_moves.SCRATCH)
        self.writer = Writer(writing)
        self._reader = Reader(reading)
        self.control: Control = SqliteControl(self.writer, self._reader)
        self._path = path
        self._lock = lock
        self._names = RescueNames()

    async def enqueue(self, emails: Sequence[NewEmail]) -> list[Enqueued]:
        """Insert emails as ACCEPTED."""
        return await self.writer.run("enqueue", lambda connection: sqlite_rows.enqueue(connection, emails))

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """Take due emails of a stage."""
        if limit <= 0:
            return []
        return await self.writer.run(
            "claim", lambda connection: sqlite_claims.claim(connection, stage, limit, lease, holder)
        )

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """Write results down."""
        return await self.writer.run("record", lambda connection: sqlite_moves.record(connection, moves))

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        """Hold these for longer."""
        held = await self.writer.run("renew", lambda connection: sqlite_claims.renew(connection, emails, lease))
        return Renewal(held, frozenset(email.id for email in emails) - held)

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        """What its holder has let go of."""
        return await self.writer.run(
            "overdue", lambda connection: sqlite_overdue.overdue(connection, limit, foreign_hold)
        )

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        """Write down what became of it."""
        return await self.writer.run(
            "rescue", lambda connection: sqlite_moves.rescue(connection, moves, self._names.of, foreign_hold)
        )

    async def get(self, email_id: str) -> Row | None:
        """One email as it stands."""
        return await self._reader.run("get", lambda connection: sqlite_rows.get(connection, email_id))

    async def history(self, email_id: str) -> list[HistoryEntry]:
        """Its history."""
        return await self._reader.run("history", lambda connection: sqlite_rows.history(connection, email_id))

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        """Emails per status."""
        return await self._reader.run("counts", lambda connection: sqlite_rows.counts(connection, terminal))

    async def page(
        self,
        status: Status | None = None,
        *,
        parked: bool | None = None,
        unknown: bool = False,
        domain: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """Emails in the order of their ids."""
        sought = Sought(status, parked, unknown, domain, after)
        return await self._reader.run("page", lambda connection: sqlite_rows.page(connection, sought, limit))

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """An operator's requeue."""
        return await self.writer.run(
            "requeue", lambda connection: sqlite_steering.requeue(connection, ids, who, why, ttl_extension)
        )

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """End parking."""
        return await self._mark(sqlite_steering.RELEASE, ids, who, why)

    async def park(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Set aside what waits."""
        return await self._mark(sqlite_steering.PARK, ids, who, why)

    async def hasten(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Due now."""
        return await self._mark(sqlite_steering.HASTEN, ids, who, why)

    async def cancel(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """Not to be sent, if it is not sent yet."""
        return await self._mark(sqlite_steering.CANCEL, ids, who, why)

    async def _mark(self, what: sqlite_steering.Mark, ids: Sequence[str], who: str, why: str) -> list[Steered]:
        return await self.writer.run(
            what.verb, lambda connection: sqlite_steering.mark(connection, what, ids, who, why)
        )

    async def purge(self, limit: int) -> int:
        """Delete what is terminal and past its ttl."""
        return await self.writer.run("purge", lambda connection: sqlite_rows.purge(connection, limit))

    async def remember(self, minute: Minute) -> None:
        """Keep a minute."""
        await self.writer.run("remember", lambda connection: sqlite_minutes.remember(connection, minute))

    async def minutes(self, since: datetime) -> list[Minute]:
        """What was remembered since then."""
        return await self._reader.run("minutes", lambda connection: sqlite_minutes.minutes(connection, since))

    async def upkeep(self, replica: str) -> None:
        """Nothing: what is due is found by its index, whoever wrote it."""

    async def survey(self) -> Survey:
        """Its counts miss nothing but rows in a status that nobody knows."""
        ids, found = await self._reader.run("survey", sqlite_rows.unknown)
        return Survey(exact=True, poisoned=ids, poisoned_count=found)

    def spent(self) -> Sequence[Spent]:
        """Nothing is charged for."""
        return ()

    async def ping(self) -> Ping:
        """Read from the file; and where the last write failed for want of space or permission, try one."""
        began = time.monotonic()
        version = await self._reader.run("ping", _look)
        writable = os.access(self._path, os.W_OK)
        if writable and not self.writer.writable:
            writable = await self._can_write()
        return Ping(f"SQLite {version}", tested=True, writable=writable, seconds=time.monotonic() - began)

    async def _can_write(self) -> bool:
        try:
            await self.writer.run("ping", _touch)
        except StoreError:
            return False
        return True

    async def close(self) -> None:
        """Finish what was asked for, close the file, let go of its lock."""
        await self._reader.close()
        await self.writer.close()
        if self._lock is not None:
            self._lock.release()


def _look(connection: sqlite3.Connection) -> str:
    version, _ = connection.execute("SELECT sqlite_version(), (SELECT count(*) FROM sqlite_schema)").fetchone()
    return str(version)


def _touch(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO mailculator_meta (name, value) VALUES ('touched', datetime('now')) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
