"""What an operator sets on single emails without moving them: parked, due now, cancelled."""

from __future__ import annotations

import pytest

from mailculator.lifecycle import (
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    STAGE_BY_WAITING,
    UNSENT,
    WAITING,
    WORKING,
    Failed,
    Prepared,
    Retry,
    Sent,
    withdrawn,
)
from mailculator.model import Row, Status
from mailculator.stores.base import Recorded, Steered, Store
from tests.contract.steps import (
    assert_gapless,
    bring,
    bring_claimed,
    claim,
    claim_one,
    enqueue,
    finish,
    new_id,
    rescue,
    row,
)
from tests.support.harness import Harness


async def park(store: Store, *ids: str) -> list[Steered]:
    return await store.park(ids, who="anna", why="looks odd")


async def hasten(store: Store, *ids: str) -> list[Steered]:
    return await store.hasten(ids, who="anna", why="cannot wait")


async def cancel(store: Store, *ids: str) -> list[Steered]:
    return await store.cancel(ids, who="anna", why="wrong list")


async def last_note(store: Store, email_id: str) -> tuple[str, int | None, str | None]:
    last = (await store.history(email_id))[-1]
    return last.status, last.version, last.reason


async def put_off(store: Store, status: Status) -> str:
    """An email that waits in `status` for a try in an hour."""
    (email_id,) = await bring(store, status)
    await finish(store, await claim_one(store, STAGE_BY_WAITING[status]), Retry("450 later", delay=3600.0))
    return email_id


@pytest.mark.parametrize("status", sorted(WAITING))
async def test_what_waits_is_parked_and_released(store: Store, status: Status) -> None:
    (email_id,) = await bring(store, status)
    before = await row(store, email_id)

    assert await park(store, email_id) == [Steered.DONE]

    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.parked) == (status, before.version, True)
    assert await last_note(store, email_id) == (status, None, "parked by anna: looks odd")
    assert await claim(store, STAGE_BY_WAITING[status]) == []
    assert (await store.counts())[status].parked == 1
    assert [one.id for one in await store.page(parked=True)] == [email_id]

    assert await store.release([email_id], who="anna", why="is fine") == [Steered.DONE]
    assert (await claim_one(store, STAGE_BY_WAITING[status])).id == email_id
    await assert_gapless(store, email_id)


@pytest.mark.parametrize("status", sorted(set(Status) - WAITING))
async def test_nothing_else_is_parked(store: Store, status: Status) -> None:
    (email_id,) = await bring(store, status)
    before = await row(store, email_id)

    assert await park(store, email_id, new_id()) == [Steered.NOT_APPLICABLE, Steered.MISSING]
    assert await row(store, email_id) == before


async def test_parking_twice_is_done_once(store: Store) -> None:
    (email_id,) = await enqueue(store)

    assert await park(store, email_id, email_id) == [Steered.DONE, Steered.NOT_APPLICABLE]
    assert await park(store, email_id) == [Steered.NOT_APPLICABLE]


@pytest.mark.parametrize("status", sorted(WAITING))
async def test_what_waits_for_another_try_is_tried_now(store: Store, status: Status) -> None:
    email_id = await put_off(store, status)
    before = await row(store, email_id)
    assert await claim(store, STAGE_BY_WAITING[status]) == []

    assert await hasten(store, email_id, email_id) == [Steered.DONE, Steered.NOT_APPLICABLE]

    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.last_error) == (status, before.version, "450 later")
    assert await last_note(store, email_id) == (status, None, "hastened by anna: cannot wait")
    email = await claim_one(store, STAGE_BY_WAITING[status])
    assert (email.id, email.attempts) == (email_id, 2)
    assert email.failing_for >= 0.0
    await assert_gapless(store, email_id)


async def test_what_is_due_parked_or_not_waiting_is_not_hastened(store: Store) -> None:
    parked = await put_off(store, Status.READY)
    await park(store, parked)
    (sent,) = await bring(store, Status.SENT_ACKNOWLEDGED)
    (due,) = await enqueue(store)
    before = [await row(store, one) for one in (parked, sent, due)]

    assert await hasten(store, parked, sent, due, new_id()) == [Steered.NOT_APPLICABLE] * 3 + [Steered.MISSING]
    assert [await row(store, one) for one in (parked, sent, due)] == before


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.READY])
async def test_what_waits_to_be_sent_is_cancelled_by_its_next_claim(store: Store, status: Status) -> None:
    email_id = await put_off(store, status)
    await park(store, email_id)
    version = (await row(store, email_id)).version

    assert await cancel(store, email_id, email_id) == [Steered.DONE, Steered.NOT_APPLICABLE]

    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.parked, stored.cancelled) == (status, version, False, "wrong list")
    assert await last_note(store, email_id) == (status, None, "cancelled by anna: wrong list")
    email = await claim_one(store, STAGE_BY_WAITING[status])
    ending = withdrawn(email)
    assert ending == Failed("cancelled: wrong list")
    assert await finish(store, email, ending) is Recorded.DONE
    assert (await row(store, email_id)).reason == "cancelled: wrong list"
    await assert_gapless(store, email_id)


@pytest.mark.parametrize("status", sorted(UNSENT & WORKING))
async def test_a_holder_is_not_passed_over_and_the_next_claim_knows(store: Store, status: Status) -> None:
    email = await bring_claimed(store, status)
    assert email.cancelled is None

    assert await cancel(store, email.id) == [Steered.DONE]

    assert await finish(store, email, Retry("450 later", delay=0.0)) is Recorded.DONE
    again = await claim_one(store, INTAKE if status is Status.INTAKING else SENDER)
    assert again.cancelled == "wrong list"


async def test_intake_does_not_take_the_mark_away(store: Store) -> None:
    email = await bring_claimed(store, Status.INTAKING)
    await cancel(store, email.id)

    await finish(store, email, Prepared("example.com"))

    assert (await claim_one(store, SENDER)).cancelled == "wrong list"


async def test_what_was_being_sent_is_sent(store: Store) -> None:
    email = await bring_claimed(store, Status.PROCESSING)
    await cancel(store, email.id)

    assert await finish(store, email, Sent("250 ok")) is Recorded.DONE

    assert (await claim_one(store, SENT_CALLBACK)).id == email.id


@pytest.mark.parametrize("status", sorted(set(Status) - UNSENT))
async def test_what_is_sent_or_has_ended_is_not_cancelled(store: Store, status: Status) -> None:
    (email_id,) = await bring(store, status)
    before = await row(store, email_id)

    assert await cancel(store, email_id, new_id()) == [Steered.NOT_APPLICABLE, Steered.MISSING]
    assert await row(store, email_id) == before


async def test_a_rescue_keeps_the_mark(store: Store, harness: Harness) -> None:
    email = await bring_claimed(store, Status.PROCESSING)
    await cancel(store, email.id)
    await harness.rewind(4000)

    assert [one.id for one in await rescue(store)] == [email.id]

    assert (await claim_one(store, SENDER)).cancelled == "wrong list"


async def test_a_requeue_takes_the_mark_away(store: Store) -> None:
    (email_id,) = await bring(store, Status.READY)
    await cancel(store, email_id)
    await finish(store, await claim_one(store, SENDER), Failed("cancelled: wrong list"))

    assert await store.requeue([email_id], who="anna", why="was right", ttl_extension=1.0) == [Steered.DONE]

    assert (await claim_one(store, SENDER)).cancelled is None


async def test_an_id_in_upper_case_is_the_same_email(store: Store) -> None:
    (email_id,) = await enqueue(store)

    assert await park(store, email_id.upper(), email_id) == [Steered.DONE, Steered.NOT_APPLICABLE]
    assert await cancel(store, email_id.upper(), email_id) == [Steered.DONE, Steered.NOT_APPLICABLE]


async def test_nothing_to_mark_is_no_error(store: Store) -> None:
    assert await park(store) == await hasten(store) == await cancel(store) == []


async def test_marking_hundreds(store: Store, harness: Harness) -> None:
    ids = await enqueue(store, harness.amount(600))

    assert await park(store, *ids) == [Steered.DONE] * len(ids)
    assert await cancel(store, *ids) == [Steered.DONE] * len(ids)
    assert {email.cancelled for email in await claim(store)} == {"wrong list"}


async def of_domain(store: Store, domain: str, **how: object) -> list[Row]:
    return await store.page(domain=domain, **how)  # type: ignore[arg-type]  # a test names real arguments


async def test_emails_are_found_by_their_recipients_domain(store: Store) -> None:
    ids = sorted(await enqueue(store, 4))
    emails = {email.id: email for email in await claim(store)}
    for number, email_id in enumerate(ids):
        await finish(store, emails[email_id], Prepared("b.example" if number == 1 else "a.example"))

    assert [one.id for one in await of_domain(store, "a.example", status=Status.READY)] == [ids[0], ids[2], ids[3]]
    first = await of_domain(store, "a.example", status=Status.READY, limit=2)
    assert [one.id for one in first] == [ids[0], ids[2]]
    assert [one.id for one in await of_domain(store, "a.example", status=Status.READY, after=ids[2])] == [ids[3]]
    assert await of_domain(store, "a.example", status=Status.SENT) == []
    assert await of_domain(store, "c.example", status=Status.READY) == []
    await park(store, ids[2])
    assert [one.id for one in await of_domain(store, "a.example", parked=True)] == [ids[2]]
