"""Several Stores on one queue at once: no row is ever two's, and one failure is nobody else's (G15)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mailculator.lifecycle import INTAKE, Invalid, Prepared, move
from mailculator.model import Email, Status
from mailculator.stores.base import Recorded, Store
from tests.contract.steps import assert_gapless, claim, claim_one, enqueue, finish, rescue, row, versioned
from tests.support.harness import Harness

# An emulator that answers one request at a time makes races long, not wrong.
pytestmark = pytest.mark.timeout(900)


async def _take_all(store: Store, taken: list[Email], total: int, batch: int, finished: list[Recorded]) -> None:
    """Claim and finish until everybody together has everything; an empty claim may mean that others hold the rest."""
    while len(taken) < total:
        claimed = await claim(store, limit=batch)
        taken += claimed
        if claimed:
            finished += await store.record([move(email, Prepared("example.com")) for email in claimed])


async def test_g15_four_claimers_never_take_a_row_twice(store: Store, harness: Harness) -> None:
    ids = await enqueue(store, harness.amount(2000))
    stores = [store, *[await harness.another() for _ in range(3)]]
    taken: list[Email] = []
    finished: list[Recorded] = []

    await asyncio.gather(*(_take_all(each, taken, len(ids), harness.amount(50), finished) for each in stores))

    assert sorted(email.id for email in taken) == sorted(ids)
    assert finished == [Recorded.DONE] * len(ids)
    assert await harness.versions() == [3] * len(ids)
    assert await harness.count_history(versioned=True) == 2 * len(ids)


async def test_g15_two_claims_at_once_are_disjoint_in_every_round(store: Store, harness: Harness) -> None:
    other = await harness.another()
    for _ in range(harness.amount(30)):
        ids = await enqueue(store, 8)

        first, second = await asyncio.gather(claim(store, limit=8), claim(other, limit=8))
        rest = await claim(store)

        assert sorted(email.id for email in [*first, *second, *rest]) == sorted(ids)


async def test_claims_of_one_store_at_once_are_disjoint(store: Store, harness: Harness) -> None:
    share = harness.amount(50)
    ids = await enqueue(store, 8 * share)

    parts = await asyncio.gather(*(claim(store, limit=share) for _ in range(8)))
    rest = await claim(store)

    assert sorted(email.id for part in [*parts, rest] for email in part) == sorted(ids)


async def test_the_same_move_through_two_stores_at_once_is_made_once(store: Store, harness: Harness) -> None:
    """As when a write whose reply is late is asked for again."""
    other = await harness.another()
    for _ in range(10):
        await enqueue(store)
        once = move(await claim_one(store), Prepared("example.com"))

        answers = await asyncio.gather(store.record([once]), other.record([once]))

        assert list(answers) == [[Recorded.DONE], [Recorded.DONE]]
        await assert_gapless(store, once.email.id)


async def test_two_results_of_one_claim_at_once_are_one_done_and_one_lost(store: Store, harness: Harness) -> None:
    other = await harness.another()
    for _ in range(10):
        await enqueue(store)
        email = await claim_one(store)

        answers = await asyncio.gather(
            finish(store, email, Prepared("example.com")), finish(other, email, Invalid("bad"))
        )

        assert sorted(answer.value for answer in answers) == ["done", "lost"]
        winner = Status.READY if answers[0] is Recorded.DONE else Status.INVALID
        assert (await row(store, email.id)).status is winner
        await assert_gapless(store, email.id)


async def test_a_result_and_a_rescue_at_once_have_one_winner(store: Store, harness: Harness) -> None:
    other = await harness.another()
    for _ in range(10):
        await enqueue(store)
        email = await claim_one(store)
        await harness.rewind(61)

        answer, rescued = await asyncio.gather(finish(store, email, Prepared("example.com")), rescue(other, 10))

        assert (answer is Recorded.DONE) != (email.id in {one.id for one in rescued})
        await assert_gapless(store, email.id)
        if answer is Recorded.LOST:
            assert await finish(store, await claim_one(store), Prepared("example.com")) is Recorded.DONE


async def test_two_rescuers_at_once_rescue_each_row_once(store: Store, harness: Harness) -> None:
    other = await harness.another()
    ids = await enqueue(store, harness.amount(200))
    await claim(store)
    await harness.rewind(61)

    parts = await asyncio.gather(*(rescue(each, len(ids)) for each in (store, other)))
    rest = await rescue(store, len(ids))

    assert sorted(rescued.id for part in [*parts, rest] for rescued in part) == sorted(ids)
    assert await harness.versions() == [3] * len(ids)


async def test_a_producer_goes_on_inserting_while_others_claim(store: Store, harness: Harness) -> None:
    total = harness.amount(200)
    ids: list[str] = []
    taken: list[Email] = []

    async def produce() -> None:
        for _ in range(10):
            ids.extend(await enqueue(store, total // 10))

    async def consume(consumer: Store) -> None:
        while len(taken) < total:
            taken.extend(await claim(consumer, limit=30))

    await asyncio.gather(produce(), consume(store), consume(await harness.another()))

    assert sorted(email.id for email in taken) == sorted(ids)


async def test_what_one_store_wrote_another_sees(store: Store, harness: Harness) -> None:
    other = await harness.another()
    (email_id,) = await enqueue(store)
    email = (await other.claim(INTAKE, 1, lease=60.0, holder="other"))[0]

    assert (await row(store, email_id)).claimed_by == "other"
    assert await finish(store, email, Prepared("example.com")) is Recorded.DONE
    assert _statuses(await versioned(other, email_id)) == ["INTAKING", "READY"]


def _statuses(moves: Sequence[tuple[int, str]]) -> list[str]:
    return [status for _, status in moves]
