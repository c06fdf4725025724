"""Rescue by judgement: what is told of an overdue email, what may become of it, and who of several wins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

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
    Rescued,
    Retry,
    Sent,
    Wait,
    move,
)
from mailculator.model import Email, Status
from mailculator.stores.base import Overdue, Recorded, Steered, Store
from tests.contract.steps import (
    FOREIGN_HOLD,
    assert_gapless,
    bring,
    bring_claimed,
    claim,
    claim_one,
    enqueue,
    finish,
    forge_next_version,
    overdue,
    row,
    settle,
)
from tests.support.harness import Harness

BACK = Rescued("rescued: the lease of tester expired")
CRASHED = Rescued("rescued: it died of it", crashed=True)


async def one_overdue(store: Store, harness: Harness, working: Status = Status.PROCESSING) -> tuple[Email, Overdue]:
    """An email as its claim handed it out, and as it is found when its holder has let go of it."""
    email = await bring_claimed(store, working)
    await harness.rewind(61)
    (found,) = await overdue(store)
    return email, found


def timeless(email: Email) -> Email:
    """Without what goes on while time does."""
    return replace(email, failing_for=0.0, expires_in=None, created_at=datetime(2026, 1, 1, tzinfo=UTC))


async def crash(store: Store, harness: Harness) -> None:
    """Whoever holds the one email that is held dies of it."""
    await harness.rewind(61)
    assert await settle(store, await overdue(store), CRASHED) == [Recorded.DONE]


# Looking


async def test_an_overdue_email_is_what_its_claim_handed_out(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.READY, ttl=4_000_000_000)
    await finish(store, await claim_one(store, SENDER), Retry("451 later", delay=0.0))
    email = await claim_one(store, SENDER)
    await harness.rewind(61)

    (found,) = await overdue(store)

    assert found.holder == "tester"
    assert timeless(found.email) == timeless(email)
    assert (found.email.last_error, found.email.attempts, found.email.id) == ("451 later", 2, email_id)
    assert found.email.failing_for == pytest.approx(61, abs=10)
    assert found.email.expires_in is not None
    claimed = [entry for entry in await store.history(email_id) if entry.version == email.version]
    assert found.since == claimed[0].created_at


async def test_a_renewal_does_not_make_the_claim_later(store: Store, harness: Harness) -> None:
    """Whoever looks for what was done under the claim must look as far back as it goes."""
    await enqueue(store)
    email = await claim_one(store)
    await harness.rewind(50)
    await store.renew([email], lease=60.0)
    await harness.rewind(61)

    (found,) = await overdue(store)

    stored = await row(store, email.id)
    assert (stored.updated_at - found.since).total_seconds() == pytest.approx(50, abs=5)


async def test_looking_changes_nothing(store: Store, harness: Harness) -> None:
    email, _ = await one_overdue(store, harness)
    before = await row(store, email.id)

    assert len(await overdue(store)) == 1

    assert await row(store, email.id) == before
    await assert_gapless(store, email.id)


async def test_of_another_programs_email_nothing_is_known_but_its_age(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.READY)
    await claim_one(store, SENDER)
    await crash(store, harness)
    await finish(store, await claim_one(store, SENDER), Release("stopping"))
    await harness.alter(email_id, status="CALLING-SENT-CALLBACK", raise_by=3)
    await harness.rewind(FOREIGN_HOLD + 1)
    assert await claim(store, SENDER) == []

    (found,) = await overdue(store)

    assert (found.email.id, found.email.status, found.holder) == (email_id, Status.CALLING_SENT_CALLBACK, None)
    known = (found.email.attempts, found.email.crashes, found.email.failing_for, found.email.last_error)
    assert known == (0, 0, 0.0, None)
    assert found.since <= (await row(store, email_id)).updated_at


# Judging


@pytest.mark.parametrize(
    ("working", "outcome", "target"),
    [
        (Status.INTAKING, Prepared("example.com"), Status.READY),
        (Status.INTAKING, Invalid("no recipient"), Status.INVALID),
        (Status.PROCESSING, Sent("250 queued as 1"), Status.SENT),
        (Status.PROCESSING, Failed("550 unknown"), Status.FAILED),
        (Status.PROCESSING, Invalid("duplicate: in mysql"), Status.INVALID),
        (Status.CALLING_SENT_CALLBACK, Acknowledged("200"), Status.SENT_ACKNOWLEDGED),
        (Status.CALLING_FAILED_CALLBACK, Acknowledged("204"), Status.FAILED_ACKNOWLEDGED),
    ],
)
async def test_it_may_have_come_further(
    store: Store, harness: Harness, working: Status, outcome: Outcome, target: Status
) -> None:
    email, found = await one_overdue(store, harness, working)

    assert await settle(store, [found], outcome) == [Recorded.DONE]

    stored = await row(store, email.id)
    assert (stored.status, stored.version) == (target, email.version + 1)
    assert (stored.attempts, stored.last_error, stored.lease_until, stored.crashes) == (0, None, None, 0)
    last = (await store.history(email.id))[-1]
    assert (last.status, last.version, last.reason) == (target, email.version + 1, move(email, outcome).note)
    await assert_gapless(store, email.id)
    assert await finish(store, email, BACK) is Recorded.LOST


@pytest.mark.parametrize("outcome", [Sent("250 ok"), Failed("550 unknown")])
async def test_what_was_sent_or_failed_was_so_by_the_stores_clock(
    store: Store, harness: Harness, outcome: Outcome
) -> None:
    email, found = await one_overdue(store, harness)

    await settle(store, [found], outcome)

    stored = await row(store, email.id)
    assert stored.reached_at is not None
    assert stored.reached_at == stored.updated_at
    assert stored.reached_at > stored.created_at


async def test_what_turned_out_sent_is_told_to_its_producer(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)

    await settle(store, [found], Sent("250 ok"))

    assert (await claim_one(store, SENT_CALLBACK)).id == email.id


@pytest.mark.parametrize("working", [Status.PROCESSING, Status.CALLING_SENT_CALLBACK])
async def test_it_may_be_parked_until_an_operator_releases_it(store: Store, harness: Harness, working: Status) -> None:
    email, found = await one_overdue(store, harness, working)

    assert await settle(store, [found], Park("outcome unknown: 12 tries")) == [Recorded.DONE]

    (parked,) = await store.page(parked=True)
    assert (parked.id, parked.last_error, parked.lease_until) == (email.id, "outcome unknown: 12 tries", None)
    await harness.rewind(10_000)
    assert await claim(store, SENDER) == await claim(store, SENT_CALLBACK) == []
    assert await overdue(store) == []
    assert await store.release([email.id], who="anna", why="sent by hand") == [Steered.DONE]
    assert not (await row(store, email.id)).parked
    await assert_gapless(store, email.id)


async def test_a_try_that_failed_is_tried_again_later(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)

    assert await settle(store, [found], Retry("451 later", delay=30.0)) == [Recorded.DONE]

    stored = await row(store, email.id)
    assert (stored.status, stored.attempts, stored.last_error) == (Status.READY, 1, "451 later")
    assert (stored.due_at - stored.updated_at).total_seconds() == pytest.approx(30, abs=1)
    assert await claim(store, SENDER) == []


async def test_a_try_that_was_never_begun_does_not_count(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)

    assert await settle(store, [found], Wait("relay: away", delay=0.0)) == [Recorded.DONE]

    assert (await row(store, email.id)).attempts == 0


async def test_what_is_known_of_the_try_may_be_told(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)

    await settle(store, [found], Rescued("rescued: no verdict", error="outcome unknown: 250 not seen"))

    stored = await row(store, email.id)
    assert (stored.status, stored.last_error) == (Status.READY, "outcome unknown: 250 not seen")
    assert (stored.attempts, (await store.history(email.id))[-1].reason) == (1, "rescued: no verdict")
    assert (await claim_one(store, SENDER)).last_error == "outcome unknown: 250 not seen"


async def test_another_programs_email_may_have_come_further_too(store: Store, harness: Harness) -> None:
    email_id = await harness.insert(Status.PROCESSING, version=5)
    await harness.rewind(FOREIGN_HOLD + 60)
    (found,) = await overdue(store)

    assert await settle(store, [found], Failed("given up")) == [Recorded.DONE]

    stored = await row(store, email_id)
    assert (stored.status, stored.version, stored.reason) == (Status.FAILED, 6, "given up")


async def test_another_programs_email_that_is_put_back_starts_its_tries_anew(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.READY)
    await finish(store, await claim_one(store, SENDER), Retry("452 later", delay=0.0))
    await harness.alter(email_id, status="CALLING-SENT-CALLBACK", raise_by=3)
    await harness.rewind(FOREIGN_HOLD + 1)
    assert await claim(store, SENDER) == []
    (found,) = await overdue(store)

    assert await settle(store, [found], Retry("callback: unknown", delay=0.0)) == [Recorded.DONE]

    email = await claim_one(store, SENT_CALLBACK)
    assert (email.attempts, email.last_error) == (1, "callback: unknown")
    assert email.failing_for < 60


# Who wins


@pytest.mark.parametrize("outcome", [BACK, Sent("250 ok"), Park("odd")], ids=["back", "sent", "parked"])
async def test_a_holder_that_comes_back_and_renews_wins(store: Store, harness: Harness, outcome: Outcome) -> None:
    email, found = await one_overdue(store, harness)
    assert (await store.renew([email], lease=60.0)).held == {email.id}
    before = await row(store, email.id)

    assert await settle(store, [found], outcome) == [Recorded.LOST]

    assert await row(store, email.id) == before
    assert await finish(store, email, Sent("250 it lives")) is Recorded.DONE
    await assert_gapless(store, email.id)


async def test_a_holder_whose_result_came_first_wins(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)
    assert await finish(store, email, Sent("250 late")) is Recorded.DONE

    assert await settle(store, [found], BACK) == [Recorded.LOST]

    assert (await row(store, email.id)).status is Status.SENT
    await assert_gapless(store, email.id)


@pytest.mark.parametrize("claimed_since", [False, True])
@pytest.mark.parametrize("outcome", [BACK, Failed("550")], ids=["back", "failed"])
async def test_of_two_rescuers_with_the_same_verdict_one_is_told_done(
    store: Store, harness: Harness, outcome: Outcome, claimed_since: bool
) -> None:
    other = await harness.another()
    email = await bring_claimed(store, Status.PROCESSING)
    await harness.rewind(61)
    (mine,), (theirs,) = await overdue(store), await overdue(other)

    assert await settle(other, [theirs], outcome) == [Recorded.DONE]
    if claimed_since:
        await claim_one(other, SENDER if outcome is BACK else FAILED_CALLBACK)

    assert await settle(store, [mine], outcome) == [Recorded.LOST]
    await assert_gapless(store, email.id)


@pytest.mark.parametrize("outcome", [BACK, CRASHED, Sent("250 ok"), Park("odd"), Retry("451", 5.0)])
async def test_g2_what_was_applied_is_done_when_asked_again(store: Store, harness: Harness, outcome: Outcome) -> None:
    email, found = await one_overdue(store, harness)
    assert await settle(store, [found], outcome) == [Recorded.DONE]
    before = await row(store, email.id)

    assert await settle(store, [found], outcome) == [Recorded.DONE]

    assert await row(store, email.id) == before
    await assert_gapless(store, email.id)


async def test_another_verdict_after_the_first_is_lost(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)
    assert await settle(store, [found], Sent("250 ok")) == [Recorded.DONE]

    assert await settle(store, [found], BACK) == [Recorded.LOST]

    assert (await row(store, email.id)).status is Status.SENT


async def test_what_another_program_has_moved_since_is_lost(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)
    await harness.alter(email.id, status="SENT", raise_by=1)

    assert await settle(store, [found], BACK) == [Recorded.LOST]

    assert (await row(store, email.id)).status is Status.SENT


async def test_what_is_gone_is_lost(store: Store, harness: Harness) -> None:
    email, found = await one_overdue(store, harness)
    await harness.delete(email.id)

    assert await settle(store, [found], BACK) == [Recorded.LOST]

    assert await store.get(email.id) is None


async def test_what_nobody_has_let_go_of_is_not_rescued(store: Store) -> None:
    """Whatever the caller believes: the fence is the store's."""
    email = await bring_claimed(store, Status.PROCESSING)

    assert await settle(store, [Overdue(email, "tester", email.created_at)], BACK) == [Recorded.LOST]

    assert (await row(store, email.id)).status is Status.PROCESSING


async def test_nothing_to_rescue_is_no_error(store: Store) -> None:
    assert await settle(store, []) == []


async def test_g14_a_row_that_turns_odd_holds_up_no_other(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY, 5)
    claimed = await claim(store, SENDER)
    await harness.rewind(61)
    found = await overdue(store)
    outcomes: list[Outcome] = [BACK, Sent("250 ok"), Failed("550"), Park("odd"), Retry("451", 5.0)]
    await forge_next_version(harness, found[1].email.id, found[1].email.version)

    answers = await settle(store, found, *outcomes)

    assert answers == [Recorded.DONE, Recorded.LOST, Recorded.DONE, Recorded.DONE, Recorded.DONE]
    statuses = [(await row(store, one.email.id)).status for one in found]
    assert statuses == [Status.READY, Status.PROCESSING, Status.FAILED, Status.READY, Status.READY]
    assert len(claimed) == 5
    assert await overdue(store) == []


# Crashes


async def test_crashes_are_counted_and_every_claim_tells_of_them(store: Store, harness: Harness) -> None:
    await bring(store, Status.READY)
    for count in range(3):
        email = await claim_one(store, SENDER)
        assert (email.crashes, email.attempts) == (count, count + 1)
        await crash(store, harness)

    assert (await row(store, email.id)).crashes == 3


@pytest.mark.parametrize("outcome", [Release("stopping"), BACK], ids=["released", "rescued"])
async def test_what_ends_no_try_keeps_the_crashes(store: Store, harness: Harness, outcome: Outcome) -> None:
    await bring(store, Status.READY)
    email = await claim_one(store, SENDER)
    await crash(store, harness)
    email = await claim_one(store, SENDER)
    if isinstance(outcome, Release):
        assert await finish(store, email, outcome) is Recorded.DONE
    else:
        await harness.rewind(61)
        assert await settle(store, await overdue(store), outcome) == [Recorded.DONE]

    assert (await row(store, email.id)).crashes == 1
    assert (await claim_one(store, SENDER)).crashes == 1


@pytest.mark.parametrize("rescued", [False, True])
@pytest.mark.parametrize("outcome", [Sent("250 ok"), Failed("550"), Retry("451", 0.0), Wait("away", 0.0), Park("odd")])
async def test_whatever_ends_a_try_ends_the_count(
    store: Store, harness: Harness, outcome: Outcome, rescued: bool
) -> None:
    await bring(store, Status.READY)
    email = await claim_one(store, SENDER)
    await crash(store, harness)
    email = await claim_one(store, SENDER)
    if rescued:
        await harness.rewind(61)
        assert await settle(store, await overdue(store), outcome) == [Recorded.DONE]
    else:
        assert await finish(store, email, outcome) is Recorded.DONE

    assert (await row(store, email.id)).crashes == 0


async def test_crashes_at_a_stage_that_another_program_left_are_not_believed(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.READY)
    await claim_one(store, SENDER)
    await crash(store, harness)
    await harness.move_as_older(email_id, "READY", "PROCESSING")
    await harness.move_as_older(email_id, "PROCESSING", "SENT")

    email = await claim_one(store, SENT_CALLBACK)

    assert (email.id, email.crashes, email.attempts) == (email_id, 0, 1)
    assert (await row(store, email_id)).crashes == 0


async def test_an_operators_release_ends_the_count(store: Store, harness: Harness) -> None:
    """What is parked has a count only where somebody has parked it by hand."""
    (email_id,) = await bring(store, Status.READY)
    await claim_one(store, SENDER)
    await crash(store, harness)
    email = await claim_one(store, SENDER)
    (answer,) = await store.record([replace(move(email, Park("by hand")), crashes=None)])
    assert answer is Recorded.DONE
    assert (await row(store, email_id)).crashes == 1

    assert await store.release([email_id], who="anna", why="mended") == [Steered.DONE]

    assert (await claim_one(store, SENDER)).crashes == 0


async def test_an_operators_requeue_ends_the_count(store: Store, harness: Harness) -> None:
    (email_id,) = await bring(store, Status.READY)
    await claim_one(store, SENDER)
    await crash(store, harness)
    email = await claim_one(store, SENDER)
    (answer,) = await store.record([replace(move(email, Failed("550")), crashes=3)])
    assert answer is Recorded.DONE
    assert (await row(store, email_id)).crashes == 3

    assert await store.requeue([email_id], who="anna", why="mended", ttl_extension=60.0) == [Steered.DONE]

    assert (await claim_one(store, SENDER)).crashes == 0
