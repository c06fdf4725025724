"""What the contract suite cannot ask of every store: MariaDB's own ways to lose a reply, a lock or an index."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.lifecycle import INTAKE, SENDER, STAGES, Move, Stage
from mailculator.model import NewEmail, Row, Status
from mailculator.stores import mariadb_claims, mariadb_moves
from mailculator.stores.base import Enqueued, Recorded, Renewal, Steered
from mailculator.stores.mariadb import MariadbStore, endpoint, open_store
from mailculator.stores.mariadb_connection import Connection
from mailculator.stores.mariadb_door import connect
from mailculator.stores.mariadb_errors import Lost, RowRefused
from mailculator.stores.mariadb_pool import Pool, Session
from mailculator.stores.mariadb_rows import FEW
from tests.contract.steps import rescue
from tests.support import mariadb
from tests.support.dropping_proxy import DroppingProxy


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture(scope="module")
async def settings(server: PrivateMariadb) -> Settings:
    return await mariadb.new_database(server)


@pytest.fixture
async def store(server: PrivateMariadb, settings: Settings) -> AsyncIterator[MariadbStore]:
    mariadb.execute(server, settings.mysql_database, "DELETE FROM emails")
    opened = await open_store(settings, service=False)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(server: PrivateMariadb) -> AsyncIterator[DroppingProxy]:
    async with DroppingProxy(server.host, server.port) as running:
        yield running


@pytest.fixture
async def far(proxy: DroppingProxy, settings: Settings) -> AsyncIterator[MariadbStore]:
    """A second Store on the same queue, behind the proxy."""
    opened = await open_store(settings.model_copy(update={"mysql_port": proxy.port}), service=False)
    yield opened
    await opened.close()


async def enqueue(store: MariadbStore, count: int) -> list[str]:
    ids = sorted(str(uuid.uuid4()) for _ in range(count))
    assert await store.enqueue([NewEmail(one, f"/p/{one}.json") for one in ids]) == [Enqueued.CREATED] * count
    return ids


# Lost replies


async def test_a_claim_whose_commit_got_no_reply_is_recognised_as_ours(
    store: MariadbStore, far: MariadbStore, proxy: DroppingProxy
) -> None:
    ids = await enqueue(store, 3)
    proxy.drop_reply("COMMIT")
    claimed = await far.claim(INTAKE, 10, lease=60, holder="far")
    assert proxy.dropped.is_set()
    assert sorted(email.id for email in claimed) == ids
    moves = [lifecycle.move(email, lifecycle.Prepared("example.com")) for email in claimed]
    assert await far.record(moves) == [Recorded.DONE] * 3


async def test_a_claim_whose_commit_never_arrived_is_no_claim(
    store: MariadbStore, far: MariadbStore, proxy: DroppingProxy
) -> None:
    ids = await enqueue(store, 2)
    proxy.drop_statement("COMMIT")
    with pytest.raises(StoreUnavailable):
        await far.claim(INTAKE, 10, lease=60, holder="far")
    assert proxy.dropped.is_set()
    assert sorted(email.id for email in await store.claim(INTAKE, 10, lease=60, holder="near")) == ids


@asynccontextmanager
async def cut_off(
    settings: Settings, proxy: DroppingProxy, *, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[MariadbStore]:
    """A Store behind the proxy that finds nobody there once the proxy has cut a connection, until that is forgotten."""
    target = endpoint(settings.model_copy(update={"mysql_port": proxy.port}))

    async def reach() -> Connection:
        if proxy.dropped.is_set():
            raise Lost("mysql", "connect", "away")
        return await connect(target)

    opened = MariadbStore(Pool(reach, size=2, timeout=10.0), clock=clock)
    try:
        yield opened
    finally:
        await opened.close()


async def claim_without_answer(store: MariadbStore, proxy: DroppingProxy) -> None:
    """A claim that is applied, with a server that nobody reaches before the store is asked again."""
    proxy.drop_reply("COMMIT")
    with pytest.raises(StoreUnavailable):
        await store.claim(INTAKE, 10, lease=60, holder="far")
    proxy.dropped.clear()


async def test_a_recovered_claim_gives_no_more_than_was_asked_for(
    settings: Settings, store: MariadbStore, proxy: DroppingProxy
) -> None:
    ids = await enqueue(store, 5)
    async with cut_off(settings, proxy) as far:
        await claim_without_answer(far, proxy)
        assert await far.claim(INTAKE, 0, lease=60, holder="far") == []
        parts = [[email.id for email in await far.claim(INTAKE, 2, lease=60, holder="far")] for _ in range(4)]
    assert [len(part) for part in parts] == [2, 2, 1, 0]
    assert sorted(one for part in parts for one in part) == ids


async def test_a_recovered_claim_knows_how_late_it_is(
    server: PrivateMariadb, settings: Settings, store: MariadbStore, proxy: DroppingProxy
) -> None:
    now = [0.0]
    ids = await enqueue(store, 3)
    for ttl, email_id in zip((40, 4000), ids[:2], strict=True):
        mariadb.execute(
            server,
            settings.mysql_database,
            "UPDATE emails SET ttl = UNIX_TIMESTAMP() + %s WHERE id = %s",
            (ttl, email_id),
        )
    (email,) = await store.claim(INTAKE, 1, lease=60, holder="near")
    await store.record([lifecycle.move(email, lifecycle.Retry("missing", delay=0.0))])
    async with cut_off(settings, proxy, clock=lambda: now[0]) as far:
        await claim_without_answer(far, proxy)
        now[0] = 100.0
        found = {email.id: email for email in await far.claim(INTAKE, 10, lease=60, holder="far")}
    assert [found[one].expired for one in ids] == [True, False, False]
    assert found[ids[1]].expires_in == pytest.approx(3900, abs=20)
    assert found[ids[2]].expires_in is None
    assert found[email.id].failing_for == pytest.approx(100, abs=20)


async def test_a_recovered_claim_that_was_never_applied_is_none(
    settings: Settings, store: MariadbStore, proxy: DroppingProxy
) -> None:
    ids = await enqueue(store, 2)
    async with cut_off(settings, proxy) as far:
        proxy.drop_statement("COMMIT")
        with pytest.raises(StoreUnavailable):
            await far.claim(INTAKE, 1, lease=60, holder="far")
        proxy.dropped.clear()
        assert sorted(email.id for email in await far.claim(INTAKE, 10, lease=60, holder="far")) == ids
    assert {email.version for email in [await store.get(one) for one in ids] if email} == {2}


async def test_a_record_whose_commit_got_no_reply_may_be_asked_again(
    store: MariadbStore, far: MariadbStore, proxy: DroppingProxy
) -> None:
    ids = await enqueue(store, 2)
    moves = [
        lifecycle.move(email, lifecycle.Prepared("example.com"))
        for email in await far.claim(INTAKE, 10, lease=60, holder="far")
    ]
    proxy.drop_reply("COMMIT")
    with pytest.raises(StoreUnavailable):
        await far.record(moves)
    assert await far.record(moves) == [Recorded.DONE] * 2
    assert [entry.version for entry in await store.history(ids[0])] == [None, 2, 3]


# The second guard: a statement that asks for what the comparison has asked already


@pytest.mark.parametrize("changes", [{"status": Status.PROCESSING}, {"version": 3}, {"claim_token": "another's"}])
async def test_g1_the_statement_itself_refuses_a_stale_claim(store: MariadbStore, changes: dict[str, Any]) -> None:
    await enqueue(store, 1)
    (email,) = await store.claim(INTAKE, 10, lease=60, holder="me")
    stale = Move(dataclasses.replace(email, **changes), Status.READY, None, domain="example.com")

    async def write(session: Session) -> None:
        await mariadb_moves._write(session, [stale], None)

    with pytest.raises(RowRefused, match="1 rows changed"):
        await store._pool.run("record", write)
    row = await store.get(email.id)
    assert row is not None
    assert row.status is Status.INTAKING


async def test_g1_a_claim_is_told_from_another_to_the_byte(settings: Settings) -> None:
    """Columns compare without regard to case."""
    async with tokens_of(settings, iter(["a" * 32])) as store:
        await enqueue(store, 1)
        (email,) = await store.claim(INTAKE, 10, lease=60, holder="me")
        other = dataclasses.replace(email, claim_token="A" * 32)
        moves = [lifecycle.move(one, lifecycle.Prepared("example.com")) for one in (other, email)]
        assert [(await store.record([move]))[0] for move in moves] == [Recorded.LOST, Recorded.DONE]


@asynccontextmanager
async def tokens_of(settings: Settings, tokens: Iterator[str]) -> AsyncIterator[MariadbStore]:
    """A Store whose claims have these names."""
    opened = MariadbStore(Pool(partial(connect, endpoint(settings)), size=2, timeout=10.0), token=lambda: next(tokens))
    try:
        yield opened
    finally:
        await opened.close()


@pytest.mark.parametrize("claims", [2, FEW + 1])
async def test_g1_a_statement_for_several_claims_refuses_a_row_of_anothers(store: MariadbStore, claims: int) -> None:
    await enqueue(store, claims)
    emails = [(await store.claim(INTAKE, 1, lease=60, holder="me"))[0] for _ in range(claims)]
    moves = [lifecycle.move(email, lifecycle.Prepared("example.com")) for email in emails]
    swapped = dataclasses.replace(emails[0], claim_token=emails[1].claim_token)
    moves[0] = dataclasses.replace(moves[0], email=swapped)

    async def write(session: Session) -> None:
        await mariadb_moves._write(session, moves, None)

    with pytest.raises(RowRefused, match="1 rows changed"):
        await store._pool.run("record", write)


@pytest.mark.parametrize(("claims", "domains"), [(3, 2), (3, 300), (FEW + 5, 1), (FEW + 5, 300)])
async def test_each_row_of_a_mixed_group_gets_its_own_values(store: MariadbStore, claims: int, domains: int) -> None:
    ids = await enqueue(store, 300)
    emails = [
        email for _ in range(claims) for email in await store.claim(INTAKE, -(-300 // claims), lease=60, holder="me")
    ]
    wanted = {email_id: f"{number % domains}.example" for number, email_id in enumerate(ids)}
    moves = [lifecycle.move(email, lifecycle.Prepared(wanted[email.id])) for email in emails]
    assert await store.record(moves) == [Recorded.DONE] * 300
    rows = await store.page(Status.READY, limit=300)
    assert {row.id: row.recipient_domain for row in rows} == wanted


# Somebody else's locks


@contextmanager
def operator_holds(server: PrivateMariadb, settings: Settings, email_id: str) -> Iterator[None]:
    """Somebody's `mariadb` client, left open in the middle of a transaction."""
    with closing(mariadb.connect(server, settings.mysql_database)) as operator, operator.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM emails WHERE id = %s FOR UPDATE", (email_id,))
        yield
        operator.rollback()


async def comes_true(store: MariadbStore, email_id: str, condition: Callable[[Row], bool]) -> None:
    async with asyncio.timeout(10):
        while (row := await store.get(email_id)) is None or not condition(row):
            pass


async def test_a_row_locked_by_an_operator_holds_up_no_other_result(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    locked, free = await enqueue(store, 2)
    claimed = await store.claim(INTAKE, 10, lease=60, holder="me")
    moves = [lifecycle.move(email, lifecycle.Prepared("example.com")) for email in claimed]
    with operator_holds(server, settings, locked):
        recording = asyncio.create_task(store.record(moves))
        await comes_true(store, free, lambda row: row.status is Status.READY)
        assert not recording.done()
    assert await recording == [Recorded.DONE] * 2


async def test_a_row_that_somebody_has_locked_is_not_rescued_and_holds_up_no_other(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    await enqueue(store, 2)
    await store.claim(INTAKE, 10, lease=0, holder="me")
    locked, free = await store.overdue(10, foreign_hold=1800)
    moves = [lifecycle.move(one.email, lifecycle.Rescued("rescued")) for one in (locked, free)]
    with operator_holds(server, settings, locked.email.id):
        assert await store.rescue(moves, foreign_hold=1800) == [Recorded.LOST, Recorded.DONE]
    assert await store.rescue(moves, foreign_hold=1800) == [Recorded.DONE, Recorded.DONE]


async def test_a_row_locked_by_an_operator_holds_up_no_other_lease(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    locked, free = await enqueue(store, 2)
    claimed = await store.claim(INTAKE, 10, lease=60, holder="me")
    before = await store.get(free)
    assert before is not None
    with operator_holds(server, settings, locked):
        renewing = asyncio.create_task(store.renew(claimed, lease=600))
        await comes_true(store, free, lambda row: row.lease_until != before.lease_until)
        assert not renewing.done()
    assert await renewing == Renewal(frozenset({locked, free}), frozenset())


async def test_of_a_row_that_stays_locked_nobody_can_tell_and_no_other_lease_lapses(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    """Counted as lost, a send beyond its final dot would be cancelled, and sent again."""
    locked, moved_and_locked, gone, free = await enqueue(store, 4)
    # Lock waits end after a second, the shortest there is, and not after five.
    hasty = await open_store(settings.model_copy(update={"lease": 18.0}), service=False)
    try:
        claimed = await hasty.claim(INTAKE, 10, lease=60, holder="me")
        for statement in (
            f"UPDATE emails SET version = version + 1 WHERE id = '{moved_and_locked}'",
            f"DELETE FROM emails WHERE id = '{gone}'",
        ):
            mariadb.execute(server, settings.mysql_database, statement)
        with operator_holds(server, settings, locked), operator_holds(server, settings, moved_and_locked):
            renewal = await hasty.renew(claimed, lease=600)
        assert renewal == Renewal(frozenset({free}), frozenset({moved_and_locked, gone}))
    finally:
        await hasty.close()


async def test_a_claim_never_waits_for_a_locked_row(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    locked, free = await enqueue(store, 2)
    with operator_holds(server, settings, locked):
        async with asyncio.timeout(4):
            assert [email.id for email in await store.claim(INTAKE, 10, lease=60, holder="me")] == [free]


# Odd rows


async def test_a_row_without_a_status_is_nobodys(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    (good,) = await enqueue(store, 1)
    with closing(mariadb.connect(server, settings.mysql_database)) as producer, producer.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("INSERT INTO emails (id, status, payload_file_path) VALUES (UUID(), 'NONSENSE', '/p')")
        cursor.execute("UPDATE emails SET created_at = 0 WHERE id = %s", (good,))
    assert [row.id for row in await store.page()] == [good]
    assert sum(count.count for count in (await store.counts(terminal=True)).values()) == 1
    (email,) = await store.claim(INTAKE, 10, lease=60, holder="me")
    assert email.created_at == datetime(1970, 1, 1, tzinfo=UTC)


async def test_a_path_that_no_column_holds_is_refused(store: MariadbStore) -> None:
    with pytest.raises(StoreRejected, match="error 1406"):
        await store.enqueue([NewEmail(str(uuid.uuid4()), "/" + "p" * 500)])


# Clocks


async def test_g7_times_are_utc_on_a_server_two_hours_ahead(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    database = settings.mysql_database
    email_id = str(uuid.uuid4())
    assert mariadb.execute(server, database, "SELECT @@global.time_zone") == (("+02:00",),)
    mariadb.execute(
        server,
        database,
        "INSERT INTO emails (id, status, payload_file_path, ttl) VALUES (%s, 'ACCEPTED', '/p', UNIX_TIMESTAMP() + 60)",
        (email_id,),
    )
    (email,) = await store.claim(INTAKE, 10, lease=60, holder="me")
    assert abs((email.created_at - datetime.now(UTC)).total_seconds()) < 60
    assert not email.expired
    assert await rescue(store, 10, foreign_hold=1800) == []
    row = await store.get(email_id)
    assert row is not None
    assert row.lease_until is not None
    assert 0 < (row.lease_until - datetime.now(UTC)).total_seconds() <= 60
    ((seen,),) = mariadb.execute(server, database, "SELECT COUNT(*) FROM emails WHERE lease_until > NOW()")
    assert seen == 1


# Reads


async def test_a_claim_reads_what_it_takes_however_long_the_queue_is(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    database = settings.mysql_database
    # Nearly everything is ACCEPTED and due: what makes an optimizer scan and sort.
    mariadb.execute(
        server,
        database,
        "INSERT INTO emails (id, status, payload_file_path, due_at) SELECT UUID(),"
        " IF(seq % 50 = 0, 'READY', 'ACCEPTED'), '/p', NOW(6) - INTERVAL seq * 7919 % 20000 SECOND"
        " FROM seq_1_to_20000",
    )
    mariadb.execute(server, database, "ANALYZE TABLE emails PERSISTENT FOR ALL")
    for stage in (INTAKE, SENDER):
        async with store._pool.transaction("claim") as session:
            await session.execute("FLUSH STATUS")
            token = uuid.uuid4().hex
            found = await mariadb_claims.due(session, stage, 20, token=token)
            await session.execute_all(mariadb_claims.taking(session, stage, found, lease=60, holder="me", token=token))
            status = await session.execute("SHOW SESSION STATUS WHERE Variable_name RLIKE '^(Handler_read|Sort)'")
        assert len(found.emails) == 20
        reads = {name: int(value) for name, value in status.rows}
        assert reads["Handler_read_next"] + reads["Handler_read_prev"] <= 40
        assert reads["Handler_read_rnd_next"] == reads["Handler_read_rnd"] == reads["Handler_read_first"] == 0
        assert reads["Sort_scan"] == reads["Sort_range"] == reads["Sort_rows"] == 0
    async with store._pool.session("test") as session:
        plan = await session.execute(
            "EXPLAIN " + mariadb_claims._CLAIMED.format(reached="reached_at"), (Status.ACCEPTED, 20)
        )
        counting = await session.execute(
            "EXPLAIN SELECT status, parked, COUNT(*), MIN(due_at) FROM emails WHERE status IN %s"
            " GROUP BY status, parked",
            (sorted(Status),),
        )
    assert plan.rows[0][5] == "idx_emails_due"
    assert "filesort" not in plan.rows[0][-1]
    assert "Using index" in counting.rows[0][-1]


async def test_a_page_of_parked_rows_looks_at_no_others(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    mariadb.execute(
        server,
        settings.mysql_database,
        "INSERT INTO emails (id, status, payload_file_path, parked) SELECT UUID(),"
        " IF(seq % 2 = 0, 'READY', 'SENT-ACKNOWLEDGED'), '/p', seq % 1000 = 0 FROM seq_1_to_5000",
    )
    async with store._pool.session("test") as session:
        await session.execute("FLUSH STATUS")
    assert len(await store.page(parked=True)) == 5
    async with store._pool.session("test") as session:
        status = await session.execute("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%'")
    assert sum(int(value) for _, value in status.rows) < 100


async def test_a_status_of_another_program_spoils_no_look_at_the_queue(server: PrivateMariadb) -> None:
    settings = await mariadb.new_database(server)
    store = await open_store(settings, service=False)
    email_id, foreign = await enqueue(store, 2)
    statuses = ", ".join(f"'{status}'" for status in (*Status, "CALLING-INVALID-CALLBACK"))
    for statement in (
        f"ALTER TABLE emails MODIFY status ENUM({statuses}) NOT NULL",
        f"UPDATE emails SET status = 'CALLING-INVALID-CALLBACK' WHERE id = '{foreign}'",
    ):
        mariadb.execute(server, settings.mysql_database, statement)

    assert [row.id for row in await store.page()] == [email_id]
    assert await store.get(foreign) is None
    assert sum(one.count for one in (await store.counts(terminal=True)).values()) == 1
    assert [email.id for email in await store.claim(INTAKE, 10, lease=90.0, holder="h")] == [email_id]
    assert await store.requeue([foreign], who="w", why="y", ttl_extension=1.0) == [Steered.MISSING]
    await store.close()


@pytest.mark.parametrize(
    ("polling", "claiming"),
    list(itertools.permutations(STAGES, 2)),
    ids=lambda stage: stage.name,
)
async def test_a_poll_under_way_at_one_stage_hides_no_mail_of_another(
    store: MariadbStore, server: PrivateMariadb, settings: Settings, polling: Stage, claiming: Stage
) -> None:
    """A locking read also locks the index's entry behind its range, and that is another stage's first email."""
    (email_id,) = await enqueue(store, 1)
    mariadb.execute(
        server, settings.mysql_database, "UPDATE emails SET status = %s WHERE id = %s", (claiming.waiting, email_id)
    )

    async def look(session: Session, stage: Stage) -> list[str]:
        return [email.id for email in (await mariadb_claims.due(session, stage, 10, token="t" * 32)).emails]

    async def poll(session: Session) -> None:
        assert await look(session, polling) == []
        assert await store._pool.run("claim", partial(look, stage=claiming)) == [email_id]

    async with asyncio.timeout(20):
        await store._pool.run("claim", poll)


async def test_a_claim_that_begins_anew_passes_over_none_of_its_own_rows(
    store: MariadbStore, server: PrivateMariadb, settings: Settings
) -> None:
    """The rollback of its first attempt must be over: its locks would hide the rows from its second."""
    for _ in range(5):
        bad, *good = await enqueue(store, 400)
        mariadb.execute(
            server,
            settings.mysql_database,
            "INSERT INTO email_status_history (email_id, status, version) VALUES (%s, 'INTAKING', 2)",
            (bad,),
        )
        assert sorted(email.id for email in await store.claim(INTAKE, 500, lease=60, holder="me")) == good
