"""Retention: what is terminal and past its ttl goes; nothing else does, ever."""

from __future__ import annotations

import pytest

from mailculator.lifecycle import TERMINAL
from mailculator.model import Status
from mailculator.stores.base import Store
from tests.contract.steps import bring, epoch, row
from tests.support.harness import Harness

UNSENT = sorted(set(Status) - TERMINAL)


@pytest.mark.parametrize("status", sorted(TERMINAL))
async def test_a_terminal_row_past_its_ttl_is_deleted_with_its_history(
    store: Store, harness: Harness, status: Status
) -> None:
    (email_id,) = await bring(store, status, ttl=epoch(-10))

    assert await harness.retain(store, 100) == 1

    assert await store.get(email_id) is None
    assert await store.history(email_id) == []


@pytest.mark.parametrize("status", UNSENT)
async def test_a_row_that_is_not_terminal_stays_however_late(store: Store, harness: Harness, status: Status) -> None:
    (email_id,) = await bring(store, status, ttl=epoch(-1_000_000))

    assert await harness.retain(store, 100) == 0
    assert (await row(store, email_id)).status is status


async def test_a_ttl_in_the_future_or_none_keeps_the_row(store: Store, harness: Harness) -> None:
    await bring(store, Status.SENT_ACKNOWLEDGED, ttl=epoch(100))
    (forever,) = await bring(store, Status.SENT_ACKNOWLEDGED)
    assert await harness.retain(store, 100) == 0

    await harness.rewind(200)

    assert await harness.retain(store, 100) == 1
    assert (await row(store, forever)).ttl is None


async def test_it_deletes_in_batches(store: Store, harness: Harness) -> None:
    for _ in range(25):
        await harness.insert(Status.INVALID, ttl=epoch(-1000))

    assert [await harness.retain(store, 10) for _ in range(4)] == [10, 10, 5, 0]
    assert (await store.counts(terminal=True))[Status.INVALID].count == 0
