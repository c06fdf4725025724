"""The schema on a real MariaDB: from nothing, over itself, by hand, and what is said of one that differs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.model import Status
from mailculator.stores.schema_files import SchemaFile, schema_files
from tests.support.mariadb import shared_mariadb
from tests.support.mariadb_databases import Database, make

FILES = schema_files("mariadb")
ORIGINS = pytest.mark.parametrize("rows", [None, 2], ids=["empty", "older"])


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with shared_mariadb() as server:
        yield server


@pytest.fixture
async def empty(server: PrivateMariadb) -> Database:
    return await make(server)


@pytest.fixture
async def older(server: PrivateMariadb) -> Database:
    return await make(server, older=2)


@pytest.fixture
async def current(server: PrivateMariadb) -> Database:
    database = await make(server)
    await database.apply()
    return database


async def test_an_empty_database_is_brought_to_the_current_schema(empty: Database) -> None:
    before = await empty.schema().state()
    assert before.applied == ()
    assert before.pending == tuple(file.name for file in FILES)
    assert before.oldest_service is None
    assert before.refusal is not None
    assert "schema apply" in before.refusal

    told: list[str] = []
    assert await empty.schema().apply(told.append) == before.pending

    after = await empty.schema().state()
    assert after.applied == before.pending
    assert (after.pending, after.differences, after.refusal) == ((), (), None)
    assert after.oldest_service == "0.1.0"
    assert any("CREATE TABLE IF NOT EXISTS emails" in step for step in told)
    assert not any("DO 0" in step for step in told)


async def test_the_older_services_database_is_brought_to_the_current_schema(older: Database) -> None:
    before = await older.schema().state()
    assert before.refusal is not None
    assert "emails.ttl is missing" in before.differences

    told: list[str] = []
    assert await older.schema().apply(told.append) == before.pending

    after = await older.schema().state()
    assert (after.pending, after.differences, after.refusal) == ((), (), None)
    assert sum("RENAME TABLE" in step for step in told) == 1


@ORIGINS
async def test_applying_again_changes_nothing(server: PrivateMariadb, rows: int | None) -> None:
    database = await make(server, older=rows)
    await database.apply()
    first = await database.snapshot()
    assert await database.apply() == ()
    await database.by_hand()
    assert await database.snapshot() == first


@ORIGINS
async def test_by_hand_gives_the_same_schema(server: PrivateMariadb, rows: int | None) -> None:
    one, other = await make(server, older=rows), await make(server, older=rows)
    await one.apply()
    await other.by_hand()
    assert await one.snapshot() == await other.snapshot()
    assert (await other.schema().state()).differences == ()


@ORIGINS
async def test_several_at_once(server: PrivateMariadb, rows: int | None) -> None:
    reference, database = await make(server, older=rows), await make(server, older=rows)
    await reference.apply()
    answers = await asyncio.gather(database.apply(), database.by_hand(), database.apply(), database.by_hand())
    assert sum(bool(answer) for answer in answers) <= 1
    assert await database.snapshot() == await reference.snapshot()


async def test_what_is_missing_though_on_record_is_put_back(current: Database) -> None:
    expected = await current.snapshot()
    await current.run("DROP VIEW email_statuses", "ALTER TABLE emails DROP INDEX idx_emails_ttl")
    state = await current.schema().state()
    assert state.refusal is None
    assert any("email_statuses" in line for line in state.differences)
    assert "emails has no index on (status, ttl)" in state.differences
    assert await current.apply() == tuple(file.name for file in FILES)
    assert (await current.schema().state()).differences == ()
    assert (await current.snapshot()).keys() == expected.keys()


async def test_a_damaged_table_is_refused_with_words(current: Database) -> None:
    await current.run("ALTER TABLE emails DROP COLUMN claim_token")
    state = await current.schema().state()
    assert state.refusal == "the schema is damaged (emails.claim_token is missing); run: mailculator schema apply"
    await current.run("ALTER TABLE emails RENAME INDEX idx_emails_due TO due")
    refusal = (await current.schema().state()).refusal
    assert refusal is not None
    assert "emails has no index idx_emails_due on (status, parked, due_at)" in refusal
    await current.apply()
    assert (await current.schema().state()).refusal is None


DIFFERENCES = {
    "ALTER TABLE emails MODIFY attempts TINYINT NOT NULL DEFAULT 0": "emails.attempts is tinyint(4)",
    "ALTER TABLE emails MODIFY reason VARCHAR(100) NULL": "emails.reason is varchar(100)",
    "ALTER TABLE emails MODIFY due_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP": "emails.due_at is timestamp",
    "ALTER TABLE emails MODIFY reached_at DATETIME(6) NULL": "emails.reached_at is datetime(6)",
    "ALTER TABLE emails MODIFY ttl BIGINT NOT NULL DEFAULT 0": "emails.ttl should be NULL",
    "ALTER TABLE emails MODIFY version INT NOT NULL": "emails.version should have the default 1",
    "ALTER TABLE emails MODIFY updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)": "lacks on update",
    "ALTER TABLE emails MODIFY status ENUM('ACCEPTED', 'READY') NOT NULL": "emails.status is enum('ACCEPTED','READY')",
    "ALTER TABLE emails MODIFY status VARCHAR(30) NOT NULL": "emails.status is varchar(30)",
    "ALTER TABLE emails DROP INDEX idx_emails_ttl": "emails has no index on (status, ttl)",
    "ALTER TABLE email_status_history DROP FOREIGN KEY fk_email_status_history_email": "has no foreign key to emails",
    "ALTER TABLE email_status_history ADD INDEX (email_id), DROP INDEX uq_email_status_history_version": (
        "email_status_history has no unique index on (email_id, version)"
    ),
    "ALTER TABLE emails MODIFY reason TEXT CHARACTER SET latin1 NULL": "emails.reason is in latin1",
    "ALTER TABLE emails MODIFY last_error TEXT CHARACTER SET utf8mb3 NULL": "emails.last_error is in utf8mb3",
    "ALTER TABLE emails MODIFY payload_file_path VARCHAR(500) CHARACTER SET latin1 NULL": "should be in utf8mb4",
    "ALTER TABLE email_status_history MODIFY reason TEXT CHARACTER SET latin1 NULL": (
        "email_status_history.reason is in latin1"
    ),
    "CREATE OR REPLACE VIEW email_statuses AS SELECT id, email_id, status, reason, created_at"
    " FROM email_status_history LIMIT 9": "view email_statuses cannot be written through",
    "CREATE OR REPLACE VIEW email_statuses AS SELECT id, email_id, status, created_at FROM email_status_history": (
        "email_statuses.reason is missing"
    ),
}


@pytest.mark.parametrize("change", DIFFERENCES)
async def test_a_difference_is_named(current: Database, change: str) -> None:
    await current.run(change)
    (line,) = (await current.schema().state()).differences
    assert DIFFERENCES[change] in line


async def test_an_operators_own_additions_are_no_difference(current: Database) -> None:
    await current.run(
        "ALTER TABLE emails ADD COLUMN tenant VARCHAR(20) NULL, ADD INDEX by_age (created_at, status),"
        " MODIFY payload_file_path VARCHAR(1000) NULL, MODIFY last_error MEDIUMTEXT NULL",
        "ALTER TABLE email_status_history ADD INDEX by_status (status)",
        "CREATE TABLE email_templates (id INT PRIMARY KEY)",
    )
    assert (await current.schema().state()).differences == ()


async def test_statuses_of_another_program_are_named_and_do_not_stop_us(current: Database) -> None:
    values = ", ".join(f"'{status}'" for status in (*Status, "CALLING-INVALID-CALLBACK"))
    await current.run(f"ALTER TABLE emails MODIFY status ENUM({values}) NOT NULL")
    state = await current.schema().state()
    (line,) = state.differences
    assert "also allows CALLING-INVALID-CALLBACK" in line
    assert state.refusal is None


async def test_a_service_older_than_the_schema_serves_is_refused(current: Database) -> None:
    await current.run("UPDATE mailculator_meta SET value = '0.3.0' WHERE name = 'oldest_service'")
    refusal = (await current.schema(version="0.2.9").state()).refusal
    assert refusal is not None
    assert "0.3.0 and later" in refusal
    assert "upgrade the service" in refusal
    assert (await current.schema(version="0.3.0").state()).refusal is None


async def test_a_service_that_needs_a_newer_schema_is_refused(current: Database) -> None:
    newer = SchemaFile("9999_newer", "DO 0;\n")
    state = await current.schema(files=(*FILES, newer)).state()
    assert state.pending == ("9999_newer",)
    assert state.refusal is not None
    assert "9999_newer" in state.refusal
    assert "schema apply" in state.refusal


async def test_neighbouring_versions_run_side_by_side(current: Database) -> None:
    newer = SchemaFile(
        "9999_newer",
        "ALTER TABLE emails DROP INDEX IF EXISTS idx_emails_ttl,\n  ADD COLUMN IF NOT EXISTS tenant INT NULL;\n"
        "INSERT IGNORE INTO mailculator_schema (name) VALUES ('9999_newer');\n",
    )
    assert await current.schema(files=(*FILES, newer)).apply(lambda _: None) == ("9999_newer",)
    expected = await current.snapshot()

    state = await current.schema().state()
    assert state.applied == (*(file.name for file in FILES), "9999_newer")
    assert (state.pending, state.refusal) == ((), None)
    # What the newer version did on purpose is not for the older one to put back.
    assert await current.apply() == ()
    assert await current.snapshot() == expected
    # Nor do its files, applied by hand once more, take back what a newer one stated.
    await current.run("UPDATE mailculator_meta SET value = '0.2.0' WHERE name = 'oldest_service'")
    await current.by_hand()
    assert (await current.schema(version="0.1.0").state()).refusal is not None


UUID_PRODUCER = (
    "INSERT INTO emails (id, status, payload_file_path, ttl)"
    " VALUES (UUID(), 'ACCEPTED', '/path/payload.json', UNIX_TIMESTAMP() + 3600)"
)
PRODUCER = (
    "INSERT INTO emails (id, status, payload_file_path, ttl) VALUES ('{id}', 'ACCEPTED', '/p.json', 4102444800)",
    "INSERT INTO email_status_history (email_id, status, reason) VALUES ('{id}', 'ACCEPTED', 'Created by producer')",
    UUID_PRODUCER,
)
AGES = (
    "SELECT COUNT(*) FROM emails WHERE ABS(TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP(6))) < 60"
    " AND ABS(TIMESTAMPDIFF(SECOND, updated_at, UTC_TIMESTAMP(6))) < 60 AND due_at <= UTC_TIMESTAMP(6)"
)


@ORIGINS
@pytest.mark.parametrize("zone", ["+02:00", "+00:00", "-07:00"])
@pytest.mark.parametrize("mode", ["STRICT_TRANS_TABLES", ""])
async def test_the_producers_statements_stand(server: PrivateMariadb, rows: int | None, zone: str, mode: str) -> None:
    database = await make(server, older=rows)
    await database.apply()
    before = (await database.run("SELECT COUNT(*) FROM emails"))[0][0]
    producer, utc = await database.session(), await database.session()
    # The server itself stands at +02:00; other producers bring a zone of their own.
    assert await producer.run("SELECT @@time_zone") == (("+02:00",),)
    await producer.run("SET time_zone = ?, sql_mode = ?", zone, mode)
    await utc.run("SET time_zone = '+00:00'")
    for sql in PRODUCER:
        await producer.run(sql.format(id="550e8400-e29b-41d4-a716-446655440000"))
    recent = await producer.run("SELECT COUNT(*) FROM emails WHERE created_at > NOW() - INTERVAL 5 MINUTE")
    new = await producer.run("SELECT status, version, attempts, parked, claim_token FROM emails WHERE ttl IS NOT NULL")
    ages = await utc.run(f"{AGES} AND ttl IS NOT NULL")
    note = await utc.run("SELECT status, version FROM email_status_history WHERE reason = 'Created by producer'")
    producer.close()
    utc.close()
    assert new == (("ACCEPTED", 1, 0, 0, None),) * 2
    assert recent == ((2,),)
    assert ages == ((2,),)
    assert note == (("ACCEPTED", None),)
    assert (await database.run("SELECT COUNT(*) FROM emails"))[0][0] == before + 2


async def test_a_server_that_is_too_old_is_named() -> None:
    async with PrivateMariadb(arguments=("--version=10.6.20-MariaDB",)) as other:
        database = await make(other)
        with pytest.raises(StoreRejected, match=r"MariaDB 10\.11 or later, and this is 10\.6\.20"):
            await database.apply()
        assert await database.run("SHOW TABLES") == ()


async def test_a_database_that_is_away_is_unavailable(empty: Database) -> None:
    await empty.run(f"DROP DATABASE {empty.name}")
    with pytest.raises(StoreUnavailable):
        await empty.schema().state()
    with pytest.raises(StoreUnavailable):
        await empty.apply()
