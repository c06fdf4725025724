"""Bad inputs 43, 47, 49 and 51 by their numbers (docs/bad-inputs.md), before a real MariaDB."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import closing

import pymysql
import pytest

from mailculator.config import Settings, load
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import SchemaError, StoreRejected
from mailculator.lifecycle import INTAKE
from mailculator.model import Status
from mailculator.stores.base import Steered
from mailculator.stores.mariadb import MariadbStore, open_store
from mailculator.stores.mariadb_connection import Connection
from tests.contract.steps import claim, enqueue, overdue, row
from tests.support import mariadb

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture
async def settings(server: PrivateMariadb) -> Settings:
    return await mariadb.new_database(server)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[MariadbStore]:
    opened = await open_store(settings, service=True)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "secret", ['p"w', "#pw", "$HOME${X}", "p@w:/w", "two\nlines\n", "100%s%(x)s", "'`\\", "pässwörd€漢"], ids=ascii
)
async def test_bad_input_43_a_password_of_any_characters_logs_in(
    server: PrivateMariadb, settings: Settings, secret: str
) -> None:
    user = f"u{uuid.uuid4().hex[:8]}"
    with closing(mariadb.connect(server, "mysql")) as root, root.cursor() as cursor:
        cursor.execute(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY %s", (secret,))
        cursor.execute(f"GRANT ALL ON {settings.mysql_database}.* TO {user}@'127.0.0.1'")
    given = {
        "MYSQL_HOST": server.host,
        "MYSQL_PORT": str(server.port),
        "MYSQL_USER": user,
        "MYSQL_PASSWORD": secret,
        "MYSQL_DATABASE": settings.mysql_database,
    }
    store = await open_store(load(given, needs={"mysql"}), service=True)
    assert (await store.ping()).writable is True
    await store.close()


async def test_bad_input_47_rows_that_other_hands_have_spoilt_hold_up_nobody(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    versions = {0: "", -1: "", 2_147_483_647: ""}
    for version in versions:
        (versions[version],) = await enqueue(store)
    lost, timeless = await enqueue(store, 2)
    with closing(mariadb.connect(server, settings.mysql_database)) as other, other.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("ALTER TABLE emails MODIFY updated_at TIMESTAMP(6) NULL")
        for version, email_id in versions.items():
            cursor.execute("UPDATE emails SET version = %s WHERE id = %s", (version, email_id))
        cursor.execute("UPDATE emails SET status = 'NONSENSE' WHERE id = %s", (lost,))
        cursor.execute("UPDATE emails SET updated_at = NULL WHERE id = %s", (timeless,))
    good = await enqueue(store, 3)

    taken: list[str] = []
    for _ in range(6):
        taken += [email.id for email in await claim(store, limit=1)]

    # A time that is missing is no reason to leave mail that is waiting.
    assert sorted(taken) == sorted([*good, timeless])
    for version, email_id in versions.items():
        stored = await row(store, email_id)
        assert (stored.status, stored.version, stored.parked) == (Status.ACCEPTED, version, True)
        assert stored.last_error == f"row_corrupt: version {version}"
    assert {one.id for one in await store.page(parked=True)} == set(versions.values())
    assert (await store.counts())[Status.ACCEPTED].parked == len(versions)
    assert await store.get(lost) is None
    assert await overdue(store) == []


async def test_bad_input_47_rows_in_a_status_that_nobody_knows_are_counted(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    assert (await store.survey()).poisoned_count == 0
    foreign = sorted(await enqueue(store, 25))
    (good,) = await enqueue(store)
    words = ", ".join(f"'{status}'" for status in [*Status, "QUEUED", "O''LD"])
    with closing(mariadb.connect(server, settings.mysql_database)) as other, other.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(f"ALTER TABLE emails MODIFY status ENUM({words}) NOT NULL")
        for number, email_id in enumerate(foreign):
            status = ("NONSENSE", "QUEUED", "O'LD")[number % 3]
            cursor.execute("UPDATE emails SET status = %s WHERE id = %s", (status, email_id))

    survey = await store.survey()

    assert (survey.exact, survey.poisoned, survey.poisoned_count) == (True, tuple(foreign[:20]), 25)
    assert [one.id for one in await store.page()] == [good]
    assert await store.requeue([foreign[0]], who="me", why="x", ttl_extension=1.0) == [Steered.MISSING]


@pytest.mark.parametrize(
    ("columns", "values", "words"),
    [
        ("payload_file_path", "REPEAT('p', 501)", "Data too long"),
        ("version", "NULL", "cannot be null"),
    ],
)
async def test_bad_input_47_what_the_columns_themselves_do_not_take(
    server: PrivateMariadb, settings: Settings, store: MariadbStore, columns: str, values: str, words: str
) -> None:
    with pytest.raises(pymysql.Error, match=words):
        mariadb.execute(
            server,
            settings.mysql_database,
            f"INSERT INTO emails (id, status, {columns}) VALUES (UUID(), 'ACCEPTED', {values})",
        )
    assert await store.claim(INTAKE, 10, lease=60, holder="me") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE mailculator_schema, mailculator_meta", "schema apply"),
        ("ALTER TABLE emails DROP COLUMN claim_token", "emails.claim_token is missing"),
        ("DROP TABLE email_status_history", "email_status_history"),
        ("UPDATE mailculator_meta SET value = '99.0' WHERE name = 'oldest_service'", "99.0"),
    ],
)
async def test_bad_input_49_a_schema_that_does_not_serve_is_refused_by_name(
    server: PrivateMariadb, settings: Settings, change: str, words: str
) -> None:
    with closing(mariadb.connect(server, settings.mysql_database)) as other, other.cursor() as cursor:
        cursor.execute("SET SESSION foreign_key_checks = 0")
        cursor.execute(change)
    with pytest.raises(SchemaError) as refused:
        await open_store(settings, service=True)
    assert words in str(refused.value)
    assert "schema apply" in str(refused.value) or "upgrade" in str(refused.value)


async def test_bad_input_51_a_user_who_may_only_read_fails_no_mail(
    server: PrivateMariadb, settings: Settings, store: MariadbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await enqueue(store, 3)
    # A server takes its time over a connection that was closed: what a claim had locked must be free before that.
    closed: list[Connection] = []
    close = Connection.close

    def leave(connection: Connection) -> None:
        closed.append(connection)

    monkeypatch.setattr(Connection, "close", leave)
    monkeypatch.setattr(Connection, "usable", property(lambda connection: connection not in closed))
    user = f"u{uuid.uuid4().hex[:8]}"
    for statement in (
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'pw'",
        f"GRANT SELECT ON {settings.mysql_database}.* TO {user}@'127.0.0.1'",
    ):
        mariadb.execute(server, "mysql", statement)
    reading = mariadb.settings_for(server, settings.mysql_database, mysql_user=user, mysql_password="pw")
    other = await open_store(reading, service=True)
    try:
        for _ in range(2):
            with pytest.raises(StoreRejected, match="error 1142"):
                await other.claim(INTAKE, 10, lease=60, holder="me")
            assert (await other.ping()).writable is False
        assert (await other.counts())[Status.ACCEPTED].count == 3
    finally:
        monkeypatch.undo()
        await other.close()
        for connection in closed:
            close(connection)
    for email_id in ids:
        stored = await row(store, email_id)
        assert (stored.status, stored.version, stored.parked) == (Status.ACCEPTED, 1, False)
