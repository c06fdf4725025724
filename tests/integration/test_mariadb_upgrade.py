"""The live database of the older service becomes ours: cut short anywhere, in use all the while, and losing nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pymysql
import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.lifecycle import STAGES
from mailculator.model import Status
from mailculator.stores.mariadb import open_store
from mailculator.stores.mariadb_schema import statements
from mailculator.stores.schema_files import SchemaFile, schema_files
from tests.support import older_service
from tests.support.mariadb import shared_mariadb
from tests.support.mariadb_databases import Database, make
from tests.support.older_service import OlderConsumer, OlderProducer

FILES = schema_files("mariadb")
ALL_STATEMENTS = [statement for file in FILES for statement in statements(file.sql)]
# A SET leaves nothing behind that a new session would see.
KILL_POINTS = [number for number, sql in enumerate(ALL_STATEMENTS, 1) if not sql.startswith("SET ")]
ORIGINS = pytest.mark.parametrize("rows", [None, 2], ids=["empty", "older"])


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with shared_mariadb() as server:
        yield server


@pytest.fixture
async def older(server: PrivateMariadb) -> Database:
    return await make(server, older=2)


@ORIGINS
async def test_killed_after_any_statement_it_is_taken_up_again(server: PrivateMariadb, rows: int | None) -> None:
    reference = await make(server, older=rows)
    await reference.apply()
    expected = await reference.snapshot()
    for count in KILL_POINTS:
        database = await make(server, older=rows)
        await database.run(*ALL_STATEMENTS[:count])
        await database.apply()
        assert await database.snapshot() == expected, f"killed after statement {count}"
        if rows:
            history = await database.run("SELECT COUNT(*) FROM email_status_history")
            assert history == ((older_service.history_rows(rows),),)
        await database.run(f"DROP DATABASE {database.name}")


@pytest.mark.parametrize("renames", [1, 2])
async def test_whatever_a_crash_leaves_of_the_rename_is_mended(
    server: PrivateMariadb, older: Database, renames: int
) -> None:
    reference = await make(server, older=2)
    await reference.apply()
    parts = (
        "RENAME TABLE email_status_history TO mailculator_stand_in",
        "RENAME TABLE email_statuses TO email_status_history",
    )
    before = next(number for number, sql in enumerate(ALL_STATEMENTS) if "RENAME TABLE" in sql)
    await older.run(*ALL_STATEMENTS[:before], *parts[:renames])
    await older.apply()
    assert await older.snapshot() == await reference.snapshot()
    assert await older.run("SELECT COUNT(*) FROM email_statuses") == ((older_service.history_rows(2),),)


async def test_two_tables_that_could_be_the_history_are_left_for_a_person(older: Database) -> None:
    await older.run(
        "CREATE TABLE email_status_history (id INT PRIMARY KEY)", "INSERT INTO email_status_history VALUES (7)"
    )
    with pytest.raises(StoreRejected, match="email_statuses and email_status_history are both tables"):
        await older.apply()
    assert await older.run("SELECT id FROM email_status_history") == ((7,),)
    assert await older.run("SELECT COUNT(*) FROM email_statuses") == ((older_service.history_rows(2),),)
    await older.run("DROP TABLE email_status_history")
    assert await older.apply() == tuple(file.name for file in FILES)


async def test_the_old_name_of_the_history_reads_and_writes(older: Database) -> None:
    (email_id,) = older_service.ids(Status.READY, [1])
    await older.run(
        "CREATE TRIGGER operators_own AFTER INSERT ON email_statuses FOR EACH ROW SET @seen = NEW.id",
    )
    await older.apply()
    session = await older.session()
    await session.run("INSERT INTO email_statuses (email_id, status) VALUES (?, 'PROCESSING')", email_id)
    new = session.last_id
    assert await session.run("SELECT LAST_INSERT_ID(), @seen") == ((new, new),)
    row = await session.run("SELECT id, email_id, status, version FROM email_status_history WHERE id = ?", new)
    assert row == ((new, email_id, "PROCESSING", None),)
    fresh = await session.run(
        "SELECT ABS(TIMESTAMPDIFF(SECOND, created_at, NOW())) < 60 FROM email_statuses WHERE id = ?", new
    )
    assert fresh == ((1,),)

    await session.run("UPDATE email_statuses SET reason = 'by the old name' WHERE id = ?", new)
    assert await session.run("SELECT reason FROM email_status_history WHERE id = ?", new) == (("by the old name",),)
    await session.run("DELETE FROM email_statuses WHERE email_id = ? ORDER BY id DESC LIMIT 1", email_id)
    assert await session.run("SELECT id FROM email_status_history WHERE id = ?", new) == ()
    with pytest.raises(pymysql.err.IntegrityError, match="foreign key"):
        await session.run("INSERT INTO email_statuses (email_id, status) VALUES ('nobody', 'READY')")
    await session.run("DELETE FROM emails WHERE id = ?", email_id)
    assert await session.run("SELECT id FROM email_statuses WHERE email_id = ?", email_id) == ()
    session.close()


async def test_the_older_services_mail_can_be_claimed(older: Database) -> None:
    await older.apply()
    store = await open_store(older.settings, service=True)
    for stage in STAGES:
        claimed = await store.claim(stage, 10, lease=60.0, holder="ours")
        assert [email.id for email in claimed] == older_service.ids(stage.waiting, [1, 2])
    await store.close()


async def test_a_version_stands_once_in_an_emails_history_and_notes_carry_none(older: Database) -> None:
    await older.apply()
    (email_id,) = older_service.ids(Status.READY, [1])
    insert = f"INSERT INTO email_status_history (email_id, status, version) VALUES ('{email_id}', 'PROCESSING', 4)"
    note = f"INSERT INTO email_status_history (email_id, status) VALUES ('{email_id}', 'PROCESSING')"
    await older.run(insert, note, note)
    with pytest.raises(pymysql.err.IntegrityError, match="Duplicate"):
        await older.run(insert)


async def test_an_open_transaction_is_waited_for_and_nobody_queues_behind_us(older: Database) -> None:
    holder, producer, watcher = [await older.session() for _ in range(3)]
    await holder.run("START TRANSACTION")
    await holder.run("UPDATE emails SET reason = 'held' WHERE id = ?", *older_service.ids(Status.READY, [1]))
    refused = asyncio.Event()

    def told(step: str) -> None:
        if "trying again" in step:
            refused.set()

    applying = asyncio.create_task(older.schema().apply(told))
    waiting = "SELECT 1 FROM information_schema.processlist WHERE db = ? AND state = 'Waiting for table metadata lock'"
    while not await watcher.run(waiting, older.name):
        assert not applying.done()
    # It has to queue behind the waiting ALTER, and it gets through while the holder still holds.
    await producer.run("UPDATE emails SET reason = 'through' WHERE id = ?", *older_service.ids(Status.READY, [2]))
    await refused.wait()
    assert not applying.done()
    await holder.run("COMMIT")
    assert await applying == tuple(file.name for file in FILES)
    for session in (holder, producer, watcher):
        session.close()


async def test_a_transaction_that_never_ends_is_reported(older: Database) -> None:
    now = itertools.count(0, 1000)
    holder = await older.session()
    await holder.run("START TRANSACTION")
    await holder.run("SELECT COUNT(*) FROM emails")
    impatient = tuple(
        SchemaFile(file.name, file.sql.replace("lock_wait_timeout = 2", "lock_wait_timeout = 0")) for file in FILES
    )
    with pytest.raises(StoreUnavailable, match="SHOW PROCESSLIST"):
        await older.schema(files=impatient, clock=lambda: float(next(now))).apply(lambda _: None)
    holder.close()
    await older.apply()
    assert (await older.schema().state()).differences == ()


async def test_the_tables_are_written_while_an_index_is_built(server: PrivateMariadb) -> None:
    database = await make(server, older=5_000)
    producer, watcher = OlderProducer(await database.session()), await database.session()
    building = (
        "SELECT info FROM information_schema.processlist WHERE db = ? AND info LIKE 'ALTER TABLE%INDEX%'"
        " AND state = 'altering table'"
    )
    applying = asyncio.create_task(database.apply())
    written: set[str] = set()
    while not applying.done():
        before = await watcher.run(building, database.name)
        if before:
            await producer.put()
            # Still at it when both inserts were committed. A lock would have held them until the end.
            if await watcher.run(building, database.name) == before:
                written.add(before[0][0])
    await applying
    assert any("uq_email_status_history_version" in statement for statement in written)
    assert any("idx_emails_due" in statement for statement in written)
    producer.session.close()
    watcher.close()


async def test_every_change_of_a_large_table_is_asked_for_without_a_lock() -> None:
    altering = [statement for statement in ALL_STATEMENTS if statement.startswith("ALTER TABLE")]
    assert altering
    for statement in altering:
        # The server raises an error where it cannot do so (1845, 1846), so the other tests prove that it can.
        adds_index = "INDEX" in statement
        assert statement.endswith(f"ALGORITHM={'INPLACE' if adds_index else 'INSTANT'}, LOCK=NONE"), statement


ROWS = 10_000
UNTOUCHED = (
    "SELECT status, COUNT(*), SUM(version), BIT_XOR(CRC32(CONCAT_WS('|', id, status, eml_file_path, payload_file_path,"
    " reason, version, created_at, updated_at))) FROM emails"
    " WHERE id LIKE '00000000-0000-4000-8%' AND RIGHT(id, 12) > '000000005000' GROUP BY status ORDER BY status"
)
HISTORY = (
    "SELECT status, COUNT(*), BIT_XOR(CRC32(CONCAT_WS('|', id, email_id, status, reason, created_at)))"
    " FROM {table} WHERE email_id LIKE '00000000-0000-4000-8%' AND RIGHT(email_id, 12) > '000000005000'"
    " GROUP BY status ORDER BY status"
)
LEAST = 20
"""Emails that every producer puts in, and every email that the consumer takes on, before the upgrade and after it."""


class Traffic:
    """The older service at work: three producers and a consumer, until told to stop. An error of theirs ends the test.

    Arguments:
        flowing: set each time everybody has done at least LEAST pieces of work since it was cleared.
    """

    def __init__(self, producers: list[OlderProducer], consumer: OlderConsumer) -> None:
        self.producers = producers
        self.consumer = consumer
        self.flowing = asyncio.Event()
        self._done = [0] * (len(producers) + 1)
        self._stop = False

    async def more(self) -> None:
        """Wait until everybody has got on."""
        self._done = [0] * len(self._done)
        self.flowing.clear()
        await self.flowing.wait()

    def stop(self) -> None:
        self._stop = True

    async def produce(self, number: int) -> None:
        while not self._stop:
            await self.producers[number].put()
            self._count(number)

    async def consume(self) -> None:
        """READY all the way to acknowledged, with one step back on the way; ACCEPTED to INVALID."""
        sent = (Status.PROCESSING, Status.SENT, Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED)
        # Below the half that must be found as it was.
        ready = iter(older_service.ids(Status.READY, range(1, 5001)))
        accepted = iter(older_service.ids(Status.ACCEPTED, range(1, 5001)))
        while not self._stop:
            email_id = next(ready)
            assert await self.consumer.move(email_id, Status.READY, Status.PROCESSING)
            assert await self.consumer.put_back(email_id)
            origin = Status.READY
            for to in sent:
                assert await self.consumer.move(email_id, origin, to)
                origin = to
            email_id = next(accepted)
            assert await self.consumer.move(email_id, Status.ACCEPTED, Status.INTAKING)
            assert await self.consumer.move(email_id, Status.INTAKING, Status.INVALID, "invalid")
            await self.consumer.find(Status.READY, 5)
            self._count(-1)

    def _count(self, number: int) -> None:
        self._done[number] += 1
        if min(self._done) >= LEAST:
            self.flowing.set()


async def test_a_live_database_is_upgraded_under_its_producer_and_consumer(server: PrivateMariadb) -> None:
    database = await make(server, older=ROWS)
    emails = await database.run(UNTOUCHED)
    history = await database.run(HISTORY.format(table="email_statuses"))
    assert len(emails) == len(Status)

    producers = [
        OlderProducer(await database.session()),
        OlderProducer(await database.session(), together=False),
        OlderProducer(await database.session(), prepared=True),
    ]
    consumer = OlderConsumer(await database.session())
    traffic = Traffic(producers, consumer)
    try:
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            for number in range(len(producers)):
                group.create_task(traffic.produce(number))
            group.create_task(traffic.consume())
            await traffic.more()
            assert await database.apply() == tuple(file.name for file in FILES)
            await traffic.more()
            traffic.stop()
    finally:
        for session in (consumer.session, *(producer.session for producer in producers)):
            session.close()

    assert (await database.schema().state()).differences == ()
    assert await database.run(UNTOUCHED) == emails
    for table in ("email_statuses", "email_status_history"):
        assert await database.run(HISTORY.format(table=table)) == history
    await _every_new_email_is_there(database, producers)
    await _every_move_is_there(database, consumer)
    created = sum(len(producer.created) for producer in producers)
    assert await database.run("SELECT COUNT(*) FROM emails") == ((ROWS * len(Status) + created,),)
    moved = sum(len(steps) for steps in consumer.history.values())
    expected = older_service.history_rows(ROWS) + created + moved
    for table in ("email_statuses", "email_status_history"):
        assert await database.run(f"SELECT COUNT(*) FROM {table}") == ((expected,),)
    await _old_rows_are_due(database)
    await database.run(f"DROP DATABASE {database.name}")


async def _every_new_email_is_there(database: Database, producers: list[OlderProducer]) -> None:
    rows = await database.run(
        "SELECT e.id, h.id, h.status, h.version FROM emails e JOIN email_status_history h ON h.email_id = e.id"
        " WHERE e.id NOT LIKE '00000000-0000-4000-8%' AND e.status = 'ACCEPTED' AND e.version = 1"
    )
    found = {email_id: (history_id, status, version) for email_id, history_id, status, version in rows}
    expected = {
        email_id: (history_id, "ACCEPTED", None)
        for producer in producers
        for email_id, history_id in producer.history_ids.items()
    }
    assert found == expected
    assert len(rows) == len(expected) == sum(len(producer.created) for producer in producers)


async def _every_move_is_there(database: Database, consumer: OlderConsumer) -> None:
    rows = await database.run(
        "SELECT e.id, e.version, GROUP_CONCAT(h.status ORDER BY h.id) FROM emails e"
        " JOIN email_statuses h ON h.email_id = e.id WHERE RIGHT(e.id, 12) <= '000000005000'"
        " AND e.id LIKE '00000000-0000-4000-8%' GROUP BY e.id, e.version"
    )
    found = {email_id: (version, way) for email_id, version, way in rows}
    for status in (Status.READY, Status.ACCEPTED):
        for email_id in older_service.ids(status, range(1, 5001)):
            version = len(older_service.WAYS[status]) + consumer.moves[email_id]
            history = (*older_service.history_of(status), *consumer.history.get(email_id, ()))
            expected = (version, ",".join(history))
            assert found[email_id] == expected


async def _old_rows_are_due(database: Database) -> None:
    due = await database.run(
        "SELECT status, COUNT(*) FROM emails WHERE RIGHT(id, 12) > '000000005000' AND id LIKE '00000000-0000-4000-8%'"
        " AND parked = 0 AND due_at <= CURRENT_TIMESTAMP(6) AND attempts = 0 AND claim_token IS NULL AND ttl IS NULL"
        " AND lease_version IS NULL AND reached_at IS NULL GROUP BY status"
    )
    assert dict(due) == dict.fromkeys(Status, 5000)
