"""A MariaDB under the queue that is struck while its replicas stay up: what befalls it, and what is known of it then.

Kills, restarts and standing still; a server that takes no writes any more, as after a failover (error 1290); one whose
connections are all taken, and those of the service cut (error 1040).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

from mailculator.clock import SystemClock
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import WORKING
from tests.chaos.fleet import PATIENCE, Fleet
from tests.chaos.ground import Held, SqlGround
from tests.support import mariadb
from tests.support.invariants import Standing
from tests.support.producer import MariadbProducer
from tests.support.scenario import Variables
from tests.support.service import Line

T = TypeVar("T")

SERVICE, GREEDY = "service", "greedy"
"""Users without any right to pass over a read-only server, or over a full one."""
MOMENT = 0.5
"""Seconds from a claim to the blow, at the most."""
LEASE = 600.0
"""Seconds before they are scaled to 30. Whoever was alive all the time has renewed, when the server is back, before
anybody takes what he holds for a dead one's; that time is a third of it, and a busy machine may need most of it."""
ABSENT = (2.5, 6.0)
TENTH, BEYOND_LEASE = 10, (31.0, 36.0)
"""Seconds for which the server is away, beside the time that it needs to come up; each tenth time for longer than a
lease. Nobody waits for the answer to a statement for as long as the least of them."""
_AGAIN = 0.1
_HELD = ", ".join(f"'{status}'" for status in sorted(WORKING))


@dataclass(frozen=True, slots=True)
class Absence:
    """A time for which the server was of no use. Epoch seconds.

    Arguments:
        began: the first mail of the round may have come from then on.
        since: it was struck.
        until: it was well again, as far as it can be told from outside.
        met: emails that were in somebody's hands when it was struck.
    """

    began: float
    since: float
    until: float
    met: int


@dataclass
class LastingGround(SqlGround):
    """A queue whose producers and operators outlive their server: what fails with it is done when it is back."""

    async def put(self, emails: Mapping[str, Path]) -> None:
        """See Ground. A commit whose answer was lost is not made twice."""
        await self._surely(partial(self._put_missing, emails))

    async def held(self, replica: str) -> Held:
        return await self._surely(partial(super().held, replica))

    async def unfinished(self) -> int:
        return await self._surely(super().unfinished)

    async def standings(self) -> list[Standing]:
        return await self._surely(super().standings)

    async def in_hand(self) -> int:
        """Emails that somebody holds."""
        return await self._surely(self._in_hand)

    async def _in_hand(self) -> int:
        async with self._session:
            return int((await self.queue.run(f"SELECT COUNT(*) FROM emails WHERE status IN ({_HELD})"))[0][0])

    async def _put_missing(self, emails: Mapping[str, Path]) -> None:
        marks = ", ".join("?" * len(emails))
        async with self._session:
            there = {row[0] for row in await self.queue.run(f"SELECT id FROM emails WHERE id IN ({marks})", *emails)}
        if missing := {email_id: path for email_id, path in emails.items() if email_id not in there}:
            await super().put(missing)

    async def _surely(self, call: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await call()
                except pymysql.MySQLError:
                    await SystemClock().wait(asyncio.Event(), _AGAIN)
                with suppress(pymysql.MySQLError):
                    await self._reopen()

    async def _reopen(self) -> None:
        before, variables = self.queue.producer, self.queue.variables
        port, database = int(str(variables["MYSQL_PORT"])), str(variables["MYSQL_DATABASE"])
        async with self._session:
            self.queue.producer = await asyncio.to_thread(MariadbProducer, port=port, database=database)
            with suppress(pymysql.MySQLError):
                before.close()


@dataclass
class Anvil:
    """The server, and the fleet that has to live through what befalls it.

    Arguments:
        rng: when, and for how long.
        absences: in their order.
    """

    server: PrivateMariadb
    ground: LastingGround
    fleet: Fleet
    rng: random.Random
    absences: list[Absence] = field(default_factory=list)

    async def strike(self, how: str) -> None:
        """One blow, soon after somebody has claimed mail; the first while he still holds it. `how`: a key of BLOWS."""
        began = time.time()
        met = await self._moment()
        while not met and not self.absences:
            met = await self._moment()
        since = time.time()
        seconds = BEYOND_LEASE if len(self.absences) % TENTH == TENTH - 1 else ABSENT
        await BLOWS[how](self.server, self.rng.uniform(*seconds))
        self.absences.append(Absence(began, since, time.time(), met))
        self.fleet.complaints += self._fallen()

    async def _moment(self) -> int:
        """Some time after a claim. Returns how many emails are in somebody's hands then."""
        await self.fleet.claiming()
        await _pass(self.rng.uniform(0.0, MOMENT))
        return await self.ground.in_hand()

    def taken_over(self) -> list[Line]:
        """What was taken from living holders, or came too late for them; nothing, if they were heard in time."""
        return [*self._lines("mail.rescued"), *self._lines("mail.claim_lost")]

    def _fallen(self) -> Iterator[str]:
        for name, process in self.fleet.running.items():
            if process.process.returncode is not None:
                yield f"{name} has ended with {process.process.returncode}: {process.errors[-1000:]}"

    def unnoticed(self, sign: str) -> list[Absence]:
        """Those of which no replica's log says that the store fails, with that word in it."""
        told = [_at(line) for line in self._lines("store.failing") if sign in line["error"]]
        return [one for one in self.absences if not any(one.since <= at <= one.until + ABSENT[0] for at in told)]

    def moving(self) -> list[float]:
        """Seconds from each return to the first claim or record of anybody."""
        return [min(times) - one.until for one, times in self._afterwards() if times]

    def ended(self) -> list[float]:
        """Seconds from each return to the last move of its round, when everything had ended."""
        return [max(times) - one.until for one, times in self._afterwards() if times]

    def _afterwards(self) -> Iterator[tuple[Absence, Sequence[float]]]:
        told = sorted(map(_at, self._lines("mail.")))
        for one, after in zip(self.absences, [*self.absences[1:], None], strict=True):
            until = float("inf") if after is None else after.began
            yield one, [at for at in told if one.until <= at < until]

    def _lines(self, event: str) -> Iterator[Line]:
        """Of all replicas, of all events whose names begin like that."""
        for process in self.fleet.everyone:
            yield from (line for line in process.lines if line["event"].startswith(event))


async def kill(server: PrivateMariadb, seconds: float) -> None:
    """`kill -9`, and a new start after that time."""
    await server.kill()
    await _pass(seconds)
    await server.start()


async def restart(server: PrivateMariadb, seconds: float) -> None:
    """An orderly stop, and a new start after that time."""
    await server.stop()
    await _pass(seconds)
    await server.start()


async def freeze(server: PrivateMariadb, seconds: float) -> None:
    """SIGSTOP: connections stay open, and new ones too, and nobody answers on them."""
    server.pause()
    try:
        await _pass(seconds)
    finally:
        server.resume()


async def demote(server: PrivateMariadb, seconds: float) -> None:
    """It takes no writes, as a primary that another one has taken over from: error 1290.

    Its name would lead to that other one by now, so that no connection may be kept.
    """
    await asyncio.to_thread(mariadb.execute, server, "mysql", "SET GLOBAL read_only = 1")
    try:
        before = await asyncio.to_thread(_sessions, server)
        await _pass(seconds)
        async with asyncio.timeout(PATIENCE):
            while before & await asyncio.to_thread(_sessions, server):
                await _pass(_AGAIN)
    finally:
        await asyncio.to_thread(mariadb.execute, server, "mysql", "SET GLOBAL read_only = 0")


async def crowd(server: PrivateMariadb, seconds: float) -> None:
    """Its connections are all taken: the service's are cut, and no new one is to be had (error 1040)."""
    # Who sees to it has a connection before the others are gone: the server frees a closed one when it comes to it.
    ours = await asyncio.to_thread(_connected, server, server.user)
    taken = [ours]
    try:
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(_crowd_out, server, ours, taken):
                await _pass(0.0)
        await _pass(seconds)
    finally:
        await asyncio.to_thread(_let_go, taken)


_SESSIONS = f"SELECT id FROM information_schema.processlist WHERE user = '{SERVICE}'"

BLOWS: Mapping[str, Callable[[PrivateMariadb, float], Awaitable[None]]] = {
    "killed": kill,
    "restarted": restart,
    "frozen": freeze,
    "read-only": demote,
    "full": crowd,
}


def admit(server: PrivateMariadb, database: str) -> Variables:
    """Make both users, and return the variables that name the service's own."""
    for user in (SERVICE, GREEDY):
        mariadb.execute(server, "mysql", f"CREATE USER IF NOT EXISTS {user}@'127.0.0.1' IDENTIFIED BY 'pw'")
    rights = f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{database}`.* TO {SERVICE}@'127.0.0.1'"
    mariadb.execute(server, "mysql", rights)
    return {"MYSQL_USER": SERVICE, "MYSQL_PASSWORD": "pw"}


def _crowd_out(
    server: PrivateMariadb, ours: pymysql.Connection[Cursor], taken: list[pymysql.Connection[Cursor]]
) -> bool:
    """Take every connection that is left, and cut the service's; True when it had none any more."""
    try:
        while True:
            taken.append(_connected(server, GREEDY, "pw"))
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.CON_COUNT_ERROR:
            raise
    with ours.cursor() as cursor:
        cursor.execute(_SESSIONS)
        found = [session for (session,) in cursor.fetchall()]
        for session in found:
            with suppress(pymysql.MySQLError):  # it has gone by itself
                cursor.execute(f"KILL {session}")
    return not found


def _sessions(server: PrivateMariadb) -> set[int]:
    """Those of the service."""
    return {int(session) for (session,) in mariadb.execute(server, "mysql", _SESSIONS)}


def _connected(server: PrivateMariadb, user: str, password: str = "") -> pymysql.Connection[Cursor]:
    return pymysql.connect(host=server.host, port=server.port, user=user, password=password, ssl_disabled=True)


def _at(line: Line) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _let_go(taken: Sequence[pymysql.Connection[Any]]) -> None:
    for connection in taken:
        connection.close()


async def _pass(seconds: float) -> None:
    await SystemClock().wait(asyncio.Event(), seconds)
