"""Looking: one email, counts, pages, and the server itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from mailculator.errors import StoreUnavailable
from mailculator.lifecycle import (
    FAILED_CALLBACK,
    SENDER,
    SENT_CALLBACK,
    TERMINAL,
    UNKNOWN,
    Acknowledged,
    Failed,
    Outcome,
    Park,
    Release,
    Retry,
    Sent,
    Stage,
    withdrawn,
)
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Store
from tests.contract.steps import bring, claim, claim_one, enqueue, epoch, finish, new_id, row
from tests.support.harness import Harness


async def test_an_unknown_id_is_none(store: Store) -> None:
    assert await store.get(new_id()) is None


async def test_get_tells_everything(store: Store, harness: Harness) -> None:
    ttl = epoch(5000)
    (email_id,) = await bring(store, Status.READY, ttl=ttl)
    await finish(store, await claim_one(store, SENDER), Retry("421 busy", delay=600.0))
    await harness.alter(email_id, eml_file_path="/eml/x.eml", reason="why")

    email = await row(store, email_id)

    assert (email.id, email.status, email.version) == (email_id, Status.READY, 5)
    assert (email.payload_file_path, email.eml_file_path) == ("/payloads/some.json", "/eml/x.eml")
    assert (email.reason, email.last_error, email.recipient_domain) == ("why", "421 busy", "example.com")
    assert (email.attempts, email.generation, email.parked, email.ttl) == (1, 0, False, ttl)
    assert (email.lease_until, email.reached_at) == (None, None)
    assert email.created_at <= email.updated_at < email.due_at
    assert email.created_at.utcoffset() is not None


async def test_an_id_may_be_asked_for_in_either_case(store: Store, harness: Harness) -> None:
    (lower,) = await bring(store, Status.READY)
    upper = await harness.insert(Status.ACCEPTED, email_id=new_id().upper())

    assert (await row(store, lower.upper())).id == lower
    assert await store.history(lower.upper()) == await store.history(lower) != []
    assert (await row(store, upper.lower())).id == upper


# Counts


async def test_an_empty_queue_counts_zeros_for_all_that_is_asked(store: Store) -> None:
    assert dict(await store.counts()) == dict.fromkeys(set(Status) - TERMINAL, StatusCount(0))
    assert dict(await store.counts(terminal=True)) == dict.fromkeys(Status, StatusCount(0))


async def test_counts_by_status(store: Store) -> None:
    await bring(store, Status.SENT_ACKNOWLEDGED, 3)
    await bring(store, Status.INVALID, 2)
    await bring(store, Status.FAILED, 4)
    await enqueue(store, 5)
    await claim(store, limit=2)

    found = {status: count.count for status, count in (await store.counts(terminal=True)).items() if count.count}

    assert found == {
        Status.SENT_ACKNOWLEDGED: 3,
        Status.INVALID: 2,
        Status.FAILED: 4,
        Status.ACCEPTED: 3,
        Status.INTAKING: 2,
    }
    assert Status.INVALID not in await store.counts()


async def test_the_oldest_age_is_that_of_what_is_due(store: Store, harness: Harness) -> None:
    await enqueue(store)
    await harness.rewind(300)
    await enqueue(store)

    assert (await store.counts())[Status.ACCEPTED].oldest_age == pytest.approx(300, abs=20)


async def test_new_mail_of_a_producer_has_its_age_before_anybody_has_taken_it_up(
    store: Store, harness: Harness
) -> None:
    await harness.produce(new_id(), "/payloads/old.json")
    await harness.rewind(300)
    await harness.produce(new_id(), "/payloads/new.json")

    accepted = (await store.counts())[Status.ACCEPTED]
    assert accepted.count == 2
    assert accepted.oldest_age == pytest.approx(300, abs=20)


async def test_what_is_not_due_yet_has_no_age(store: Store) -> None:
    await enqueue(store)
    await finish(store, await claim_one(store), Retry("later", delay=600.0))

    assert (await store.counts())[Status.ACCEPTED] == StatusCount(1, 0, 0.0)


async def test_parked_rows_are_counted_and_have_no_age(store: Store, harness: Harness) -> None:
    await bring(store, Status.SENT, 2)
    (first, second) = await claim(store, SENT_CALLBACK)
    await finish(store, first, Park("gave up"))
    await harness.rewind(900)
    assert (await store.counts())[Status.SENT] == StatusCount(1, 1, 0.0)

    await finish(store, second, Retry("500", delay=0.0))
    await harness.rewind(100)

    sent = (await store.counts())[Status.SENT]
    assert (sent.count, sent.parked) == (2, 1)
    assert sent.oldest_age == pytest.approx(100, abs=20)


# Pages


async def test_pages_go_by_id_and_meet_every_email_once(store: Store) -> None:
    ids = await enqueue(store, 25)

    pages = []
    after: str | None = None
    while part := await store.page(after=after, limit=10):
        pages.append([email.id for email in part])
        after = part[-1].id

    assert [len(part) for part in pages] == [10, 10, 5]
    assert [email_id for part in pages for email_id in part] == sorted(ids)


async def test_a_page_of_one_status(store: Store) -> None:
    failed = await bring(store, Status.FAILED, 3)
    await enqueue(store, 3)

    assert [email.id for email in await store.page(Status.FAILED)] == sorted(failed)
    assert await store.page(Status.SENT) == []


async def test_a_page_of_parked_rows(store: Store) -> None:
    await bring(store, Status.SENT, 3)
    first, *others = await claim(store, SENT_CALLBACK)
    await finish(store, first, Park("gave up"))
    for other in others:
        await finish(store, other, Retry("500", delay=0.0))

    assert [email.id for email in await store.page(parked=True)] == [first.id]
    assert [email.id for email in await store.page(Status.SENT, parked=False)] == sorted(other.id for other in others)
    assert len(await store.page()) == 3


async def test_a_page_of_mail_whose_outcome_nobody_knows(store: Store) -> None:
    text = f"{UNKNOWN}: no reply"
    again, tried, held, failed, ended, busy, sent = ids = await bring(store, Status.READY, 7)
    outcomes: dict[str, Outcome] = {
        **dict.fromkeys([again, tried, sent], Retry(text, delay=0.0)),
        held: Park(text),
        **dict.fromkeys([failed, ended], Failed(text)),
        busy: Retry(f"421 said: {text}", delay=600.0),
    }
    await _end(store, SENDER, outcomes)
    await _end(store, SENDER, {sent: Sent("250 ok")}, hold={tried})
    await _end(store, FAILED_CALLBACK, {ended: Acknowledged("200")}, hold={failed})

    seen = await _unknown(store)

    # Where the table would have to be read for what has ended, that is not looked for unless somebody says so.
    assert seen - {ended} == {again, tried, held, failed}
    assert (ended in seen) is not store.capabilities.looks_are_paid
    assert await _unknown(store, Status.FAILED_ACKNOWLEDGED) == {ended}
    assert await _unknown(store, Status.READY) == {again, held}
    assert await _unknown(store, Status.READY, parked=True) == await _unknown(store, parked=True) == {held}
    assert await _unknown(store, Status.READY, parked=False) == {again}
    assert await _unknown(store, domain="example.com") == seen
    assert await _unknown(store, domain="other.example") == await _unknown(store, Status.SENT) == set()
    assert set(ids) - seen >= {busy, sent}


async def test_pages_of_unknown_outcome_go_by_id_and_meet_every_email_once(store: Store) -> None:
    ids = await bring(store, Status.READY, 7)
    await _end(store, SENDER, dict.fromkeys(ids[:5], Failed(f"{UNKNOWN}: no reply")), hold=set(ids[5:]))

    pages = []
    after: str | None = None
    while part := await store.page(unknown=True, after=after, limit=2):
        pages.append([email.id for email in part])
        after = part[-1].id

    assert [len(part) for part in pages] == [2, 2, 1]
    assert [email_id for part in pages for email_id in part] == sorted(ids[:5])


async def test_whoever_wrote_that_an_outcome_is_unknown_is_believed(store: Store, harness: Harness) -> None:
    """An earlier version of the service, say, or an operator by hand; in these words, and at the beginning."""
    told = await harness.insert(Status.FAILED, reason=f"{UNKNOWN} before; then 550 no")
    for reason in (UNKNOWN.upper(), f"the {UNKNOWN}", UNKNOWN[:-1]):
        await harness.insert(Status.FAILED, reason=reason)
    # It was requeued and sent: what failed before is its reason still.
    await harness.insert(Status.SENT, reason=UNKNOWN)

    assert await _unknown(store) == {told}


async def test_a_cancelled_one_stays_among_them_and_a_requeued_one_until_it_is_sent(store: Store) -> None:
    cancelled, requeued = await bring(store, Status.READY, 2)
    text = f"{UNKNOWN}: no reply"
    await _end(store, SENDER, {cancelled: Retry(text, delay=0.0), requeued: Failed(text)})
    await store.cancel([cancelled], who="anna", why="wrong text")
    await store.requeue([requeued], who="anna", why="the relay has no trace of it", ttl_extension=60.0)
    (first, second) = sorted(await claim(store, SENDER), key=lambda email: email.id == requeued)
    why = withdrawn(first)
    assert why is not None
    await finish(store, first, why)
    assert await _unknown(store) == {cancelled, requeued}

    await finish(store, second, Sent("250 ok"))

    assert await _unknown(store) == {cancelled}


async def _end(store: Store, stage: Stage, outcomes: Mapping[str, Outcome], hold: Collection[str] = ()) -> None:
    """Claim what is due, which must be these: those end so, and `hold` are held on."""
    emails = await claim(store, stage)
    assert {email.id for email in emails} >= {*outcomes, *hold}
    for email in emails:
        if email.id in outcomes:
            await finish(store, email, outcomes[email.id])
        elif email.id not in hold:
            await finish(store, email, Release("not asked for"))


async def _unknown(store: Store, status: Status | None = None, **how: Any) -> set[str]:
    return {email.id for email in await store.page(status, unknown=True, **how)}


# The server


async def test_ping_names_the_server(store: Store, harness: Harness) -> None:
    ping = await store.ping()

    assert ping.server.startswith(harness.server)
    assert (ping.tested, ping.writable) == (True, True)
    assert 0 <= ping.seconds < 30


async def test_a_closed_store_answers_unavailable_and_closes_twice(store: Store) -> None:
    await store.close()
    await store.close()

    with pytest.raises(StoreUnavailable):
        await store.get(new_id())
    with pytest.raises(StoreUnavailable):
        await claim(store)
