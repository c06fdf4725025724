"""What the service's user must be allowed, what it need not be, and what is said when it may not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import SchemaError, StoreRejected
from mailculator.lifecycle import INTAKE, SENDER
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Enqueued, Minute, Recorded, Steered
from mailculator.stores.mariadb import MariadbStore, open_store
from tests.contract.steps import rescue
from tests.support import mariadb

QUEUE = (
    "emails",
    "email_status_history",
    "mailculator_reservations",
    "mailculator_minutes",
    "mailculator_pauses",
    "mailculator_audit",
    "mailculator_replicas",
)
RECORDS = ("mailculator_schema", "mailculator_meta")


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture
async def settings(server: PrivateMariadb) -> Settings:
    return await mariadb.new_database(server)


class Login:
    """A user of its own who may do nothing yet."""

    def __init__(self, server: PrivateMariadb, settings: Settings) -> None:
        self.name = f"u{uuid.uuid4().hex[:8]}"
        self._server = server
        self._database = settings.mysql_database
        mariadb.execute(server, "mysql", f"CREATE USER {self.name}@'127.0.0.1' IDENTIFIED BY 'pw'")
        self.settings = mariadb.settings_for(server, self._database, mysql_user=self.name, mysql_password="pw")

    def grant(self, rights: str, *tables: str) -> None:
        for table in tables:
            mariadb.execute(
                self._server, "mysql", f"GRANT {rights} ON {self._database}.{table} TO {self.name}@'127.0.0.1'"
            )

    def revoke(self, rights: str, *tables: str) -> None:
        for table in tables:
            mariadb.execute(
                self._server, "mysql", f"REVOKE {rights} ON {self._database}.{table} FROM {self.name}@'127.0.0.1'"
            )


@pytest.fixture
def login(server: PrivateMariadb, settings: Settings) -> Login:
    return Login(server, settings)


async def test_four_rights_on_nine_tables_are_enough_for_everything(login: Login) -> None:
    login.grant("SELECT, INSERT, UPDATE, DELETE", *QUEUE, *RECORDS)
    store = await open_store(login.settings, service=True)
    try:
        await use_every_verb(store)
    finally:
        await store.close()


async def use_every_verb(store: MariadbStore) -> None:
    ids = sorted(str(uuid.uuid4()) for _ in range(3))
    assert await store.enqueue([NewEmail(one, "/p", 1) for one in ids]) == [Enqueued.CREATED] * 3
    claimed = await store.claim(INTAKE, 10, lease=60, holder="me")
    assert (await store.renew(claimed, lease=60)).held == set(ids)
    outcomes: list[lifecycle.Outcome] = [lifecycle.Invalid("bad"), lifecycle.Park("odd"), lifecycle.Prepared("d.it")]
    moves = [lifecycle.move(email, outcome) for email, outcome in zip(claimed, outcomes, strict=True)]
    assert await store.record(moves) == [Recorded.DONE] * 3
    invalid, parked, ready = (email.id for email in claimed)
    assert await store.release([parked], who="w", why="y") == [Steered.DONE]
    await store.claim(SENDER, 10, lease=0, holder="me")
    assert [one.id for one in await rescue(store, 10, foreign_hold=1800)] == [ready]
    assert await store.requeue([invalid], who="w", why="y", ttl_extension=60) == [Steered.DONE]
    again = [email for email in await store.claim(INTAKE, 10, lease=60, holder="me") if email.id == parked]
    assert await store.record([lifecycle.move(again[0], lifecycle.Invalid("bad"))]) == [Recorded.DONE]
    assert await store.purge(10) == 1
    assert await store.get(parked) is None
    assert [entry.version for entry in await store.history(ready)] == [None, 2, 3, 4, 5]
    assert (await store.counts(terminal=True))[Status.INTAKING].count == 1
    assert len(await store.page()) == 2
    assert await store.page(parked=True) == []
    minute = Minute(datetime(2026, 11, 20, tzinfo=UTC), "me", "1.0", {}, 0, 0, {})
    await store.remember(minute)
    assert await store.minutes(minute.at) == [minute]
    assert (await store.ping()).writable is True


async def test_a_user_who_may_not_read_the_schemas_record_is_told_so(login: Login) -> None:
    login.grant("SELECT, INSERT, UPDATE, DELETE", *QUEUE)

    with pytest.raises(SchemaError) as refused:
        await open_store(login.settings, service=True)

    assert str(refused.value) == (
        "mysql schema: the database has no mailculator schema, or this user may not read mailculator_schema and"
        " mailculator_meta; run: mailculator schema apply"
    )


@pytest.mark.parametrize("seen", RECORDS)
async def test_a_user_who_may_read_half_of_the_record_is_told_so(login: Login, seen: str) -> None:
    login.grant("SELECT, INSERT, UPDATE, DELETE", *QUEUE, seen)

    with pytest.raises(SchemaError, match="this user may not read mailculator_schema and mailculator_meta"):
        await open_store(login.settings, service=True)


async def test_a_user_who_may_not_write_is_not_ready_until_it_may(login: Login) -> None:
    """A missing right stops the writes and leaves every read standing (bad input 51)."""
    login.grant("SELECT", *QUEUE, *RECORDS)
    login.grant("INSERT", *QUEUE)
    store = await open_store(login.settings, service=True)
    try:
        await store.enqueue([NewEmail(str(uuid.uuid4()), "/p")])
        with pytest.raises(StoreRejected, match="error 1142"):
            await store.claim(INTAKE, 10, lease=60, holder="me")
        assert (await store.ping()).writable is False
        assert (await store.counts())[Status.ACCEPTED].count == 1
        assert (await store.ping()).writable is False

        login.grant("UPDATE, DELETE", *QUEUE)
        assert (await store.ping()).writable is True
        assert len(await store.claim(INTAKE, 10, lease=60, holder="me")) == 1
        assert (await store.ping()).writable is True
    finally:
        await store.close()


async def test_a_user_who_may_only_read_is_not_ready_though_there_is_no_mail(login: Login) -> None:
    login.grant("SELECT", *QUEUE, *RECORDS)
    store = await open_store(login.settings, service=True)
    try:
        assert [(await store.ping()).writable for _ in range(2)] == [False, False]
        login.grant("INSERT, UPDATE", *QUEUE)
        login.grant("DELETE", "emails", "mailculator_reservations")
        assert (await store.ping()).writable is True
    finally:
        await store.close()


async def test_a_user_who_may_not_delete_is_ready_until_there_is_something_to_delete(login: Login) -> None:
    login.grant("SELECT, INSERT, UPDATE", *QUEUE, *RECORDS)
    store = await open_store(login.settings, service=True)
    try:
        assert (await store.ping()).writable is True
    finally:
        await store.close()


async def test_a_right_that_one_verb_lacks_is_not_outshone_by_the_others(login: Login) -> None:
    login.grant("SELECT, INSERT, UPDATE, DELETE", *QUEUE, *RECORDS)
    store = await open_store(login.settings, service=True)
    try:
        await store.enqueue([NewEmail(str(uuid.uuid4()), "/p", 1) for _ in range(2)])
        (email,) = await store.claim(INTAKE, 1, lease=60, holder="me")
        await store.record([lifecycle.move(email, lifecycle.Invalid("bad"))])
        login.revoke("DELETE", "emails")
        with pytest.raises(StoreRejected, match="error 1142"):
            await store.purge(10)
        assert len(await store.claim(INTAKE, 10, lease=60, holder="me")) == 1
        assert (await store.ping()).writable is False
    finally:
        await store.close()
