"""Bad inputs 47, 48 and 50 by their numbers (docs/bad-inputs.md): rows that other hands have spoilt, in a real file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

import pytest

from mailculator.lifecycle import (
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    Acknowledged,
    Failed,
    Outcome,
    Prepared,
    Retry,
    Sent,
    Stage,
)
from mailculator.model import Status
from mailculator.stores import sqlite_rows
from mailculator.stores.base import Recorded, Steered
from mailculator.stores.sqlite import SqliteStore
from tests.contract.steps import claim, claim_one, enqueue, finish, new_id, overdue, row
from tests.support.sqlite_harness import SqliteHarness

WAY: tuple[tuple[Stage, Outcome], ...] = (
    (INTAKE, Prepared("example.com")),
    (SENDER, Sent("250 ok")),
    (SENT_CALLBACK, Acknowledged("200")),
)


@pytest.fixture
async def harness() -> AsyncIterator[SqliteHarness]:
    opened = SqliteHarness()
    yield opened
    await opened.close()


@pytest.fixture
async def store(harness: SqliteHarness) -> SqliteStore:
    return await harness.fresh()


@pytest.mark.parametrize("version", [0, -1, -(1 << 63), (1 << 63) - 1])
async def test_bad_input_47_a_version_that_is_none(store: SqliteStore, harness: SqliteHarness, version: int) -> None:
    (corrupt,) = await enqueue(store)
    await harness.alter(corrupt, version=version)
    await harness.rewind(60)
    (good,) = await enqueue(store)

    assert [email.id for email in await claim(store, limit=1)] == [good]

    stored = await row(store, corrupt)
    assert (stored.status, stored.version, stored.parked) == (Status.ACCEPTED, version, True)
    assert stored.last_error == f"row_corrupt: version {version}"
    counted = (await store.counts())[Status.ACCEPTED]
    assert (counted.count, counted.parked) == (1, 1)
    assert [one.id for one in await store.page(parked=True)] == [corrupt]


async def test_bad_input_47_a_status_that_nobody_knows(store: SqliteStore, harness: SqliteHarness) -> None:
    (foreign,) = await enqueue(store)
    await harness.execute("PRAGMA ignore_check_constraints = ON")
    await harness.alter(foreign, status="QUEUED")
    await harness.rewind(7200)
    (good,) = await enqueue(store)

    for stage, outcome in WAY:
        (email,) = await claim(store, stage)
        assert email.id == good
        assert await finish(store, email, outcome) is Recorded.DONE

    assert await overdue(store) == []
    assert await harness.execute("SELECT status, version FROM emails WHERE id = ?", foreign) == [("QUEUED", 1)]
    assert sum(one.count for one in (await store.counts(terminal=True)).values()) == 1


async def test_bad_input_47_rows_in_a_status_that_nobody_knows_are_counted(
    store: SqliteStore, harness: SqliteHarness
) -> None:
    assert (await store.survey()).poisoned_count == 0
    foreign = sorted(await enqueue(store, 25))
    (good,) = await enqueue(store)
    await harness.execute("PRAGMA ignore_check_constraints = ON")
    for number, email_id in enumerate(foreign):
        await harness.alter(email_id, status=("", "QUEUED", "ZOMBIE")[number % 3])

    survey = await store.survey()

    assert (survey.exact, survey.poisoned, survey.poisoned_count) == (True, tuple(foreign[:20]), 25)
    assert await store.get(foreign[0]) is None
    assert [one.id for one in await store.page()] == [good]
    assert await store.requeue([foreign[0]], who="me", why="x", ttl_extension=1.0) == [Steered.MISSING]
    plan = await harness.execute(f"EXPLAIN QUERY PLAN {sqlite_rows._STATUSES}")
    assert not [detail for *_, detail in plan if str(detail).startswith("SCAN emails")], plan


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "QUEUED"), ("updated_at", None), ("version", None), ("payload_file_path", "/" + "p" * 500)],
)
async def test_bad_input_47_what_the_table_itself_does_not_take(
    store: SqliteStore, harness: SqliteHarness, column: str, value: object
) -> None:
    (email_id,) = await enqueue(store)
    with pytest.raises(sqlite3.IntegrityError):
        await harness.execute(f"UPDATE emails SET {column} = ? WHERE id = ?", value, email_id)
    assert (await claim_one(store)).id == email_id


@pytest.mark.parametrize(
    "spoil",
    [
        "DELETE FROM email_status_history WHERE version = 2",
        "UPDATE email_status_history SET status = 'FAILED-ACKNOWLEDGED' WHERE version = 2",
        "DELETE FROM email_status_history",
    ],
)
async def test_bad_input_48_a_history_with_a_gap_or_two_ends_is_worked_on(
    store: SqliteStore, harness: SqliteHarness, spoil: str
) -> None:
    odd, good = await enqueue(store, 2)
    for number, (stage, outcome) in enumerate(WAY):
        claimed = await claim(store, stage)
        assert {email.id for email in claimed} == {odd, good}
        for email in claimed:
            assert await finish(store, email, outcome) is Recorded.DONE
        if number == 0:
            await harness.execute(f"{spoil} {'AND' if 'WHERE' in spoil else 'WHERE'} email_id = ?", odd)

    assert (await row(store, odd)).status is Status.SENT_ACKNOWLEDGED
    assert [entry.version for entry in await store.history(odd)][-4:] == [4, 5, 6, 7]
    assert [entry.version for entry in await store.history(good)] == [None, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "outcome", [Prepared("example.com"), Retry("later", 1.0), Failed("expired")], ids=lambda one: type(one).__name__
)
async def test_bad_input_50_a_row_that_goes_while_it_is_held_does_not_come_back(
    store: SqliteStore, harness: SqliteHarness, outcome: Outcome
) -> None:
    gone, good = await enqueue(store, 2)
    emails = {email.id: email for email in await claim(store)}
    await harness.delete(gone)

    assert (await store.renew(list(emails.values()), lease=60.0)).held == {good}
    assert await finish(store, emails[gone], outcome) is Recorded.LOST
    assert await finish(store, emails[good], outcome) is Recorded.DONE

    assert await store.get(gone) is None
    assert await store.history(gone) == []
    assert await harness.execute("SELECT COUNT(*) FROM emails") == [(1,)]
    assert await store.get(new_id()) is None
