"""The queue in MariaDB, beside the producers' own SQL and, during a change-over, beside an older consumer."""

from __future__ import annotations

import contextlib
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mailculator.config import Settings
from mailculator.errors import SchemaError
from mailculator.lifecycle import TERMINAL, Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores import mariadb_claims as claims
from mailculator.stores import mariadb_lifetime
from mailculator.stores import mariadb_moves as moves_
from mailculator.stores import mariadb_rows as rows_
from mailculator.stores.base import Capabilities, Enqueued, Ping, Recorded, Rescue, Schema, Steered
from mailculator.stores.mariadb_connection import Endpoint, connect, tls_context
from mailculator.stores.mariadb_errors import Aborted, CommitLost, DuplicateRow, RowRefused
from mailculator.stores.mariadb_pool import Pool, Session

NAME = "mysql"

TESTED = ("MariaDB 10.11.",)
"""The servers that the contract suite is run against."""

PURGE_BATCH = 100
"""Rows deleted in one transaction, each with its history: small enough to be in nobody's way."""


_REFUSALS = 3


class MariadbStore:
    """A Store on MariaDB. Any number of processes may share the database.

    Arguments:
        pool: closed with the store.
        clock: monotonic seconds, for how long a ping took.
        token: makes the name of a claim.
    """

    name = NAME
    capabilities = Capabilities(many_processes=True)

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], float] = time.monotonic,
        token: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._token = token

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
        refusals = 0
        while limit > 0:
            try:
                return await self._claim(stage, limit, lease=lease, holder=holder)
            except RowRefused:
                # One odd row must not hold up its stage for ever (G14). It may be another replica that sets it aside.
                refusals += 1
                aside = await self._pool.run("claim", partial(claims.set_aside, stage=stage, limit=limit))
                if not aside and refusals > _REFUSALS:
                    raise
        return []

    async def _claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        token = self._token()
        taken: list[Email] = []

        async def work(session: Session) -> list[Email]:
            taken[:] = await claims.claim(session, stage, limit, lease=lease, holder=holder, token=token)
            return list(taken)

        try:
            return await self._pool.run("claim", work)
        except CommitLost as error:
            return await self._recover(taken, token, error)

    async def _recover(self, taken: Sequence[Email], token: str, error: CommitLost) -> list[Email]:
        """The claim whose COMMIT got no reply: if it was applied, nobody else will look after it."""
        look = partial(claims.claimed_after_all, ids=[email.id for email in taken], token=token)
        mine = await self._pool.run("claim", look)
        if not mine:
            raise error
        return [email for email in taken if email.id in mine]

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """See Store."""
        first: dict[str, int] = {}
        for position, move in enumerate(moves):
            first.setdefault(move.email.id, position)
        group = await self._record([moves[position] for position in first.values()])
        answers = dict(zip(first.values(), group, strict=True))
        for position, move in enumerate(moves):
            if position not in answers:
                # The same id once more: it stands on what the first has left.
                (answers[position],) = await self._record([move])
        return [answers[position] for position in range(len(moves))]

    async def _record(self, moves: Sequence[Move]) -> list[Recorded]:
        """Everything that nobody has locked goes first: a long transaction of an operator's holds up its own rows."""
        if not moves:
            return []
        first = await self._record_group(moves, wait=False)
        locked = [move for move, answer in zip(moves, first, strict=True) if answer is None]
        second = iter(await self._record_group(locked, wait=True) if locked else ())
        return [(next(second) if answer is None else answer) or Recorded.LOST for answer in first]

    async def _record_group(self, moves: Sequence[Move], *, wait: bool) -> list[Recorded | None]:
        try:
            return await self._pool.run("record", partial(moves_.record, moves=moves, wait=wait))
        except RowRefused:
            if len(moves) == 1:
                return [Recorded.LOST]
        return [(await self._record_group([move], wait=wait))[0] for move in moves]

    async def renew(self, emails: Sequence[Email], *, lease: float) -> frozenset[str]:
        """See Store."""
        if not emails:
            return frozenset()
        ours, unseen = await self._pool.run("renew", partial(claims.renew, emails=emails, lease=lease, wait=False))
        if unseen:
            # Gone, or locked by a record of ours or an operator's session; the others are renewed by now.
            late = [email for email in emails if email.id in unseen]
            again = partial(claims.renew, emails=late, lease=lease, wait=True)
            # One row that stays locked must not let the leases of all others lapse: it counts as not ours.
            with contextlib.suppress(Aborted):
                ours |= (await self._pool.run("renew", again, tries=1))[0]
        return ours

    async def rescue(self, limit: int, *, foreign_hold: float) -> list[Rescue]:
        """See Store."""
        async with self._pool.session("rescue") as session:
            ids = await claims.expired_claims(session, max(limit, 0), foreign_hold)
        if not ids:
            return []
        try:
            return await self._pool.run("rescue", partial(claims.rescue, ids=ids, foreign_hold=foreign_hold))
        except RowRefused:
            others = await self._pool.run("rescue", partial(claims.postpone, ids=ids, foreign_hold=foreign_hold))
        if not others:
            return []
        return await self._pool.run("rescue", partial(claims.rescue, ids=others, foreign_hold=foreign_hold))

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
        self, status: Status | None = None, *, parked: bool | None = None, after: str | None = None, limit: int = 50
    ) -> list[Row]:
        """See Store."""
        conditions = ["TRUE"]
        parameters: list[object] = []
        if status is not None:
            conditions.append("status = %s")
            parameters.append(status)
        if parked is not None:
            conditions.append("parked <> 0" if parked else "parked = 0")
        if after is not None:
            conditions.append("id > %s")
            parameters.append(after)
        async with self._pool.session("page") as session:
            found = await session.execute(
                rows_.SELECT_ROWS.format(" AND ".join(conditions)) + " ORDER BY id LIMIT %s",
                [*parameters, max(limit, 0)],
            )
        return [rows_.to_row(fields) for fields in found.rows]

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        """See Store."""
        if not ids:
            return []
        call = partial(moves_.requeue, who=who, why=why, ttl_extension=ttl_extension)
        try:
            return await self._pool.run("requeue", partial(call, ids=ids))
        except RowRefused:
            if len(ids) == 1:
                return [Steered.NOT_APPLICABLE]
        return [(await self.requeue([one], who=who, why=why, ttl_extension=ttl_extension))[0] for one in ids]

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        """See Store."""
        return await self._pool.run("release", partial(moves_.release, ids=ids, who=who, why=why)) if ids else []

    async def purge(self, limit: int) -> int:
        """See Store."""
        deleted = 0
        while deleted < limit:
            batch = min(PURGE_BATCH, limit - deleted)
            gone = await self._pool.run("purge", partial(mariadb_lifetime.purge, limit=batch))
            deleted += gone
            if gone < batch:
                break
        return deleted

    async def ping(self) -> Ping:
        """See Store."""
        started = self._clock()
        async with self._pool.session("ping") as session:
            ((version, comment, read_only),) = (
                await session.execute("SELECT VERSION(), @@version_comment, @@global.read_only")
            ).rows
        server = server_name(str(version), str(comment))
        return Ping(
            server=server,
            tested=server.startswith(TESTED),
            writable=str(read_only) in ("0", "OFF"),
            seconds=self._clock() - started,
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


async def open_store(settings: Settings, *, service: bool) -> MariadbStore:
    """See stores.registry.Backend."""
    target = endpoint(settings)
    if service:
        state = await open_schema(settings).state()
        if state.refusal is not None:
            raise SchemaError(NAME, state.refusal)
    pool = Pool(
        partial(connect, target),
        size=settings.mysql_connections,
        timeout=target.timeout,
        store=NAME,
        rng=random.Random(),
    )
    store = MariadbStore(pool)
    try:
        await store.ping()
    except BaseException:
        await store.close()
        raise
    return store


def open_schema(settings: Settings) -> Schema:
    """See stores.registry.Backend."""
    from mailculator.stores.mariadb_schema import MariadbSchema

    return MariadbSchema(settings)
