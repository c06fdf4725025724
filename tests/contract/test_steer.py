"""What an operator does: requeue along the one table, and release what is parked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    STAGE_BY_WAITING,
    Failed,
    Park,
    Retry,
    Sent,
)
from mailculator.model import Status
from mailculator.stores.base import Recorded, Steered, Store
from tests.contract.steps import (
    assert_gapless,
    bring,
    claim,
    claim_one,
    enqueue,
    epoch,
    finish,
    forge_next_version,
    new_id,
    row,
)
from tests.support.harness import Harness

REQUEUES = [
    (Status.INVALID, Status.ACCEPTED, 1),
    (Status.FAILED, Status.READY, 1),
    (Status.FAILED_ACKNOWLEDGED, Status.READY, 1),
    (Status.SENT_ACKNOWLEDGED, Status.SENT, 0),
]


async def requeue(store: Store, *ids: str, ttl_extension: float = 86400.0) -> list[Steered]:
    return await store.requeue(ids, who="anna", why="relay was misconfigured", ttl_extension=ttl_extension)


async def release(store: Store, *ids: str) -> list[Steered]:
    return await store.release(ids, who="anna", why="endpoint is back")


@pytest.mark.parametrize(("origin", "target", "generation"), REQUEUES)
async def test_every_requeue_is_a_move_with_who_and_why(
    store: Store, origin: Status, target: Status, generation: int
) -> None:
    (email_id,) = await bring(store, origin)
    before = await row(store, email_id)

    assert await requeue(store, email_id) == [Steered.DONE]

    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.generation) == (target, before.version + 1, generation)
    assert (stored.attempts, stored.last_error, stored.parked, stored.ttl) == (0, None, False, None)
    last = (await store.history(email_id))[-1]
    assert (last.status, last.version, last.reason) == (
        target,
        stored.version,
        "requeued by anna: relay was misconfigured",
    )
    await assert_gapless(store, email_id)
    assert (await claim_one(store, STAGE_BY_WAITING[target])).generation == generation


@pytest.mark.parametrize("status", sorted(set(Status) - {origin for origin, _, _ in REQUEUES}))
async def test_from_anywhere_else_it_does_not_apply(store: Store, status: Status) -> None:
    (email_id,) = await bring(store, status)
    before = await row(store, email_id)

    assert await requeue(store, email_id) == [Steered.NOT_APPLICABLE]
    assert await row(store, email_id) == before


async def test_answers_come_in_order(store: Store) -> None:
    invalid = await bring(store, Status.INVALID, 2)
    (waiting,) = await enqueue(store)

    answers = await requeue(store, new_id(), invalid[0], waiting, invalid[1], invalid[0])

    assert answers == [
        Steered.MISSING,
        Steered.DONE,
        Steered.NOT_APPLICABLE,
        Steered.DONE,
        Steered.NOT_APPLICABLE,
    ]


async def test_what_is_sent_anew_will_be_reached_anew(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.FAILED)
    await harness.rewind(5000)
    failed_at = (await row(store, email_id)).reached_at
    await requeue(store, email_id)
    assert (await row(store, email_id)).reached_at is None

    await finish(store, await claim_one(store, SENDER), Sent("250"))

    sent_at = (await row(store, email_id)).reached_at
    assert failed_at is not None
    assert sent_at is not None
    assert sent_at - failed_at > timedelta(seconds=4000)


async def test_a_callback_asked_for_again_keeps_the_time_of_sending(store: Store) -> None:
    (email_id,) = await bring(store, Status.SENT_ACKNOWLEDGED)
    sent_at = (await row(store, email_id)).reached_at

    await requeue(store, email_id)

    assert (await claim_one(store, SENT_CALLBACK)).reached_at == sent_at


async def test_every_requeue_raises_the_generation_again(store: Store) -> None:
    (email_id,) = await bring(store, Status.FAILED)
    for generation in (1, 2, 3):
        assert await requeue(store, email_id) == [Steered.DONE]
        email = await claim_one(store, SENDER)
        assert email.generation == generation
        await finish(store, email, Failed("550 again"))

    await assert_gapless(store, email_id)


async def test_a_row_past_its_ttl_gets_a_new_one(store: Store, harness: Harness) -> None:
    (late,) = await bring(store, Status.FAILED, ttl=epoch(100))
    (timely,) = await bring(store, Status.INVALID, ttl=epoch(100_000))
    await harness.rewind(200)
    kept = (await row(store, timely)).ttl

    await requeue(store, late, timely, ttl_extension=5000.0)

    renewed = (await row(store, late)).ttl
    assert renewed == pytest.approx(epoch(5000), abs=60)
    assert (await row(store, timely)).ttl == kept
    assert (await claim_one(store, SENDER)).expired is False


async def test_tries_and_parking_start_anew(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.FAILED)
    await finish(store, await claim_one(store, FAILED_CALLBACK), Retry("500", delay=0.0))
    await harness.rewind(100)
    await finish(store, await claim_one(store, FAILED_CALLBACK), Park("gave up"))

    assert await requeue(store, email_id) == [Steered.DONE]

    email = await claim_one(store, SENDER)
    assert (email.attempts, email.failing_for) == (1, 0.0)


async def test_a_stale_claim_does_not_outlive_a_requeue(store: Store) -> None:
    await bring(store, Status.READY)
    email = await claim_one(store, SENDER)
    await finish(store, email, Failed("550"))
    await requeue(store, email.id)
    again = await claim_one(store, SENDER)

    assert await finish(store, email, Sent("250")) is Recorded.LOST
    assert await finish(store, again, Sent("250")) is Recorded.DONE


async def test_requeueing_hundreds(store: Store, harness: Harness) -> None:
    ids = await bring(store, Status.INVALID, harness.amount(300))

    assert await requeue(store, *ids) == [Steered.DONE] * len(ids)
    assert len(await claim(store, INTAKE)) == len(ids)


async def test_g14_a_bad_row_does_not_spoil_the_requeue_of_the_others(store: Store, harness: Harness) -> None:
    ids = await bring(store, Status.INVALID, 5)
    await forge_next_version(harness, ids[2], 3)

    answers = await requeue(store, *ids)

    assert [answer is Steered.DONE for answer in answers] == [True, True, False, True, True]
    assert (await row(store, ids[2])).status is Status.INVALID


async def test_release_ends_parking_without_a_move(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.SENT)
    await finish(store, await claim_one(store, SENT_CALLBACK), Retry("500", delay=0.0))
    await harness.rewind(100)
    await finish(store, await claim_one(store, SENT_CALLBACK), Park("gave up"))
    before = await row(store, email_id)

    assert await release(store, email_id) == [Steered.DONE]

    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.parked) == (Status.SENT, before.version, False)
    last = (await store.history(email_id))[-1]
    assert (last.status, last.version, last.reason) == ("SENT", None, "released by anna: endpoint is back")
    email = await claim_one(store, SENT_CALLBACK)
    assert (email.attempts, email.failing_for) == (1, 0.0)
    await assert_gapless(store, email_id)


async def test_release_applies_to_parked_rows_only(store: Store) -> None:
    (email_id,) = await enqueue(store)
    before = await row(store, email_id)

    assert await release(store, email_id, new_id()) == [Steered.NOT_APPLICABLE, Steered.MISSING]
    assert await row(store, email_id) == before
    assert len(await store.history(email_id)) == 1


async def test_nothing_to_steer_is_no_error(store: Store) -> None:
    assert await requeue(store) == []
    assert await release(store) == []


async def test_an_id_in_upper_case_is_the_same_email(store: Store) -> None:
    (email_id,) = await bring(store, Status.INVALID)

    assert await requeue(store, email_id.upper(), email_id) == [Steered.DONE, Steered.NOT_APPLICABLE]
    assert (await row(store, email_id)).status is Status.ACCEPTED
    await finish(store, await claim_one(store), Park("gave up"))
    assert await release(store, email_id.upper(), new_id().upper()) == [Steered.DONE, Steered.MISSING]
    assert (await row(store, email_id)).parked is False
    await assert_gapless(store, email_id)


async def test_g14_a_corrupt_row_does_not_spoil_the_requeue_of_the_others(store: Store, harness: Harness) -> None:
    ids = await bring(store, Status.INVALID, 3)
    await harness.alter(ids[1], version=2_147_483_647)

    assert await requeue(store, *ids) == [Steered.DONE, Steered.NOT_APPLICABLE, Steered.DONE]
    assert (await row(store, ids[1])).version == 2_147_483_647
