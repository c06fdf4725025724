"""The memory of a cutover: what each replica noted of the queue, minute by minute, as any other reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mailculator.model import Status, StatusCount
from mailculator.stores.base import Minute, Store
from tests.contract.steps import bring, claim, enqueue
from tests.support.harness import Harness

MINUTE = timedelta(minutes=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def began(ago: int) -> datetime:
    """The beginning of a minute that many minutes ago."""
    return datetime.now(UTC).replace(second=0, microsecond=0) - ago * MINUTE


def a_minute(
    at: datetime,
    replica: str = "replica-1",
    *,
    counts: Mapping[Status, StatusCount] | None = None,
    entered: int = 0,
    left: int = 0,
    notes: Mapping[str, str] | None = None,
) -> Minute:
    return Minute(at, replica, "1.2.3", counts or {}, entered, left, notes or {})


async def test_a_new_queue_remembers_nothing(store: Store) -> None:
    assert await store.minutes(LONG_AGO) == []


async def test_a_minute_comes_back_as_it_was_remembered(store: Store, harness: Harness) -> None:
    minute = a_minute(
        began(1),
        counts={
            Status.ACCEPTED: StatusCount(3, 0, 12.5),
            Status.PROCESSING: StatusCount(0),
            Status.CALLING_SENT_CALLBACK: StatusCount(2_000_000, 7, 86_400.0),
        },
        entered=120,
        left=2_000_000,
        notes={"breaker": "relay: open for 30 s", "sending": ""},
    )

    await store.remember(minute)

    for reader in (store, await harness.another()):
        (found,) = await reader.minutes(LONG_AGO)
        assert found == minute
        assert found.at.utcoffset() == timedelta(0)


async def test_a_minute_in_which_nothing_could_be_counted_is_remembered_too(store: Store) -> None:
    minute = a_minute(began(1))

    await store.remember(minute)

    assert await store.minutes(LONG_AGO) == [minute]


@pytest.mark.parametrize(
    "text",
    ["", "perché \"così\" \\ 100% 'no'", "漢字 🙂", "two\nlines\tand a tab", "|;,={}[]", "x" * 2000],
    ids=["empty", "quotes", "unicode", "lines", "delimiters", "long"],
)
async def test_notes_are_any_text(store: Store, text: str) -> None:
    minute = a_minute(began(1), notes={"what": text, f"name {text[:40]}": "by any name"})

    await store.remember(minute)

    (found,) = await store.minutes(LONG_AGO)
    assert found.notes == minute.notes


async def test_the_same_minute_of_the_same_replica_is_replaced(store: Store, harness: Harness) -> None:
    at = began(1)
    first = a_minute(at, counts={Status.ACCEPTED: StatusCount(5)}, entered=5, notes={"gone": "later"})
    await store.remember(first)
    second = a_minute(at, counts={Status.READY: StatusCount(1)}, entered=6, left=1)

    await (await harness.another()).remember(second)

    assert await store.minutes(LONG_AGO) == [second]


async def test_every_replica_has_a_minute_of_its_own(store: Store, harness: Harness) -> None:
    at = began(1)
    replicas = [f"replica-{number}" for number in range(5)]
    stores = [store, await harness.another()]

    await asyncio.gather(
        *(stores[n % 2].remember(a_minute(at, replica, entered=n)) for n, replica in enumerate(replicas))
    )

    found = await store.minutes(LONG_AGO)
    assert sorted((minute.replica, minute.entered) for minute in found) == [
        (replica, number) for number, replica in enumerate(replicas)
    ]
    assert {minute.at for minute in found} == {at}


async def test_oldest_first_in_whatever_order_they_were_written(store: Store) -> None:
    ages = [3, 1, 90, 2, 1441, 30]
    for ago in ages:
        for replica in ("replica-1", "replica-2"):
            await store.remember(a_minute(began(ago), replica))

    times = [minute.at for minute in await store.minutes(LONG_AGO)]

    assert times == sorted(times)
    assert len(times) == 2 * len(ages)


async def test_since_is_where_they_begin_itself_included(store: Store) -> None:
    minutes = [a_minute(began(ago)) for ago in (30, 20, 10)]
    for minute in minutes:
        await store.remember(minute)

    assert await store.minutes(minutes[0].at) == minutes
    assert await store.minutes(minutes[1].at) == minutes[1:]
    assert await store.minutes(minutes[1].at + timedelta(seconds=1)) == minutes[2:]
    assert await store.minutes(began(0)) == []


async def test_since_may_be_given_in_any_time_zone(store: Store) -> None:
    minutes = [a_minute(began(ago)) for ago in (30, 20)]
    for minute in minutes:
        await store.remember(minute)

    assert await store.minutes(minutes[1].at.astimezone(timezone(timedelta(hours=9)))) == minutes[1:]


async def test_a_day_of_minutes_is_read_whole(store: Store, harness: Harness) -> None:
    """A reader who is given the first page only would take a day with work in it for an empty one."""
    total = harness.amount(1440)
    day = [a_minute(began(ago), notes={"padding": "x" * 500}, entered=ago) for ago in range(total, 0, -1)]
    for minute in day:
        await store.remember(minute)

    assert await store.minutes(day[0].at) == day


async def test_nothing_of_the_last_week_is_forgotten(store: Store) -> None:
    old = a_minute(began(7 * 1440 - 10))
    await store.remember(old)
    await store.remember(a_minute(began(1)))

    assert old in await store.minutes(LONG_AGO)


async def test_a_minute_is_no_email(store: Store) -> None:
    (email_id,) = await bring(store, Status.READY)
    await enqueue(store)
    before = (await store.counts(terminal=True), await store.page(), await store.history(email_id))

    await store.remember(replace(a_minute(began(1)), counts=await store.counts()))

    assert await store.minutes(LONG_AGO) != []
    after = (await store.counts(terminal=True), await store.page(), await store.history(email_id))
    assert _without_ages(after[0]) == _without_ages(before[0])
    assert after[1:] == before[1:]
    assert len(await claim(store)) == 1


def _without_ages(counts: Mapping[Status, StatusCount]) -> dict[Status, tuple[int, int]]:
    return {status: (count.count, count.parked) for status, count in counts.items()}
