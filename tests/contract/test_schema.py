"""The schema as every backend shows it: what is applied, for whom it is good, and applying it again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailculator.model import Status
from mailculator.stores.base import Store
from tests.contract.steps import bring, row
from tests.support.harness import Harness


@pytest.fixture
async def later(harness: Harness, store: Store) -> AsyncIterator[None]:
    """The schema as a later version of the service would leave it."""
    async with harness.later_schema("9999_later"):
        yield


@pytest.mark.usefixtures("store")
async def test_the_current_schema_lacks_nothing(harness: Harness) -> None:
    state = await harness.schema().state()

    assert state.applied == harness.schema_names
    assert (state.pending, state.differences, state.refusal) == ((), (), None)
    assert state.oldest_service == harness.oldest_service


async def test_applying_it_again_changes_nothing(harness: Harness, store: Store) -> None:
    (email_id,) = await bring(store, Status.SENT_ACKNOWLEDGED)
    before = (await row(store, email_id), await store.history(email_id))
    told: list[str] = []

    for _ in range(2):
        assert await harness.schema().apply(told.append) == ()

    assert (await row(store, email_id), await store.history(email_id)) == before


@pytest.mark.usefixtures("later")
async def test_files_of_a_later_version_are_no_reason_to_refuse(harness: Harness) -> None:
    state = await harness.schema().state()

    assert state.applied == (*harness.schema_names, "9999_later")
    assert state.refusal is None


@pytest.mark.usefixtures("later")
async def test_a_schema_that_no_longer_serves_this_version_is_refused(harness: Harness) -> None:
    await harness.serve_from("99.0.0")

    refusal = (await harness.schema().state()).refusal

    assert refusal is not None
    assert "upgrade the service" in refusal
