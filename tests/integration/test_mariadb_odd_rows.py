"""Rows and columns that MariaDB refuses to write, and what the others have of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreRejected
from mailculator.lifecycle import INTAKE, SENDER, SENT_CALLBACK
from mailculator.model import Email, NewEmail, Row, Status
from mailculator.stores.base import Recorded, Steered
from mailculator.stores.mariadb import MariadbStore, open_store
from mailculator.stores.mariadb_schema import MariadbSchema
from tests.contract.steps import rescue
from tests.support import mariadb
from tests.support.older_service import DDL

CYRILLIC = "250 2.0.0 Ok: принято"
ESCAPED = "250 2.0.0 Ok: \\u043f\\u0440\\u0438\\u043d\\u044f\\u0442\\u043e"


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


@pytest.fixture
async def latin(server: PrivateMariadb) -> AsyncIterator[MariadbStore]:
    """A database of the older service whose tables are in latin1."""
    name = f"latin_{uuid.uuid4().hex[:8]}"
    mariadb.execute(server, "mysql", f"CREATE DATABASE {name} CHARACTER SET latin1")
    for statement in DDL:
        in_latin1 = statement.replace("CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci", "CHARSET=latin1")
        assert in_latin1 != statement
        mariadb.execute(server, name, in_latin1)
    settings = mariadb.settings_for(server, name)
    await MariadbSchema(settings).apply(lambda _: None)
    opened = await open_store(settings, service=True)
    yield opened
    await opened.close()


async def claim(store: MariadbStore, count: int) -> list[Email]:
    await store.enqueue([NewEmail(str(uuid.uuid4()), "/p") for _ in range(count)])
    return await store.claim(INTAKE, count, lease=60, holder="me")


async def row(store: MariadbStore, email_id: str) -> Row:
    found = await store.get(email_id)
    assert found is not None
    return found


# Results that a column does not hold


async def test_a_result_beyond_a_columns_characters_is_written_in_ascii(latin: MariadbStore) -> None:
    """Answered LOST, the mail would be rescued, and sent again, at every lease."""
    await latin.record([lifecycle.move(email, lifecycle.Prepared("d.it")) for email in await claim(latin, 3)])
    claimed = await latin.claim(SENDER, 10, lease=60, holder="me")
    moves = [
        lifecycle.move(email, lifecycle.Sent(reply))
        for email, reply in zip(claimed, ("250 ok", CYRILLIC, "250 città"), strict=True)
    ]

    assert await latin.record(moves) == [Recorded.DONE] * 3

    lines = [(await latin.history(email.id))[-1] for email in claimed]
    assert [(line.status, line.reason) for line in lines] == [
        ("SENT", "250 ok"),
        ("SENT", ESCAPED),
        ("SENT", "250 città"),
    ]
    # As after a lost reply.
    assert await latin.record(moves) == [Recorded.DONE] * 3
    assert len(await latin.claim(SENT_CALLBACK, 10, lease=60, holder="me")) == 3


async def test_what_turns_out_sent_is_written_in_ascii_too(latin: MariadbStore) -> None:
    """Put off for the sake of a relay's words, it would be sent again."""
    await latin.record([lifecycle.move(email, lifecycle.Prepared("d.it")) for email in await claim(latin, 2)])
    await latin.claim(SENDER, 10, lease=0, holder="me")
    found = await latin.overdue(10, foreign_hold=1800)
    moves = [
        lifecycle.move(one.email, lifecycle.Sent(reply)) for one, reply in zip(found, ("250 ok", CYRILLIC), strict=True)
    ]

    assert await latin.rescue(moves, foreign_hold=1800) == [Recorded.DONE] * 2

    lines = [(await latin.history(one.email.id))[-1] for one in found]
    assert [(line.status, line.reason) for line in lines] == [("SENT", "250 ok"), ("SENT", ESCAPED)]
    # As after a lost reply.
    assert await latin.rescue(moves, foreign_hold=1800) == [Recorded.DONE] * 2


async def test_reasons_and_errors_are_written_in_ascii_too(latin: MariadbStore) -> None:
    first, second = await claim(latin, 2)
    moves = [
        lifecycle.move(first, lifecycle.Failed("нет")),
        lifecycle.move(second, lifecycle.Retry("нет " * 200, delay=9.0)),
    ]

    assert await latin.record(moves) == [Recorded.DONE] * 2

    assert (await row(latin, first.id)).reason == "\\u043d\\u0435\\u0442"
    error = (await row(latin, second.id)).last_error
    assert error is not None
    assert error.startswith("\\u043d")
    assert len(error) == 250


async def test_an_operators_words_are_written_in_ascii(latin: MariadbStore) -> None:
    (email,) = await claim(latin, 1)
    await latin.record([lifecycle.move(email, lifecycle.Invalid("bad"))])

    assert await latin.requeue([email.id], who="Анна", why="ok", ttl_extension=1.0) == [Steered.DONE]
    (again,) = await latin.claim(INTAKE, 1, lease=60, holder="реплика")
    await latin.record([lifecycle.move(again, lifecycle.Park("gave up"))])
    assert await latin.release([email.id], who="anna", why="да") == [Steered.DONE]

    reasons = [entry.reason for entry in await latin.history(email.id)]
    assert "requeued by \\u0410\\u043d\\u043d\\u0430: ok" in reasons
    assert "released by anna: \\u0434\\u0430" in reasons


async def test_a_result_that_cannot_be_written_at_all_is_not_called_lost(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    claimed = await claim(store, 5)
    odd = claimed[2].id
    mariadb.execute(
        server, settings.mysql_database, f"ALTER TABLE emails ADD CONSTRAINT c CHECK (id <> '{odd}' OR version < 3)"
    )
    moves = [lifecycle.move(email, lifecycle.Prepared("d.it")) for email in claimed]

    for _ in range(2):
        with pytest.raises(StoreRejected, match="error 4025"):
            await store.record(moves)
    stored = [await row(store, email.id) for email in claimed]
    assert [one.status is Status.READY for one in stored] == [True, True, False, True, True]

    mariadb.execute(server, settings.mysql_database, "ALTER TABLE emails DROP CONSTRAINT c")
    assert await store.record(moves) == [Recorded.DONE] * 5


# Rows that no claim can write


async def test_g14_a_row_that_the_server_refuses_is_found_and_parked(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(20)]
    await store.enqueue([NewEmail(one, "/p") for one in ids])
    odd = {ids[7], ids[13]}
    named = ", ".join(f"'{one}'" for one in odd)
    mariadb.execute(
        server,
        settings.mysql_database,
        f"ALTER TABLE emails ADD CONSTRAINT c CHECK (id NOT IN ({named}) OR version = 1)",
    )

    taken: set[str] = set()
    while claimed := await store.claim(INTAKE, 20, lease=60, holder="me"):
        taken |= {email.id for email in claimed}

    assert taken == set(ids) - odd
    assert {one.id for one in await store.page(parked=True)} == odd
    for one in odd:
        stored = await row(store, one)
        assert (stored.version, stored.last_error) == (1, "row_corrupt: error 4025 (CONSTRAINT_FAILED)")


async def test_a_server_that_refuses_every_row_parks_no_more_than_a_few(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    await store.enqueue([NewEmail(str(uuid.uuid4()), "/p") for _ in range(20)])
    mariadb.execute(server, settings.mysql_database, "ALTER TABLE emails ADD CONSTRAINT c CHECK (version = 1)")

    with pytest.raises(StoreRejected, match="error 4025"):
        await store.claim(INTAKE, 20, lease=60, holder="me")

    assert len(await store.page(parked=True)) == 3


async def test_g14_a_row_that_no_rescue_can_write_is_left_for_later(
    server: PrivateMariadb, settings: Settings, store: MariadbStore
) -> None:
    await store.enqueue([NewEmail(str(uuid.uuid4()), "/p") for _ in range(4)])
    odd, *others = await store.claim(INTAKE, 4, lease=0, holder="me")
    mariadb.execute(
        server, settings.mysql_database, f"ALTER TABLE emails ADD CONSTRAINT c CHECK (id <> '{odd.id}' OR version < 3)"
    )

    rescued = await rescue(store, 10, foreign_hold=1800)

    assert sorted(one.id for one in rescued) == sorted(one.id for one in others)
    assert await rescue(store, 10, foreign_hold=1800) == []
    stored = await row(store, odd.id)
    assert (stored.status, stored.version) == (Status.INTAKING, 2)
    assert stored.last_error == "row_corrupt: error 4025 (CONSTRAINT_FAILED)"
