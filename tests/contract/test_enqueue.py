"""Putting emails on the queue, by `enqueue` and by the producer's own statements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailculator.model import NewEmail, Status
from mailculator.stores.base import Enqueued, Store
from tests.contract.steps import bring, claim, claim_one, enqueue, epoch, new_id, row
from tests.support.harness import Harness

PRODUCER_ROW = "INSERT INTO emails (id, status, payload_file_path, ttl) VALUES (?, 'ACCEPTED', ?, ?)"
PRODUCER_NOTE = (
    "INSERT INTO email_status_history (email_id, status, reason) VALUES (?, 'ACCEPTED', 'Created by producer')"
)


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


async def test_hundreds_in_one_call(store: Store) -> None:
    emails = [NewEmail(new_id(), f"/payloads/{number}.json") for number in range(600)]

    assert await store.enqueue(emails) == [Enqueued.CREATED] * 600
    assert (await store.counts())[Status.ACCEPTED].count == 600


async def test_the_producers_statements_make_an_email(store: Store, harness: Harness) -> None:
    email_id = new_id()
    await harness.execute(PRODUCER_ROW, email_id, "/payloads/p.json", epoch(3600))
    await harness.execute(PRODUCER_NOTE, email_id)

    email = await claim_one(store)

    assert (email.id, email.version, email.attempts, email.payload_file_path) == (email_id, 2, 1, "/payloads/p.json")
    note = (await store.history(email_id))[0]
    assert (note.status, note.version, note.reason) == ("ACCEPTED", None, "Created by producer")


async def test_the_producers_note_may_be_left_out_and_the_ttl_too(store: Store, harness: Harness) -> None:
    await harness.execute(PRODUCER_ROW, new_id(), "/payloads/p.json", None)

    email = await claim_one(store)

    assert email.expired is False
    assert [entry.version for entry in await store.history(email.id)] == [2]


async def test_the_producers_note_may_come_late(store: Store, harness: Harness) -> None:
    email_id = new_id()
    await harness.execute(PRODUCER_ROW, email_id, "/payloads/p.json", None)
    await claim(store)
    await harness.execute(PRODUCER_NOTE, email_id)

    assert sorted(str(entry.version) for entry in await store.history(email_id)) == ["2", "None"]
    assert (await row(store, email_id)).version == 2
