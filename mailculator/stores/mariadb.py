"""The queue in MariaDB, beside the producers' own SQL and, during a change-over, beside an older consumer."""

from __future__ import annotations

import os
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from mailculator import environment
from mailculator.config import Settings
from mailculator.errors import SchemaError
from mailculator.events import Observer, ignore
from mailculator.lifecycle import TERMINAL, Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores import (
    mariadb_control,
    mariadb_lifetime,
    mariadb_minutes,
    mariadb_recording,
    mariadb_renewal,
    mariadb_rescue,
)
from mailculator.stores import mariadb_pages as pages_
from mailculator.stores import mariadb_reservations as reservations_
from mailculator.stores import mariadb_rows as rows_
from mailculator.stores import mariadb_steering as steering_
from mailculator.stores import mariadb_unknown as unknown_
from mailculator.stores.base import (
    Capabilities,
    Enqueued,
    Minute,
    Overdue,
    Ping,
    Recorded,
    Renewal,
    Schema,
    Spent,
    Steered,
    Survey,
)
from mailculator.stores.control import Control
from mailculator.stores.guard import Lookout
from mailculator.stores.mariadb_claimer import Claimer
from mailculator.stores.mariadb_connection import Endpoint, tls_context
from mailculator.stores.mariadb_control import MariadbControl
from mailculator.stores.mariadb_door import Door
from mailculator.stores.mariadb_duplicates import DuplicateCheck
from mailculator.stores.mariadb_errors import DuplicateRow, RowRefused
from mailculator.stores.mariadb_pool import Pool
from mailculator.stores.mariadb_rights import Rights
from mailculator.stores.rescue_name import RescueNames
from mailculator.stores.sought import Sought

NAME = "mysql"

TESTED = ("MariaDB 10.11.",)
"""The servers that the contract suite is run against."""

PURGE_BATCH = 100
"""Rows deleted in one transaction, each with its history: small enough to be in nobody's way."""


class MariadbStore:
    """A Store on MariaDB. Any number of processes may share the database.

    Arguments:
        pool: closed with the store.
        duplicates: sorts out of the claims what another store sends; None hands everything out.
        clock: monotonic seconds.
        wall: this machine's epoch seconds, which are compared with the server's and decide nothing.
        token: makes the name of a claim.
    """

    name = NAME
    capabilities = Capabilities(many_processes=True)

    def __init__(
        self,
        pool: Pool,
        *,
        duplicates: DuplicateCheck | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        token: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._wall = wall
        self._rights = Rights(pool)
        self._names = RescueNames()
        self.control: Control = MariadbControl(pool)
        self._claimer = Claimer(pool, duplicates=duplicates, clock=clock, token=token)

    async def enqueue(self, emails: Sequence[NewEmail]) -> list[Enqueued]:
        """See Store. StoreRejected for a path that the column cannot hold."""
        try:
            return await self._pool.run("enqueue", partial(mariadb_lifetime.enqueue, emails=emails))
        except DuplicateRow:
            # A producer was faster with one of them, between our look and our insert.
            return [await self._enqueue_one(email) for email in emails]

    async def _enqueue_one(self, email: NewEmail) -> Enqueued:
        try:
            return (await self._pool.run("enqueue", partial(mariadb_lifetime.enqueue, emails=[email])))[0]
        except DuplicateRow:
            return Enqueued.EXISTS

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """See Store."""
        return await self._claimer.claim(stage, limit, lease=lease, holder=holder)

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """See Store. StoreRejected for a result that cannot be written, when all others are."""
        return await mariadb_recording.record(self._pool, moves)

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        """See Store."""
        return await mariadb_renewal.renew(self._pool, emails, lease=lease)

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        """See Store."""
        return await mariadb_rescue.overdue(self._pool, limit, foreign_hold=foreign_hold)

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        """See Store."""
        return await mariadb_rescue.rescue(self._pool, moves, names=self._names.of, foreign_hold=foreign_hold)

    async def get(self, email_id: str) -> Row | None:
        """See Store."""
        async with self._pool.session("get") as session:
            found = await session.execute(rows_.SELECT_ROWS.format("id = %s"), (email_id,))
        return rows_.to_row(found.rows[0]) if found.rows else None

    async def history(self, email_id: str) -> list[HistoryEntry]:
        """See Store."""
        async with self._pool.session("history") as session:
            found = await session.execute(
                "SELECT status, version, reason, created_at FROM email_status_history WHERE email_id = %s ORDER BY id",
                (email_id,),
            )
        return [rows_.to_entry(fields) for fields in found.rows]

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        """See Store. Reads the index alone."""
        asked = [status for status in Status if terminal or status not in TERMINAL]
        async with self._pool.session("counts") as session:
            found = await session.execute(
                "SELECT status, parked, COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(due_at), NOW(6)) FROM emails"
                " WHERE status IN %s GROUP BY status, parked",
                (asked,),
            )
        counts = {status: StatusCount(0) for status in asked}
        for name, parked, count, age in found.rows:
            before = counts[Status(name)]
            counts[Status(name)] = StatusCount(
                count=before.count + count,
                parked=before.parked + (count if parked else 0),
                oldest_age=before.oldest_age if parked else max(0.0, (age or 0) / 1_000_000),
            )
        return counts

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
        """See Store."""
        async with self._pool.session("page") as session:
            return await pages_.page(session, Sought(status, parked, unknown, domain, after), limit)

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """See Store."""
        return await self._steer("requeue", partial(steering_.requeue, ttl_extension=ttl_extension), ids, who, why)

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steer("release", steering_.release, ids, who, why)

    async def park(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steer("park", steering_.park, ids, who, why)

    async def hasten(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steer("hasten", steering_.hasten, ids, who, why)

    async def cancel(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._steer("cancel", steering_.cancel, ids, who, why)

    async def _steer(
        self, op: str, call: Callable[..., Awaitable[list[Steered]]], ids: Sequence[str], who: str, why: str
    ) -> list[Steered]:
        if not ids:
            return []
        with self._pool.verb():
            try:
                return await self._pool.run(op, partial(call, ids=ids, who=who, why=why))
            except RowRefused:
                shorter = rows_.plain(f"{who}: {why}") != f"{who}: {why}"
            if len(ids) > 1:
                return [answer for one in ids for answer in await self._steer(op, call, [one], who, why)]
            if shorter:
                return await self._steer(op, call, ids, rows_.plain(who) or "", rows_.plain(why) or "")
            return [Steered.NOT_APPLICABLE]

    async def purge(self, limit: int) -> int:
        """See Store."""
        deleted = 0
        with self._pool.verb():
            while deleted < limit:
                batch = min(PURGE_BATCH, limit - deleted)
                gone = await self._pool.run("purge", partial(mariadb_lifetime.purge, limit=batch))
                deleted += gone
                if gone < batch:
                    break
            await self._purge_reservations(limit)
            await self._pool.run("purge", mariadb_control.forget)
        return deleted

    async def _purge_reservations(self, limit: int) -> None:
        looked = 0
        while looked < limit:
            batch = min(PURGE_BATCH, limit - looked)
            due = await self._pool.run("purge", partial(reservations_.purge, limit=batch))
            looked += due
            if due < batch:
                break

    async def reserve_for(self, store: str, emails: Sequence[tuple[str, int | None]]) -> Mapping[str, str | None]:
        """See guard.Reservations."""
        return await self._pool.run("reserve", partial(reservations_.reserve_for, store=store, emails=emails))

    async def remember(self, minute: Minute) -> None:
        """See Store."""
        await self._pool.run("remember", partial(mariadb_minutes.remember, minute=minute))

    async def minutes(self, since: datetime) -> list[Minute]:
        """See Store."""
        async with self._pool.session("minutes") as session:
            return await mariadb_minutes.minutes(session, since)

    async def upkeep(self, replica: str) -> None:
        """Nothing: what is due is found by its index, whoever wrote it."""

    async def survey(self) -> Survey:
        """See Store. An index of InnoDB misses no row, but for those in a status that nobody asks for."""
        async with self._pool.session("survey") as session:
            ids, count = await unknown_.unknown(session)
        return Survey(exact=True, poisoned=ids, poisoned_count=count)

    def spent(self) -> Sequence[Spent]:
        """See Store."""
        return ()

    async def ping(self) -> Ping:
        """See Store."""
        started = self._clock()
        async with self._pool.session("ping") as session:
            asked = self._wall()
            ((version, comment, read_only, now),) = (
                await session.execute("SELECT VERSION(), @@version_comment, @@global.read_only, UNIX_TIMESTAMP(NOW(6))")
            ).rows
            clock_off = (asked + self._wall()) / 2 - float(now)
        server = server_name(str(version), str(comment))
        return Ping(
            server=server,
            tested=server.startswith(TESTED),
            writable=str(read_only) in ("0", "OFF") and await self._rights.may_write(),
            seconds=self._clock() - started,
            clock_off=clock_off,
        )

    async def close(self) -> None:
        """See Store."""
        await self._pool.close()


def server_name(version: str, comment: str) -> str:
    """`10.11.19-MariaDB-0+deb12u1` is MariaDB; MySQL and its kin say who they are in the comment alone."""
    number = re.match(r"[\d.]*", version)
    kind = "MariaDB" if "mariadb" in version.lower() else (comment.partition("(")[0].strip() or "MySQL")
    return f"{kind} {number.group() if number else version}"


def endpoint(settings: Settings) -> Endpoint:
    """Where the settings say the database is. ConfigError when the CA file cannot be used."""
    return Endpoint(
        host=settings.mysql_host,
        port=settings.mysql_port,
        user=settings.mysql_user,
        password=settings.mysql_password.get_secret_value(),
        database=settings.mysql_database,
        tls=tls_context(settings.mysql_tls, settings.mysql_ca_file),
        timeout=settings.timing.store_timeout,
        store=NAME,
    )


def reread_password() -> str | None:
    """The password as its file has it now; None where it has no file. Errors: OSError, ValueError."""
    return environment.reread("MYSQL_PASSWORD", os.environ)


async def open_store(
    settings: Settings, *, service: bool, observer: Observer = ignore, guard: Lookout | None = None
) -> MariadbStore:
    """See stores.registry.Backend."""
    target = endpoint(settings)
    if service:
        state = await open_schema(settings).state()
        if state.refusal is not None:
            raise SchemaError(NAME, state.refusal)
    pool = Pool(
        Door(target, reread_password).open,
        size=settings.mysql_connections,
        timeout=target.timeout,
        store=NAME,
        rng=random.Random(),
    )
    store = MariadbStore(pool, duplicates=_duplicates(settings, pool, observer, guard))
    try:
        await store.ping()
    except BaseException:
        await store.close()
        raise
    return store


def _duplicates(settings: Settings, pool: Pool, observer: Observer, lookout: Lookout | None) -> DuplicateCheck | None:
    if not settings.duplicate_guard:
        return None
    return DuplicateCheck(pool, lookout=lookout, pause=settings.timing.store_timeout, observer=observer)


def open_schema(settings: Settings) -> Schema:
    """See stores.registry.Backend."""
    from mailculator.stores.mariadb_schema import MariadbSchema

    return MariadbSchema(settings)
