"""The history: ordered, gapless, and never changed by what is no move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailculator.lifecycle import SENDER, SENT_CALLBACK, Acknowledged, Prepared, Retry, Sent, Wait
from mailculator.model import Status
from mailculator.stores.base import Store
from tests.contract.steps import (
    assert_gapless,
    bring,
    claim_one,
    enqueue,
    epoch,
    finish,
    new_id,
    rescue,
    row,
    versioned,
)
from tests.support.harness import Harness, VersionTaken


async def test_an_unknown_email_has_none(store: Store) -> None:
    assert await store.history(new_id()) == []


async def test_oldest_first_with_the_stores_times_in_utc(store: Store) -> None:
    (email_id,) = await bring(store, Status.SENT_ACKNOWLEDGED)

    entries = await store.history(email_id)

    assert [entry.version for entry in entries] == [None, 2, 3, 4, 5, 6, 7]
    times = [entry.created_at for entry in entries]
    assert times == sorted(times)
    assert all(abs(at - datetime.now(UTC)) < timedelta(minutes=1) for at in times)


async def test_a_long_life_is_gapless(store: Store, harness: Harness) -> None:
    """Retries, waits, a rescue and renewals on the way: versions are exactly 2 … version."""
    (email_id,) = await enqueue(store)
    await finish(store, await claim_one(store), Retry("missing", delay=0.0))
    email = await claim_one(store)
    await store.renew([email], lease=60.0)
    await harness.rewind(61)
    await rescue(store, 10)
    await finish(store, await claim_one(store), Prepared("example.com"))
    await finish(store, await claim_one(store, SENDER), Wait("relay away", delay=0.0))
    await finish(store, await claim_one(store, SENDER), Sent("250"))
    await finish(store, await claim_one(store, SENT_CALLBACK), Acknowledged("200"))

    await assert_gapless(store, email_id)
    assert [status for _, status in await versioned(store, email_id)] == [
        "INTAKING",
        "ACCEPTED",
        "INTAKING",
        "ACCEPTED",
        "INTAKING",
        "READY",
        "PROCESSING",
        "READY",
        "PROCESSING",
        "SENT",
        "CALLING-SENT-CALLBACK",
        "SENT-ACKNOWLEDGED",
    ]


async def test_notes_without_a_version_may_be_many(store: Store, harness: Harness) -> None:
    (email_id,) = await enqueue(store)
    for _ in range(3):
        await harness.note(email_id, "a note")

    assert [entry.version for entry in await store.history(email_id)] == [None] * 4
    await finish(store, await claim_one(store), Prepared("example.com"))
    await assert_gapless(store, email_id)


async def test_one_version_is_written_once_whoever_writes(store: Store, harness: Harness) -> None:
    """The database itself refuses a second line under one version, so that a forgotten check cannot pass unseen."""
    (email_id,) = await bring(store, Status.READY)
    before = await store.history(email_id)

    with pytest.raises(VersionTaken):
        await harness.forge(email_id, 3)

    assert await store.history(email_id) == before
    assert (await row(store, email_id)).version == 3


async def test_it_goes_with_its_email(store: Store, harness: Harness) -> None:
    ids = await bring(store, Status.SENT_ACKNOWLEDGED, 2, ttl=epoch(-1000))

    assert await harness.retain(store, 10) == 2

    for email_id in ids:
        assert await store.history(email_id) == []
    assert await harness.count_history() == 0
