"""Bad input 48: what `check` sees of histories, in every store."""

from __future__ import annotations

import pytest

from mailculator.cli.histories import sample
from mailculator.lifecycle import SENDER, Sent
from mailculator.model import Status
from mailculator.stores.base import Recorded, Store
from tests.contract.steps import bring, claim_one, enqueue, finish, row
from tests.support.harness import Harness


async def test_bad_input_48_a_whole_history_is_no_finding(store: Store) -> None:
    for status in (Status.READY, Status.INVALID, Status.SENT_ACKNOWLEDGED, Status.ACCEPTED):
        await bring(store, status)

    for _ in range(3):  # wherever the look begins
        found = await sample(store)
        assert (found.looked_at, found.wrong) == (4, {})


async def test_bad_input_48_a_gap_that_nobody_explains_is_found(store: Store, harness: Harness) -> None:
    (odd,) = await bring(store, Status.READY)
    await harness.alter(odd, raise_by=2)
    assert (await sample(store)).wrong == {odd: "lacks version 4-5"}

    assert await finish(store, await claim_one(store, SENDER), Sent("250 ok")) is Recorded.DONE
    await enqueue(store, 3)

    found = await sample(store)
    assert (found.looked_at, found.wrong) == (4, {odd: "lacks version 4-5"})


async def test_bad_input_48_what_an_older_consumer_moved_is_no_gap_of_ours(store: Store, harness: Harness) -> None:
    (email_id,) = await enqueue(store)
    await harness.move_as_older(email_id, "ACCEPTED", "INTAKING", noted=True)
    await harness.move_as_older(email_id, "INTAKING", "READY", noted=True)

    assert await finish(store, await claim_one(store, SENDER), Sent("250 ok")) is Recorded.DONE

    assert (await row(store, email_id)).status is Status.SENT
    assert (await sample(store)).wrong == {}


@pytest.mark.parametrize("count", [1, 3])
async def test_bad_input_48_no_more_than_the_limit_is_looked_at(store: Store, count: int) -> None:
    await enqueue(store, 5)

    assert (await sample(store, count)).looked_at == count
