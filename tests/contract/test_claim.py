"""Claiming: which rows, in which order, and what the claim says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    STAGES,
    Park,
    Prepared,
    Release,
    Retry,
    Sent,
    Stage,
    Wait,
)
from mailculator.model import Status
from mailculator.pipelines.checked import MOVES
from mailculator.stores.base import Store
from tests.contract.steps import (
    bring,
    claim,
    claim_one,
    enqueue,
    epoch,
    finish,
    forge_next_version,
    row,
    versioned,
)
from tests.support.harness import Harness


async def test_a_claim_moves_the_row_and_writes_its_history(store: Store) -> None:
    (email_id,) = await enqueue(store)

    (email,) = await store.claim(INTAKE, 10, lease=60.0, holder="replica-1")

    assert (email.id, email.status, email.version, email.attempts) == (email_id, Status.INTAKING, 2, 1)
    assert (email.generation, email.failing_for, email.reached_at, email.reason) == (0, 0.0, None, None)
    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.claimed_by) == (Status.INTAKING, 2, "replica-1")
    assert stored.claim_token == email.claim_token
    last = (await store.history(email_id))[-1]
    assert (last.status, last.version, last.reason) == ("INTAKING", 2, "claimed by replica-1")


async def test_between_intakes_claim_and_the_senders_lie_two_moves(store: Store) -> None:
    await enqueue(store)
    checked = await claim_one(store)
    await finish(store, checked, Prepared("example.com"))

    assert (await claim_one(store, SENDER)).version == checked.version + MOVES


async def test_a_claim_holds_for_its_lease(store: Store) -> None:
    await enqueue(store)

    email = await claim_one(store, lease=300.0)

    stored = await row(store, email.id)
    assert stored.lease_until is not None
    assert stored.lease_until - stored.updated_at == pytest.approx(timedelta(seconds=300), abs=timedelta(seconds=1))


async def test_a_claimed_row_is_not_claimed_again(store: Store) -> None:
    await enqueue(store, 3)

    assert len(await claim(store)) == 3
    assert await claim(store) == []


async def test_every_claim_has_a_token_of_its_own(store: Store) -> None:
    await enqueue(store, 2)
    (first,) = await claim(store, limit=1)
    (second,) = await claim(store, limit=1)
    assert await finish(store, first, Release("drain")) is not None
    third = await claim_one(store)

    assert third.id == first.id
    assert len({first.claim_token, second.claim_token, third.claim_token}) == 3


async def test_the_oldest_due_comes_first_and_no_more_than_asked(store: Store, harness: Harness) -> None:
    order = []
    for _ in range(4):
        order += await enqueue(store)
        await harness.rewind(10)

    first = await claim(store, limit=3)
    rest = await claim(store, limit=3)

    assert [email.id for email in first] == order[:3]
    assert [email.id for email in rest] == order[3:]


@pytest.mark.parametrize("limit", [0, -1])
async def test_no_room_claims_nothing(store: Store, limit: int) -> None:
    await enqueue(store)

    assert await claim(store, limit=limit) == []
    assert len(await claim(store)) == 1


async def test_an_empty_queue_gives_an_empty_claim(store: Store) -> None:
    assert await claim(store) == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
async def test_each_stage_claims_its_own_status_only(store: Store, harness: Harness, stage: Stage) -> None:
    for status in Status:
        await harness.insert(status)

    email = await claim_one(store, stage)

    assert email.status is stage.working
    assert (await row(store, email.id)).status is stage.working
    assert await versioned(store, email.id) == [(2, stage.working.value)]


async def test_hundreds_in_one_claim(store: Store, harness: Harness) -> None:
    total, limit = harness.amount(700), harness.amount(600)
    ids = await enqueue(store, total)

    claimed = await claim(store, limit=limit)

    assert len(claimed) == limit
    assert len({email.id for email in claimed} & set(ids)) == limit
    assert {(email.version, email.attempts) for email in claimed} == {(2, 1)}
    assert len(await claim(store)) == total - limit


async def test_a_row_is_not_claimed_before_it_is_due(store: Store, harness: Harness) -> None:
    await enqueue(store)
    await finish(store, await claim_one(store), Retry("not yet", delay=120.0))

    assert await claim(store) == []
    await harness.rewind(119)
    assert await claim(store) == []
    await harness.rewind(2)
    assert (await claim_one(store)).attempts == 2


async def test_a_parked_row_is_not_claimed(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.SENT)
    await finish(store, await claim_one(store, SENT_CALLBACK), Park("gave up"))

    await harness.rewind(1_000_000)

    assert await claim(store, SENT_CALLBACK) == []
    assert (await row(store, email_id)).parked is True


async def test_expired_is_the_stores_word(store: Store, harness: Harness) -> None:
    (forever,) = await enqueue(store)
    (late,) = await enqueue(store, ttl=epoch(100))
    (timely,) = await enqueue(store, ttl=epoch(10_000))
    await harness.rewind(200)

    expired = {email.id: email.expired for email in await claim(store)}

    assert expired == {forever: False, late: True, timely: False}


async def test_failing_for_counts_from_the_first_failure_at_this_stage(store: Store, harness: Harness) -> None:
    await enqueue(store)
    assert (await finish(store, await claim_one(store), Retry("missing", delay=1.0))) is not None
    await harness.rewind(100)
    again = await claim_one(store)
    await finish(store, again, Retry("missing", delay=1.0))
    await harness.rewind(50)

    third = await claim_one(store)

    assert again.failing_for == pytest.approx(100, abs=20)
    assert third.failing_for == pytest.approx(150, abs=20)


async def test_waiting_for_a_relay_is_no_failing_and_waiting_for_a_callback_is(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY)
    await finish(store, await claim_one(store, SENDER), Wait("relay away", delay=1.0))
    await bring(store, Status.SENT)
    await harness.rewind(50)
    (first,) = await claim(store, SENT_CALLBACK)
    await finish(store, first, Wait("callback away", delay=1.0))
    await harness.rewind(50)

    assert (await claim_one(store, SENDER)).failing_for == 0.0
    assert (await claim_one(store, SENT_CALLBACK)).failing_for == pytest.approx(50, abs=20)


@pytest.mark.parametrize(("stage", "status"), [(SENT_CALLBACK, "SENT"), (FAILED_CALLBACK, "FAILED")])
async def test_a_row_moved_by_an_older_consumer_was_reached_at_its_last_update(
    store: Store, harness: Harness, stage: Stage, status: str
) -> None:
    email_id = await harness.insert(status, version=5)
    await harness.rewind(3600)

    email = await claim_one(store, stage)

    assert email.reached_at is not None
    age = datetime.now(UTC) - email.reached_at
    assert age == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=30))
    assert (await row(store, email_id)).reached_at == email.reached_at


async def test_reached_at_is_kept_by_later_claims(store: Store, harness: Harness) -> None:
    await bring(store, Status.SENT)
    first = await claim_one(store, SENT_CALLBACK)
    await harness.rewind(500)
    await finish(store, first, Retry("500", delay=0.0))

    second = await claim_one(store, SENT_CALLBACK)

    assert first.reached_at is not None
    assert second.reached_at is not None
    assert first.reached_at - second.reached_at == pytest.approx(timedelta(seconds=500), abs=timedelta(seconds=1))


async def test_a_row_prepared_by_the_older_consumer_is_sent_from_its_file(store: Store, harness: Harness) -> None:
    await harness.insert(Status.READY, eml="/eml/a.eml", version=3)

    email = await claim_one(store, SENDER)

    assert (email.eml_file_path, email.payload_file_path, email.version) == ("/eml/a.eml", None, 4)


async def test_text_comes_back_as_it_was_written(store: Store, harness: Harness) -> None:
    path = '/payloads/perché "quoted" \\ back, naïve 漢字 🙂.json'
    await harness.insert(Status.FAILED, payload=path, reason="è\n'\"")

    email = await claim_one(store, FAILED_CALLBACK)

    assert (email.payload_file_path, email.reason) == (path, "è\n'\"")


async def test_g14_a_bad_row_does_not_spoil_the_claim_of_the_others(store: Store, harness: Harness) -> None:
    good = await enqueue(store, 20)
    (bad,) = await enqueue(store)
    good += await enqueue(store, 20)
    await forge_next_version(harness, bad, 1)

    claimed = {email.id for email in await claim(store)}

    assert claimed == set(good)
    assert (await row(store, bad)).status is Status.ACCEPTED


async def test_g14_a_bad_row_at_the_head_does_not_hold_up_claims_of_one(store: Store, harness: Harness) -> None:
    (bad,) = await enqueue(store)
    await forge_next_version(harness, bad, 1)
    await harness.rewind(60)
    (good,) = await enqueue(store)

    assert [email.id for email in await claim(store, limit=1)] == [good]


async def test_a_claim_says_how_long_the_mail_may_still_be_sent(store: Store, harness: Harness) -> None:
    (forever,) = await enqueue(store)
    (timely,) = await enqueue(store, ttl=epoch(10_000))
    await harness.rewind(200)

    left = {email.id: email.expires_in for email in await claim(store)}

    assert left == {forever: None, timely: pytest.approx(9_800, abs=20)}


async def test_a_claim_says_what_the_last_try_at_this_stage_ended_with(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY)
    first = await claim_one(store, SENDER)
    await finish(store, first, Retry("451 later", delay=1.0))
    await harness.rewind(50)
    second = await claim_one(store, SENDER)
    await finish(store, second, Sent("250 ok"))

    assert first.last_error is None
    assert second.last_error == "451 later"
    assert (await claim_one(store, SENT_CALLBACK)).last_error is None


async def test_a_claim_after_somebody_elses_move_begins_its_stage_anew(store: Store, harness: Harness) -> None:
    """The older consumer knows nothing of tries, and leaves those of another stage standing."""
    (email_id,) = await bring(store, Status.READY)
    await finish(store, await claim_one(store, SENDER), Retry("452 later", delay=0.0))
    await harness.rewind(72_000)
    for origin, target in [("READY", "PROCESSING"), ("PROCESSING", "SENT")]:
        await harness.move_as_older(email_id, origin, target)

    email = await claim_one(store, SENT_CALLBACK)

    assert (email.attempts, email.failing_for, email.last_error) == (1, 0.0, None)
    stored = await row(store, email_id)
    assert (stored.attempts, stored.last_error) == (1, None)
    await finish(store, email, Retry("500", delay=0.0))
    await harness.rewind(50)
    again = await claim_one(store, SENT_CALLBACK)
    assert (again.attempts, again.last_error) == (2, "500")
    assert again.failing_for == pytest.approx(50, abs=20)


async def test_a_claim_after_a_note_of_the_producer_goes_on_with_its_stage(store: Store, harness: Harness) -> None:
    (email_id,) = await enqueue(store)
    await finish(store, await claim_one(store), Retry("file missing", delay=0.0))
    await harness.produce_note(email_id)

    email = await claim_one(store)

    assert (email.attempts, email.last_error) == (2, "file missing")


# Odd rows


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("version", 0, "row_corrupt: version 0"),
        ("version", -7, "row_corrupt: version -7"),
        ("version", 2_147_483_647, "row_corrupt: version 2147483647"),
        ("attempts", 2_147_483_647, "row_corrupt: 2147483647 attempts"),
    ],
)
async def test_g14_a_corrupt_row_is_parked_with_the_reason_and_holds_up_nobody(
    store: Store, harness: Harness, column: str, value: int, why: str
) -> None:
    corrupt = await enqueue(store, 3)
    for email_id in corrupt:
        await harness.alter(email_id, **{column: value})
    await harness.rewind(60)
    good = await enqueue(store, 2)

    assert [len(await claim(store, limit=1)) for _ in range(3)] == [1, 1, 0]

    assert [email.status for email in [await row(store, one) for one in good]] == [Status.INTAKING] * 2
    for email_id in corrupt:
        stored = await row(store, email_id)
        assert (stored.status, stored.parked, stored.last_error) == (Status.ACCEPTED, True, why)
        assert getattr(stored, column) == value
        assert await versioned(store, email_id) == []


async def test_a_row_whose_history_is_ahead_is_parked_where_it_can_be_seen(store: Store, harness: Harness) -> None:
    (odd, good) = await enqueue(store, 2)
    await forge_next_version(harness, odd, 1)

    assert [email.id for email in await claim(store)] == [good]

    stored = await row(store, odd)
    assert (stored.status, stored.version, stored.parked) == (Status.ACCEPTED, 1, True)
    assert stored.last_error == "the history already has version 2: somebody wrote to it by hand"
    assert [email.id for email in await store.page(parked=True)] == [odd]
