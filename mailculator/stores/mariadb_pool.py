"""A small pool of connections and the transactions on them.

aiomysql's own pool opens connections under its lock, so that one silent server keeps free connections from everybody,
and gives connections back inside a transaction it does not see. Here a connection opens in a task of its own, whoever
waits takes whatever comes free first, and a transaction either commits or closes its connection.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from mailculator.errors import StoreError, StoreRejected, StoreUnavailable
from mailculator.retry import Backoff
from mailculator.stores.mariadb_connection import Connection
from mailculator.stores.mariadb_errors import Aborted, CommitLost, Lost, NoRight
from mailculator.stores.mariadb_wire import Result

T = TypeVar("T")

MAX_AGE = 300.0
"""Seconds after which a connection is not used again: below any sane wait_timeout, and a failover's end is noticed."""

TRIES = 4
"""How often a transaction that the server gives up is run, the first time included."""

ABORTED_BACKOFF = Backoff(base=0.02, cap=0.25)

_DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Of the verb under way in this task."""


class Session:
    """A connection, borrowed for one verb of the store.

    Arguments:
        left: seconds that are left for the verb; StoreUnavailable when there are none.
        transaction: whether all that is executed is one, from its first statement on.
    """

    def __init__(
        self, connection: Connection, op: str, left: Callable[[str], float], *, transaction: bool = False
    ) -> None:
        self._connection = connection
        self._op = op
        self._left = left
        self._transaction = transaction

    async def execute(self, sql: str, parameters: Sequence[object] = ()) -> Result:
        """Run one statement; `%s` marks a parameter, and a sequence is one: `IN %s`. Errors: as Connection.execute."""
        return (await self.execute_all([self.filled(sql, parameters)]))[0]

    async def execute_all(self, statements: Sequence[str]) -> list[Result]:
        """Run statements with one wait for all: each is run whatever has become of those before it.

        Errors: of the first that failed, as Connection.execute.
        """
        if not statements:
            return []
        return await self._connection.execute_all(
            self._op, statements, autocommit=not self._transaction, left=self._left(self._op)
        )

    def filled(self, sql: str, parameters: Sequence[object]) -> str:
        """As Connection.filled, for `execute_all`."""
        return self._connection.filled(sql, parameters)

    def literal(self, value: object) -> str:
        """As Connection.literal. A statement with literals is executed without parameters."""
        return self._connection.literal(value)

    def literals(self, values: Sequence[str]) -> list[str]:
        """As Connection.literals."""
        return self._connection.literals(values)


class Pool:
    """Up to `size` connections, opened when they are needed.

    Arguments:
        connect: opens one; raises StoreUnavailable.
        size: how many there may be, those being opened included.
        timeout: seconds for one verb: the wait for a connection, every statement, every try.
        clock: monotonic seconds.
        rng: spreads the tries of transactions that met each other in a deadlock.

    `denied` is True from a statement that was refused for want of a right until somebody sets it back.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        size: int,
        timeout: float,
        store: str = "mysql",
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._store = store
        self._clock = clock
        self._rng = rng or random.Random()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiters: deque[asyncio.Future[Connection]] = deque()
        self._generation = 0
        self._closed = False
        self.denied = False

    @property
    def open_connections(self) -> int:
        """How many there are, those being opened included."""
        return len(self._idle) + len(self._busy) + len(self._opening)

    @contextmanager
    def verb(self) -> Iterator[None]:
        """Whatever is borrowed within shares one `timeout`: a server that drags itself along looks like a dead one,
        and not like a verb without end."""
        token = _DEADLINE.set(self._deadline())
        try:
            yield
        finally:
            _DEADLINE.reset(token)

    @asynccontextmanager
    async def session(self, op: str, *, transaction: bool = False) -> AsyncIterator[Session]:
        """Borrow a connection, for a single statement or several that need not agree.

        Arguments:
            transaction: see `transaction`, which also ends it.
        """
        deadline = self._deadline()
        connection = await self._acquire(op, deadline)
        try:
            yield Session(connection, op, partial(self._left, deadline), transaction=transaction)
        except BaseException as error:
            # Cancelled or failed in the middle, nobody knows what is still to come on it.
            connection.close()
            if isinstance(error, Lost):
                self._forget(connection.generation)
            self.denied = self.denied or isinstance(error, NoRight)
            raise
        finally:
            self._release(connection)

    @asynccontextmanager
    async def transaction(self, op: str) -> AsyncIterator[Session]:
        """Borrow a connection for one transaction: committed at the end, gone with its connection on any error.

        Errors: CommitLost when the reply to COMMIT did not come.
        """
        async with self.session(op, transaction=True) as session:
            try:
                yield session
            except (Aborted, StoreRejected):
                # The server has answered, so the connection is in step. A rollback that comes with the closing of the
                # connection may come late: the work, taken up again, would pass over its own rows as locked.
                with suppress(StoreError):
                    await session.execute("ROLLBACK")
                raise
            try:
                await session.execute("COMMIT")
            except Lost as error:
                raise CommitLost(error.store, error.op, error.detail) from error

    async def run(self, op: str, work: Callable[[Session], Awaitable[T]], *, tries: int = TRIES) -> T:
        """Run `work` as one transaction, again from its start when the server gives it up, `tries` times at the most.

        Errors: Aborted after the last of them.
        """
        attempt = 1
        with self.verb():
            while True:
                try:
                    async with self.transaction(op) as session:
                        return await work(session)
                except Aborted:
                    if attempt == tries:
                        raise
                await asyncio.sleep(ABORTED_BACKOFF.delay(attempt, self._rng))
                attempt += 1

    def _deadline(self) -> float:
        """When the verb under way must be over, on the event loop's clock."""
        deadline = _DEADLINE.get()
        return asyncio.get_running_loop().time() + self._timeout if deadline is None else deadline

    def _left(self, deadline: float, op: str) -> float:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise self._gone(f"not done within {self._timeout:g} s", op)
        return left

    async def close(self) -> None:
        """Close what is idle and what is being opened; what is borrowed is closed when it comes back."""
        self._closed = True
        opening = tuple(self._opening)
        for task in opening:
            task.cancel()
        self._forget(self._generation)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._gone("the store is closed"))
        await asyncio.gather(*opening, return_exceptions=True)
        # The transports report their end one turn of the loop later.
        await asyncio.sleep(0)

    async def _acquire(self, op: str, deadline: float) -> Connection:
        if self._closed:
            raise self._gone("the store is closed", op)
        self._left(deadline, op)
        connection = self._take_idle()
        if connection is not None:
            return connection
        waiter: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._grow()
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It was handed over in the very moment we gave up.
                self._release(waiter.result())
            if isinstance(error, TimeoutError):
                raise self._gone(f"no connection came free within {self._timeout:g} s", op) from error
            if isinstance(error, StoreUnavailable):
                raise type(error)(error.store, op, error.detail) from error
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if self._fit(connection):
                self._busy.add(connection)
                return connection
            connection.close()
        return None

    def _fit(self, connection: Connection) -> bool:
        young = self._clock() - connection.opened_at < MAX_AGE
        return connection.usable and young and connection.generation == self._generation and not self._closed

    def _release(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if not self._fit(connection):
            connection.close()
            self._grow()
            return
        waiter = self._next_waiter()
        if waiter is None:
            self._idle.append(connection)
        else:
            self._busy.add(connection)
            waiter.set_result(connection)

    def _next_waiter(self) -> asyncio.Future[Connection] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _grow(self) -> None:
        """Open as many connections as there are callers without one, as far as there is room."""
        waiting = sum(not waiter.done() for waiter in self._waiters)
        while not self._closed and len(self._opening) < waiting and self.open_connections < self._size:
            task = asyncio.get_running_loop().create_task(self._open(), name=f"{self._store} connect")
            self._opening.add(task)

    async def _open(self) -> None:
        """Open a connection for whoever has waited longest when it is there; a failure is that caller's to hear."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # it is always run as one
        try:
            connection = await self._connect()
        except StoreUnavailable as error:
            self._opening.discard(task)
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.set_exception(error)
            self._grow()
        else:
            connection.opened_at = self._clock()
            connection.generation = self._generation
            self._opening.discard(task)
            self._release(connection)
        finally:
            self._opening.discard(task)

    def _forget(self, generation: int) -> None:
        """After a lost connection: its idle siblings lead to the same dead server and would each cost a failed call."""
        if generation != self._generation:
            return
        self._generation += 1
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _gone(self, detail: str, op: str = "connect") -> StoreUnavailable:
        return StoreUnavailable(self._store, op, detail)
