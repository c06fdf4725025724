"""Putting emails on the queue, by `enqueue` and in the producer's own way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailculator.model import NewEmail, Status
from mailculator.stores.base import Enqueued, Store
from tests.contract.steps import bring, claim, claim_one, enqueue, epoch, new_id, row
from tests.support.harness import Harness


async def test_a_new_email_is_accepted_at_version_one(store: Store) -> None:
    ttl = epoch(3600)
    email_id = new_id()

    assert await store.enqueue([NewEmail(email_id, "/payloads/a.json", ttl)]) == [Enqueued.CREATED]

    email = await row(store, email_id)
    assert (email.status, email.version, email.payload_file_path, email.ttl) == (
        Status.ACCEPTED,
        1,
        "/payloads/a.json",
        ttl,
    )
    assert (email.attempts, email.generation, email.parked, email.claim_token) == (0, 0, False, None)
    assert abs(email.created_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_its_history_is_one_note_without_a_version(store: Store) -> None:
    (email_id,) = await enqueue(store)

    (note,) = await store.history(email_id)
    assert (note.status, note.version) == ("ACCEPTED", None)


async def test_answers_come_in_order_and_an_id_that_is_there_is_left_alone(store: Store) -> None:
    (known,) = await bring(store, Status.READY)
    before = await store.get(known)
    first, second = new_id(), new_id()

    answers = await store.enqueue(
        [NewEmail(first, "/1"), NewEmail(known, "/other"), NewEmail(second, "/2"), NewEmail(first, "/again")]
    )

    assert answers == [Enqueued.CREATED, Enqueued.EXISTS, Enqueued.CREATED, Enqueued.EXISTS]
    assert await store.get(known) == before
    assert (await row(store, first)).payload_file_path == "/1"
    assert len(await store.history(first)) == 1


async def test_nothing_to_enqueue_is_no_error(store: Store) -> None:
    assert await store.enqueue([]) == []


async def test_hundreds_in_one_call(store: Store, harness: Harness) -> None:
    emails = [NewEmail(new_id(), f"/payloads/{number}.json") for number in range(harness.amount(600))]

    assert await store.enqueue(emails) == [Enqueued.CREATED] * len(emails)
    assert (await store.counts())[Status.ACCEPTED].count == len(emails)


async def test_what_the_producer_writes_is_an_email(store: Store, harness: Harness) -> None:
    email_id = new_id()
    await harness.produce(email_id, "/payloads/p.json", epoch(3600))

    email = await claim_one(store)

    assert (email.id, email.version, email.attempts, email.payload_file_path) == (email_id, 2, 1, "/payloads/p.json")
    note = (await store.history(email_id))[0]
    assert (note.status, note.version, note.reason) == ("ACCEPTED", None, harness.producers_reason)


async def test_the_producers_note_may_be_left_out_and_the_ttl_too(store: Store, harness: Harness) -> None:
    await harness.produce(new_id(), "/payloads/p.json", None, note=False)

    email = await claim_one(store)

    assert email.expired is False
    assert [entry.version for entry in await store.history(email.id)] == ([None, 2] if harness.tells_birth else [2])


async def test_the_producers_note_may_come_late(store: Store, harness: Harness) -> None:
    email_id = new_id()
    await harness.produce(email_id, "/payloads/p.json", None, note=False)
    await claim(store)
    await harness.produce_note(email_id)

    assert sorted(str(entry.version) for entry in await store.history(email_id)) == ["2", "None"]
    assert (await row(store, email_id)).version == 2
