"""SQLite beneath the store: one connection that writes, one that reads, each on a thread of its own.

The writer commits in groups: while one transaction is being made durable, further verbs gather, and all of them go
into the next. Each runs in a savepoint, so that the failure of one is not the others'. A caller is answered only after
the commit.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from mailculator.errors import ConfigError, Problem, StoreError, StoreRejected, StoreUnavailable

NAME = "sqlite"
BUSY_TIMEOUT = 5.0
"""Seconds a write waits for another process's (the command line beside the service); its transactions are short."""
OLDEST_SQLITE = (3, 38)
"""The first with the operator `->>` (https://sqlite.org/json1.html#jptr)."""

_GROUP_LIMIT = 64
_BUSY_PAUSE = 0.01
_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_UNWRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL})

T = TypeVar("T")
Verb = Callable[[sqlite3.Connection], T]


def primary_code(error: BaseException | None) -> int:
    """SQLite's primary result code (https://sqlite.org/rescode.html) of an error; 0 when it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def mapped(error: Exception, op: str) -> StoreError:
    """The error of ours that a driver's means, with the driver's as its cause."""
    away = isinstance(error, OSError) or primary_code(error) in _AWAY
    ours = (StoreUnavailable if away else StoreRejected)(NAME, op, str(error))
    ours.__cause__ = error
    return ours


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection with every setting the queue relies on.

    WAL lets reads go on beside the writer; `synchronous=FULL` makes each commit durable before it is answered.

    Arguments:
        create: make the file when it is missing; otherwise that is SQLITE_CANTOPEN.

    Errors: sqlite3.Error.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise sqlite3.NotSupportedError(f"SQLite {sqlite3.sqlite_version} is too old; 3.38 is the oldest that will do")
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # A producer may store bytes that are no UTF-8. One such row must not make a whole batch unreadable (G14).
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switching over needs the file for itself, and SQLite waits for nobody there, whatever the timeout says."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_BUSY_PAUSE)
        else:
            return


class ProcessLock:
    """One service process per queue file: an exclusive lock on `<path>.lock`, which holds its process id.

    The lock is the kernel's, so that it ends with its process however that dies. The file stays: to delete it would let
    two processes lock two files of one name.

    Errors: ConfigError naming SQLITE_PATH and the holder, when it is held; OSError when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            message = (
                f"{path} is in use by another service process (pid {holder}); an embedded queue belongs to one at a "
                "time. Stop that one, or give this one a file of its own"
            )
            raise ConfigError([Problem("SQLITE_PATH", message)]) from None
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let another process have it. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Job:
    """A verb that waits for its turn, and where its answer goes."""

    def __init__(self, op: str, verb: Verb[Any]) -> None:
        self.op = op
        self.verb = verb
        self.future: Future[Any] = Future()
        self.answer: Any = None
        self.error: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Run within the open transaction; what fails leaves no trace in it. What ends the transaction is raised."""
        connection.execute("SAVEPOINT verb")
        try:
            self.answer = self.verb(connection)
        except Exception as error:
            # A full disk or an I/O error may have ended the whole transaction, and what other verbs did in it.
            if not connection.in_transaction:
                raise
            self.error = error
            connection.execute("ROLLBACK TO verb")
        connection.execute("RELEASE verb")

    def settle(self) -> None:
        if self.error is None:
            self.future.set_result(self.answer)
        else:
            error = self.error
            self.future.set_exception(error if isinstance(error, StoreError) else mapped(error, self.op))


class Writer:
    """The thread that writes.

    Arguments:
        connection: its own from now on, closed at the end.

    `transactions` and `verbs` count what was committed; `writable` is False from a write that failed for want of space,
    permission or a sound disk until one succeeds.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.transactions = 0
        self.verbs = 0
        self.writable = True
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, op: str, verb: Verb[T]) -> T:
        """Run a verb in the next transaction, and answer once that is durable.

        A caller that is cancelled before its turn came has written nothing; after that its write takes place
        unanswered.

        Errors: StoreUnavailable, StoreRejected.
        """
        if self._closing:
            raise StoreUnavailable(NAME, op, "closed")
        job = _Job(op, verb)
        self._jobs.put(job)
        answer: T = await asyncio.wrap_future(job.future)
        return answer

    async def close(self) -> None:
        """Finish what was asked for, then end. Safe to call twice."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = self._gather()
            if jobs:
                self._commit(jobs)
        self._connection.close()

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for one job, then take along what came meanwhile. False when the end was among it."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
            if len(jobs) >= _GROUP_LIMIT:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _commit(self, jobs: list[_Job]) -> None:
        connection = self._connection
        changes = connection.total_changes
        try:
            # IMMEDIATE: a transaction that began by reading could not become a writing one beside another process.
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.run(connection)
            connection.execute("COMMIT")
        except Exception as error:
            self._abandon(jobs, error)
        else:
            self.transactions += 1
            self.verbs += len(jobs)
            self.writable = self.writable or connection.total_changes != changes
        if any(primary_code(job.error) in _UNWRITABLE for job in jobs):
            self.writable = False
        for job in jobs:
            job.settle()

    def _abandon(self, jobs: list[_Job], error: Exception) -> None:
        """Nothing of the group is in the file: each of it failed as the transaction did."""
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        for job in jobs:
            job.error = error


class Reader:
    """The thread that reads: it sees what is committed, and waits for no write.

    Arguments:
        connection: its own from now on, closed at the end.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")
        self._connection = connection
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-reader")
        self._closed = False

    async def run(self, op: str, verb: Verb[T]) -> T:
        """Run a reading verb.

        Errors: StoreUnavailable, StoreRejected.
        """
        if self._closed:
            raise StoreUnavailable(NAME, op, "closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, verb, self._connection)
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            raise mapped(error, op) from error

    async def close(self) -> None:
        """Finish what was asked for, then end. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._executor.shutdown)
            self._connection.close()
