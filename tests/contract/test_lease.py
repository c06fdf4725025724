"""Leases: renewing them, and rescuing what a dead holder left behind."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mailculator.lifecycle import FAILED_CALLBACK, INTAKE, SENDER, SENT_CALLBACK, Prepared, Retry, Sent
from mailculator.model import Status
from mailculator.stores.base import Recorded, Renewal, Store
from tests.contract.steps import (
    FOREIGN_HOLD,
    Rescue,
    assert_gapless,
    bring,
    bring_claimed,
    claim,
    claim_one,
    enqueue,
    finish,
    forge_next_version,
    rescue,
    row,
)
from tests.support.harness import Harness

STEPS = {
    Status.INTAKING: Status.ACCEPTED,
    Status.PROCESSING: Status.READY,
    Status.CALLING_SENT_CALLBACK: Status.SENT,
    Status.CALLING_FAILED_CALLBACK: Status.FAILED,
}


def held(*ids: str) -> Renewal:
    return Renewal(frozenset(ids), frozenset())


def lost(*ids: str) -> Renewal:
    return Renewal(frozenset(), frozenset(ids))


# Renewing


async def test_a_renewed_lease_holds_on_and_leaves_the_version_alone(store: Store, harness: Harness) -> None:
    await enqueue(store)
    email = await claim_one(store, lease=60.0)
    for _ in range(3):
        await harness.rewind(50)
        assert await store.renew([email], lease=60.0) == held(email.id)
        assert await rescue(store) == []

    stored = await row(store, email.id)
    assert (stored.version, stored.status, stored.claim_token) == (email.version, email.status, email.claim_token)
    assert await finish(store, email, Prepared("example.com")) is Recorded.DONE
    await assert_gapless(store, email.id)


async def test_renewing_hundreds_answers_with_those_still_ours(store: Store, harness: Harness) -> None:
    await enqueue(store, harness.amount(600))
    claimed = await claim(store)
    gone = {email.id for email in claimed[:: len(claimed) // 12]}
    for email_id in gone:
        await harness.alter(email_id, status="READY", raise_by=1)

    assert await store.renew(claimed, lease=60.0) == Renewal(
        held=frozenset({email.id for email in claimed} - gone), lost=frozenset(gone)
    )


@pytest.mark.parametrize(
    "change",
    [{"raise_by": 2}, {"claim_token": "another"}, {"status": "ACCEPTED"}],
    ids=["version", "token", "status"],
)
async def test_g1_a_lease_that_is_not_ours_is_not_renewed(
    store: Store, harness: Harness, change: dict[str, Any]
) -> None:
    await enqueue(store)
    email = await claim_one(store, lease=10.0)
    await harness.alter(email.id, **change)
    before = await row(store, email.id)

    assert await store.renew([email], lease=5000.0) == lost(email.id)
    assert (await row(store, email.id)).lease_until == before.lease_until


async def test_a_lease_of_a_row_that_is_gone_is_lost(store: Store, harness: Harness) -> None:
    await enqueue(store, 2)
    gone, kept = await claim(store)
    await harness.delete(gone.id)

    assert await store.renew([gone, kept], lease=60.0) == Renewal(frozenset({kept.id}), frozenset({gone.id}))


async def test_nothing_to_renew_is_no_error(store: Store) -> None:
    assert await store.renew([], lease=60.0) == Renewal(frozenset(), frozenset())


async def test_a_finished_claim_is_not_renewed(store: Store) -> None:
    await enqueue(store)
    email = await claim_one(store)
    await finish(store, email, Prepared("example.com"))

    assert await store.renew([email], lease=60.0) == lost(email.id)
    assert (await row(store, email.id)).lease_until is None


# Rescuing


@pytest.mark.parametrize(("working", "waiting"), list(STEPS.items()))
async def test_an_expired_lease_takes_the_row_one_step_back(
    store: Store, harness: Harness, working: Status, waiting: Status
) -> None:
    email = await bring_claimed(store, working)
    before = await row(store, email.id)
    await harness.rewind(61)

    assert await rescue(store) == [Rescue(email.id, working, waiting, "tester")]

    stored = await row(store, email.id)
    assert (stored.status, stored.version, stored.attempts) == (waiting, email.version + 1, 1)
    assert (stored.reason, stored.lease_until) == (before.reason, None)
    last = (await store.history(email.id))[-1]
    assert (last.status, last.version, last.reason) == (
        waiting,
        stored.version,
        "rescued: the lease of tester expired",
    )
    await assert_gapless(store, email.id)


async def test_a_rescued_row_is_due_at_once_and_its_try_counts(store: Store, harness: Harness) -> None:
    await enqueue(store)
    await claim_one(store)
    await harness.rewind(61)
    await rescue(store)

    assert (await claim_one(store)).attempts == 2


async def test_a_rescue_keeps_the_reason_and_the_last_error(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.FAILED)
    await finish(store, await claim_one(store, FAILED_CALLBACK), Retry("callback: 500", delay=0.0))
    await claim_one(store, FAILED_CALLBACK)
    await harness.rewind(61)

    await rescue(store)

    stored = await row(store, email_id)
    assert (stored.status, stored.reason, stored.last_error) == (Status.FAILED, "550 unknown", "callback: 500")
    assert (await claim_one(store, FAILED_CALLBACK)).reason == "550 unknown"


async def test_a_rescued_claim_is_lost_to_its_old_holder(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY)
    email = await claim_one(store, SENDER)
    await harness.rewind(61)
    await rescue(store)

    assert await store.renew([email], lease=60.0) == lost(email.id)
    assert await finish(store, email, Sent("250")) is Recorded.LOST
    stored = await row(store, email.id)
    assert stored.status is Status.READY
    assert stored.claim_token != email.claim_token


async def test_g6_an_old_row_under_a_lease_is_left_alone(store: Store, harness: Harness) -> None:
    """By the row's age alone, its holder would have been taken for dead long ago."""
    await enqueue(store)
    await claim_one(store, lease=10_000.0)
    await harness.rewind(9_000)

    assert await rescue(store) == []


async def test_g6_a_lease_that_expired_is_enough_however_young_the_row(store: Store, harness: Harness) -> None:
    await enqueue(store)
    await claim_one(store, lease=5.0)
    await harness.rewind(6)

    assert len(await rescue(store)) == 1


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
@pytest.mark.parametrize("skew", [-86400.0, 86400.0])
async def test_g7_neither_clock_nor_time_zone_of_this_process_decides(
    store: Store, harness: Harness, monkeypatch: pytest.MonkeyPatch, zone: str, skew: float
) -> None:
    real = time.time
    await enqueue(store, 2)
    (held,) = await claim(store, limit=1, lease=60.0)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        monkeypatch.setattr(time, "time", lambda: real() + skew)
        (under_the_skew,) = await claim(store, limit=1, lease=60.0)
        assert await rescue(store) == []
        await harness.rewind(61)
        assert {rescued.id for rescued in await rescue(store)} == {held.id, under_the_skew.id}
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_a_lease_of_another_version_is_not_ours_and_the_row_counts_as_foreign(
    store: Store, harness: Harness
) -> None:
    """The older consumer took the row over: our lease, though expired, says nothing about it any more."""
    await enqueue(store)
    email = await claim_one(store, lease=10.0)
    await harness.alter(email.id, status="PROCESSING", raise_by=2)
    await harness.rewind(FOREIGN_HOLD - 60)
    assert await rescue(store) == []
    await harness.rewind(120)

    (rescued,) = await rescue(store)

    assert (rescued.id, rescued.origin, rescued.to) == (email.id, Status.PROCESSING, Status.READY)
    stored = await row(store, email.id)
    assert (stored.status, stored.version) == (Status.READY, email.version + 3)
    assert (await store.history(email.id))[-1].reason == "rescued: no sign of its holder"


async def test_a_working_row_without_any_lease_is_foreign(store: Store, harness: Harness) -> None:
    email_id = await harness.insert(Status.INTAKING, version=2)
    await harness.rewind(FOREIGN_HOLD - 60)
    assert await rescue(store) == []
    await harness.rewind(120)

    assert await rescue(store) == [Rescue(email_id, Status.INTAKING, Status.ACCEPTED, None)]
    assert (await row(store, email_id)).version == 3


async def test_rows_that_nobody_works_on_are_never_rescued(store: Store, harness: Harness) -> None:
    for status in Status:
        if status not in STEPS:
            await harness.insert(status)
    await harness.rewind(1_000_000)

    assert await rescue(store) == []


async def test_no_more_than_asked_and_then_the_rest(store: Store, harness: Harness) -> None:
    limit = harness.amount(100)
    ids = await enqueue(store, 2 * limit + limit // 2)
    await claim(store)
    await harness.rewind(61)

    found = [await rescue(store, limit) for _ in range(4)]

    assert [len(part) for part in found] == [limit, limit, limit // 2, 0]
    assert {rescued.id for part in found for rescued in part} == set(ids)


async def test_g14_a_bad_row_does_not_spoil_the_rescue_of_the_others(store: Store, harness: Harness) -> None:
    await enqueue(store, 30)
    claimed = await claim(store)
    bad = claimed[0]
    await forge_next_version(harness, bad.id, bad.version)
    await harness.rewind(61)

    rescued = {rescue_.id for rescue_ in await rescue(store)}

    assert rescued == {email.id for email in claimed[1:]}
    assert len(await claim(store, INTAKE)) == 29


async def test_a_working_row_whose_history_is_ahead_is_left_for_later_with_the_reason(
    store: Store, harness: Harness
) -> None:
    await enqueue(store)
    email = await claim_one(store)
    await forge_next_version(harness, email.id, email.version)
    await harness.rewind(61)

    assert await rescue(store) == []

    stored = await row(store, email.id)
    assert (stored.status, stored.version) == (Status.INTAKING, email.version)
    assert stored.last_error == "the history already has version 3: somebody wrote to it by hand"
    assert stored.lease_until is not None
    assert stored.lease_until > stored.created_at


@pytest.mark.parametrize("version", [0, -7, 2_147_483_647])
async def test_g14_corrupt_rows_do_not_spoil_the_rescue_of_the_others(
    store: Store, harness: Harness, version: int
) -> None:
    await enqueue(store, 5)
    corrupt = [email.id for email in await claim(store)]
    for email_id in corrupt:
        await harness.alter(email_id, version=version)
    await enqueue(store, 3)
    good = [email.id for email in await claim(store)]
    # Beyond the lease of a row that counts as another consumer's, which the corrupt ones do.
    await harness.rewind(FOREIGN_HOLD + 61)

    rescued = [one.id for _ in range(3) for one in await rescue(store, 5)]

    assert sorted(rescued) == sorted(good)
    for email_id in corrupt:
        stored = await row(store, email_id)
        assert (stored.status, stored.version) == (Status.INTAKING, version)
        assert stored.last_error == f"row_corrupt: version {version}"


async def test_a_rescue_from_another_programs_stage_leaves_none_of_our_tries(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.READY)
    await finish(store, await claim_one(store, SENDER), Retry("452 later", delay=0.0))
    await harness.alter(email_id, status="CALLING-SENT-CALLBACK", raise_by=3)
    await harness.rewind(FOREIGN_HOLD + 1)
    # A store that finds its work by an index of its own learns of the move when it looks for the row there.
    assert await claim(store, SENDER) == []

    assert [one.to for one in await rescue(store)] == [Status.SENT]

    email = await claim_one(store, SENT_CALLBACK)
    assert (email.attempts, email.failing_for, email.last_error) == (1, 0.0, None)
