"""Recording: the compare-and-set, what each outcome leaves in the row, and lost replies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    SENDER,
    SENT_CALLBACK,
    Acknowledged,
    Failed,
    Invalid,
    Outcome,
    Park,
    Prepared,
    Release,
    Retry,
    Sent,
    Wait,
    move,
)
from mailculator.model import Status
from mailculator.stores.base import Recorded, Store
from tests.contract.steps import (
    assert_gapless,
    bring,
    bring_claimed,
    claim,
    claim_one,
    enqueue,
    finish,
    forge_next_version,
    new_id,
    rescue,
    row,
    versioned,
)
from tests.support.harness import Harness

FORWARD = [
    (Status.INTAKING, Prepared("example.com", note="id differs"), Status.READY),
    (Status.INTAKING, Invalid("no recipient"), Status.INVALID),
    (Status.INTAKING, Failed("expired"), Status.FAILED),
    (Status.PROCESSING, Sent("250 queued as 1"), Status.SENT),
    (Status.PROCESSING, Failed("550 unknown"), Status.FAILED),
    (Status.PROCESSING, Invalid("duplicate: in mysql"), Status.INVALID),
    (Status.CALLING_SENT_CALLBACK, Acknowledged("200"), Status.SENT_ACKNOWLEDGED),
    (Status.CALLING_FAILED_CALLBACK, Acknowledged("204"), Status.FAILED_ACKNOWLEDGED),
]
BACK = {
    Status.INTAKING: Status.ACCEPTED,
    Status.PROCESSING: Status.READY,
    Status.CALLING_SENT_CALLBACK: Status.SENT,
    Status.CALLING_FAILED_CALLBACK: Status.FAILED,
}


@pytest.mark.parametrize(("working", "outcome", "target"), FORWARD)
async def test_every_forward_move(store: Store, working: Status, outcome: Outcome, target: Status) -> None:
    email = await bring_claimed(store, working)

    assert await finish(store, email, outcome) is Recorded.DONE

    stored = await row(store, email.id)
    assert (stored.status, stored.version) == (target, email.version + 1)
    assert (stored.attempts, stored.last_error, stored.lease_until, stored.parked) == (0, None, None, False)
    last = (await store.history(email.id))[-1]
    assert (last.status, last.version, last.reason) == (target, email.version + 1, move(email, outcome).note)
    await assert_gapless(store, email.id)


@pytest.mark.parametrize(("working", "waiting"), list(BACK.items()))
async def test_every_step_back(store: Store, working: Status, waiting: Status) -> None:
    email = await bring_claimed(store, working)

    assert await finish(store, email, Retry("421 later", delay=30.0)) is Recorded.DONE

    stored = await row(store, email.id)
    assert (stored.status, stored.version, stored.attempts) == (waiting, email.version + 1, 1)
    assert (stored.last_error, stored.lease_until) == ("421 later", None)
    assert stored.due_at - stored.updated_at == pytest.approx(timedelta(seconds=30), abs=timedelta(seconds=1))
    await assert_gapless(store, email.id)


async def test_the_whole_way_leaves_a_gapless_history(store: Store) -> None:
    (email_id,) = await bring(store, Status.SENT_ACKNOWLEDGED)

    assert await versioned(store, email_id) == [
        (2, "INTAKING"),
        (3, "READY"),
        (4, "PROCESSING"),
        (5, "SENT"),
        (6, "CALLING-SENT-CALLBACK"),
        (7, "SENT-ACKNOWLEDGED"),
    ]
    await assert_gapless(store, email_id)


async def test_intake_keeps_the_recipients_domain(store: Store) -> None:
    (email_id,) = await bring(store, Status.READY)
    assert (await row(store, email_id)).recipient_domain == "example.com"

    await finish(store, await claim_one(store, SENDER), Sent("250"))

    assert (await row(store, email_id)).recipient_domain == "example.com"


async def test_a_failure_gives_the_row_its_reason_and_a_retry_keeps_it(store: Store) -> None:
    (email_id,) = await bring(store, Status.FAILED)
    email = await claim_one(store, FAILED_CALLBACK)
    assert email.reason == "550 unknown"

    await finish(store, email, Retry("callback: 500", delay=0.0))

    stored = await row(store, email_id)
    assert (stored.reason, stored.last_error) == ("550 unknown", "callback: 500")
    assert (await claim_one(store, FAILED_CALLBACK)).reason == "550 unknown"


@pytest.mark.parametrize("status", [Status.SENT, Status.FAILED])
async def test_reached_at_is_the_stores_time_of_the_move(store: Store, status: Status) -> None:
    (email_id,) = await bring(store, status)

    stored = await row(store, email_id)

    assert stored.reached_at is not None
    assert stored.reached_at == stored.updated_at
    assert abs(stored.reached_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_step_back_into_failed_does_not_stamp_reached_at_again(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.FAILED)
    await harness.rewind(500)
    before = (await row(store, email_id)).reached_at

    await finish(store, await claim_one(store, FAILED_CALLBACK), Retry("500", delay=1.0))

    assert (await row(store, email_id)).reached_at == before


async def test_a_wait_takes_its_try_back(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY)
    await finish(store, await claim_one(store, SENDER), Retry("451", delay=0.0))
    for _ in range(3):
        email = await claim_one(store, SENDER)
        assert email.attempts == 2
        await finish(store, email, Wait("relay away", delay=10.0))
        await harness.rewind(11)

    stored = await row(store, email.id)
    assert (stored.attempts, stored.last_error) == (1, "relay away")


async def test_a_release_is_due_at_once_uncounted_and_keeps_the_last_error(store: Store) -> None:
    await enqueue(store)
    await finish(store, await claim_one(store), Retry("file missing", delay=0.0))

    assert await finish(store, await claim_one(store), Release("draining")) is Recorded.DONE

    email = await claim_one(store)
    assert email.attempts == 2
    assert (await row(store, email.id)).last_error == "file missing"


async def test_a_forward_move_starts_tries_and_failing_anew(store: Store, harness: Harness) -> None:
    await enqueue(store)
    await finish(store, await claim_one(store), Retry("file missing", delay=0.0))
    await harness.rewind(100)
    email = await claim_one(store)
    assert (email.attempts, email.failing_for > 90) == (2, True)

    await finish(store, email, Prepared("example.com"))

    sending = await claim_one(store, SENDER)
    assert (sending.attempts, sending.failing_for) == (1, 0.0)
    assert (await row(store, email.id)).last_error is None


async def test_park_sets_aside(store: Store) -> None:
    (email_id,) = await bring(store, Status.SENT)

    assert await finish(store, await claim_one(store, SENT_CALLBACK), Park("refused for 3 days")) is Recorded.DONE

    stored = await row(store, email_id)
    assert (stored.status, stored.parked, stored.last_error) == (Status.SENT, True, "refused for 3 days")
    await assert_gapless(store, email_id)


async def test_hundreds_in_one_record_with_answers_in_order(store: Store, harness: Harness) -> None:
    await enqueue(store, harness.amount(600))
    claimed = await claim(store)
    stolen = claimed[::7]
    for email in stolen:
        await harness.alter(email.id, raise_by=1)

    answers = await store.record([move(email, Prepared("example.com")) for email in claimed])

    lost = [email for email, answer in zip(claimed, answers, strict=True) if answer is Recorded.LOST]
    assert lost == stolen
    assert (await store.counts())[Status.READY].count == len(claimed) - len(stolen)


async def test_one_call_may_carry_every_kind_of_move(store: Store) -> None:
    await enqueue(store, 5)
    outcomes: list[Outcome] = [
        Prepared("example.com"),
        Invalid("bad"),
        Failed("expired"),
        Retry("later", delay=50.0),
        Release("drain"),
    ]
    claimed = await claim(store)
    moves = [move(email, outcome) for email, outcome in zip(claimed, outcomes, strict=True)]

    assert await store.record(moves) == [Recorded.DONE] * 5

    found = [(await row(store, email.id)).status for email in claimed]
    assert found == [Status.READY, Status.INVALID, Status.FAILED, Status.ACCEPTED, Status.ACCEPTED]
    reasons = [(await row(store, email.id)).reason for email in claimed]
    assert reasons == [None, "bad", "expired", None, None]


async def test_nothing_to_record_is_no_error(store: Store) -> None:
    assert await store.record([]) == []


async def test_text_is_written_as_it_was_given(store: Store) -> None:
    await enqueue(store)
    email = await claim_one(store)

    await finish(store, email, Invalid("perché \"così\" \\ 100% 'no' 漢字 🙂"))

    assert (await row(store, email.id)).reason == "perché \"così\" \\ 100% 'no' 漢字 🙂"


# Who may write


async def test_g1_version_a_claim_of_an_older_version_is_lost(store: Store, harness: Harness) -> None:
    """Only the version differs, as after an older consumer's moves there and back: status and token are the claim's."""
    await enqueue(store)
    email = await claim_one(store)
    await harness.alter(email.id, raise_by=2)

    assert await finish(store, email, Prepared("example.com")) is Recorded.LOST
    assert (await row(store, email.id)).status is Status.INTAKING


async def test_g1_token_another_claim_of_the_same_version_is_not_ours(store: Store, harness: Harness) -> None:
    """Only the token differs, as after somebody restored the row from a copy and claimed it again."""
    await enqueue(store)
    email = await claim_one(store)
    await harness.alter(email.id, claim_token="another")

    assert await finish(store, email, Prepared("example.com")) is Recorded.LOST
    assert (await row(store, email.id)).status is Status.INTAKING


async def test_g1_status_a_row_that_was_moved_in_place_is_lost(store: Store, harness: Harness) -> None:
    """Only the status differs, as after an operator's change by hand."""
    await enqueue(store)
    email = await claim_one(store)
    await harness.alter(email.id, status="INVALID")

    assert await finish(store, email, Prepared("example.com")) is Recorded.LOST
    assert (await row(store, email.id)).status is Status.INVALID


async def test_g1_a_stale_worker_cannot_finish_the_attempt_of_the_next(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY)
    stale = await claim_one(store, SENDER, lease=10.0)
    await harness.rewind(11)
    assert len(await rescue(store, 10)) == 1
    current = await claim_one(store, SENDER)

    assert await finish(store, stale, Sent("250 stale")) is Recorded.LOST
    assert await finish(store, stale, Retry("stale", delay=0.0)) is Recorded.LOST
    assert (await row(store, stale.id)).status is Status.PROCESSING
    assert await finish(store, current, Failed("550")) is Recorded.DONE
    assert await finish(store, stale, Sent("250 stale")) is Recorded.LOST
    await assert_gapless(store, stale.id)


async def test_a_rescue_is_not_mistaken_for_our_own_step_back(store: Store, harness: Harness) -> None:
    """The rescue made the very move, to the same status under the same version, that the stale worker asks for."""
    await enqueue(store)
    stale = await claim_one(store, lease=10.0)
    await harness.rewind(11)
    await rescue(store, 10)

    assert await finish(store, stale, Retry("stale", delay=0.0)) is Recorded.LOST
    await claim_one(store)
    assert await finish(store, stale, Retry("stale", delay=0.0)) is Recorded.LOST


async def test_a_row_that_is_gone_is_lost(store: Store, harness: Harness) -> None:
    await enqueue(store)
    email = await claim_one(store)
    await harness.delete(email.id)

    assert await finish(store, email, Prepared("example.com")) is Recorded.LOST
    assert await store.get(email.id) is None


# Lost replies


@pytest.mark.parametrize("outcome", [Prepared("example.com"), Invalid("bad"), Retry("later", 9.0), Release("drain")])
async def test_g2_what_was_applied_is_done_when_asked_again(store: Store, outcome: Outcome) -> None:
    await enqueue(store)
    email = await claim_one(store)
    assert await finish(store, email, outcome) is Recorded.DONE
    before = await row(store, email.id)

    assert await finish(store, email, outcome) is Recorded.DONE

    assert await row(store, email.id) == before
    await assert_gapless(store, email.id)


async def test_g2_it_is_done_even_after_the_next_stage_has_claimed_it(store: Store) -> None:
    await enqueue(store)
    email = await claim_one(store)
    await finish(store, email, Prepared("example.com"))
    sending = await claim_one(store, SENDER)

    assert await finish(store, email, Prepared("example.com")) is Recorded.DONE
    assert await finish(store, email, Invalid("changed my mind")) is Recorded.LOST
    assert await finish(store, sending, Sent("250")) is Recorded.DONE


async def test_another_result_is_not_taken_for_the_one_that_was_applied(store: Store) -> None:
    """Same claim, same note; only the status it leads to tells the two apart."""
    await enqueue(store)
    email = await claim_one(store)
    assert await finish(store, email, Invalid("no recipient")) is Recorded.DONE

    assert await finish(store, email, Failed("no recipient")) is Recorded.LOST
    assert (await row(store, email.id)).status is Status.INVALID


async def test_the_same_move_twice_in_one_call_is_made_once(store: Store) -> None:
    await enqueue(store)
    once = move(await claim_one(store), Prepared("example.com"))

    assert await store.record([once, once]) == [Recorded.DONE, Recorded.DONE]
    await assert_gapless(store, once.email.id)


async def test_two_different_moves_of_one_claim_are_one_done_and_one_lost(store: Store) -> None:
    await enqueue(store)
    email = await claim_one(store)

    answers = await store.record([move(email, Prepared("example.com")), move(email, Invalid("bad"))])

    assert answers == [Recorded.DONE, Recorded.LOST]
    assert (await row(store, email.id)).status is Status.READY


# Bad rows


async def test_g14_a_bad_row_does_not_spoil_the_record_of_the_others(store: Store, harness: Harness) -> None:
    await enqueue(store, 40)
    claimed = await claim(store)
    bad = claimed[17]
    await forge_next_version(harness, bad.id, bad.version)

    answers = await store.record([move(email, Prepared("example.com")) for email in claimed])

    assert [number for number, answer in enumerate(answers) if answer is Recorded.LOST] == [17]
    stored = await row(store, bad.id)
    assert (stored.status, stored.version) == (Status.INTAKING, bad.version)
    assert (await store.counts())[Status.READY].count == 39


async def test_a_claim_that_never_was_is_lost(store: Store) -> None:
    await enqueue(store)
    email = await claim_one(store)

    forged = replace(email, id=new_id())

    assert await store.record([move(forged, Prepared("a.it")), move(email, Prepared("a.it"))]) == [
        Recorded.LOST,
        Recorded.DONE,
    ]


# Beside the older consumer


async def test_an_older_consumers_move_in_between_leaves_our_history_increasing(store: Store, harness: Harness) -> None:
    """It writes history lines without a version, and raises the row's where it knows of one."""
    (email_id,) = await enqueue(store)
    for origin, target in [("ACCEPTED", "INTAKING"), ("INTAKING", "READY")]:
        await harness.move_as_older(email_id, origin, target, noted=True)
    moved = 1 + 2 * harness.older_raises

    email = await claim_one(store, SENDER)
    assert await finish(store, email, Sent("250")) is Recorded.DONE

    assert await versioned(store, email_id) == [(moved + 1, "PROCESSING"), (moved + 2, "SENT")]
    assert (await row(store, email_id)).version == moved + 2
