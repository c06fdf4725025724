"""Whatever happens to a queue, in whatever order: each store and one model of it agree (hypothesis, stateful)."""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test

from mailculator.lifecycle import INTAKE, Park, Rescued, Retry
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Recorded, Steered, Store
from mailculator.stores.dynamodb.layout import HISTORY_KEPT
from tests.chaos.parts import Part, parts
from tests.chaos.record import Proof
from tests.contract.steps import (
    FOREIGN_HOLD,
    bring_claimed,
    claim,
    claim_one,
    enqueue,
    epoch,
    finish,
    new_id,
    overdue,
    row,
    settle,
)
from tests.support.dynamodb_local import CONTRACT_ENDPOINT, ENDPOINT
from tests.support.harness import Harness
from tests.support.model_machine import QueueMachine
from tests.support.model_steps import Bench

EXAMPLES = int(os.environ.get("MAILCULATOR_TEST_MODEL_EXAMPLES", "98"))
"""For each store, which makes two hundred of all where the environment asks for nothing else."""
STEPS = int(os.environ.get("MAILCULATOR_TEST_MODEL_STEPS", "30"))
SEED = os.environ.get("MAILCULATOR_TEST_MODEL_SEED")
"""Of the choices; if none is asked for each run has its own, and in CI all have the same, as hypothesis has it."""
ANEW = 1000
"""From a part's seed to the one that it goes on with. DynamoDB's index has what is due in order to the second, and of
equals any: the same steps may go another way when hypothesis tries them again, which it takes for a fault."""
ON_DYNAMODB = int(os.environ.get("MAILCULATOR_TEST_MODEL_ON_DYNAMODB", max(1, EXAMPLES // 24)))
"""4 examples take moto about a minute: it answers one request after the other."""


@pytest.fixture
async def loop() -> asyncio.AbstractEventLoop:
    """The session's loop, on which stores live. While a test is no coroutine it rests, and the test may run it."""
    return asyncio.get_running_loop()


def examples_on(harness: Harness) -> int:
    """All parts' together."""
    return ON_DYNAMODB if harness.name == "dynamodb" else EXAMPLES


def where(harness: Harness) -> str:
    """Which kind of server a record is about."""
    if harness.name != "dynamodb":
        return harness.name
    return "dynamodb-local" if os.environ.get(CONTRACT_ENDPOINT) or os.environ.get(ENDPOINT) else "dynamodb-moto"


def bench_of(harness: Harness, loop: asyncio.AbstractEventLoop) -> Bench:
    loop.run_until_complete(harness.fresh())  # which has looked at the schema, once for all examples
    if harness.name == "dynamodb":
        return Bench(harness, loop, kept=HISTORY_KEPT, prompt=False, own_tokens=True, count_every=10)
    return Bench(harness, loop)


# Minutes are for shrinking, where there is something to shrink.
@pytest.mark.timeout(900 + 20 * EXAMPLES)
@pytest.mark.parametrize("part", [pytest.param(part, id=part.label("whole")) for part in parts()])
def test_whatever_happens_a_store_does_what_the_model_says(
    harness: Harness, loop: asyncio.AbstractEventLoop, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    if harness.name == "dynamodb":
        # The same steps have to go the same way each time.
        monkeypatch.setattr(harness, "clock", lambda: 0.0)
    bench = bench_of(harness, loop)
    examples = part.share(examples_on(harness))

    class MachineOnThisBench(QueueMachine):
        def __init__(self) -> None:
            super().__init__(bench)

    chosen = (int(SEED) if SEED else 0 if settings().derandomize else random.getrandbits(32)) + part.number - 1
    begun, anew = time.monotonic(), 0
    try:
        while bench.tally.held < examples:
            try:
                run_state_machine_as_test(
                    seed(chosen + ANEW * anew)(MachineOnThisBench),
                    settings=settings(
                        max_examples=examples - bench.tally.held,
                        stateful_step_count=STEPS,
                        deadline=None,
                        database=None,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
            except FlakyStrategyDefinition as flaky:
                if bench.tally.broken is not None or harness.name != "dynamodb":
                    raise flaky from bench.tally.broken
            anew += 1
    except BaseException as failure:
        failure.add_note(
            f"again: MAILCULATOR_TEST_MODEL_SEED={chosen} MAILCULATOR_TEST_MODEL_EXAMPLES={examples}"
            f" MAILCULATOR_TEST_MODEL_ON_DYNAMODB={examples} MAILCULATOR_TEST_MODEL_STEPS={STEPS}, in one part"
        )
        raise
    figures = {"examples": bench.tally.held, "steps of each, at the most": STEPS, "disagreements": 0}
    Proof.of("model", where(harness), [chosen], time.monotonic() - begun, figures, part=part).keep()


# What it has found


@pytest.mark.parametrize("rescued", [False, True])
async def test_g2_parking_is_done_when_asked_again_though_it_has_ended_since(
    store: Store, harness: Harness, rescued: bool
) -> None:
    await enqueue(store)
    email = await claim_one(store, INTAKE)
    await harness.rewind(61)
    found = await overdue(store)

    async def park() -> Recorded:
        return (await settle(store, found, Park("odd")))[0] if rescued else await finish(store, email, Park("odd"))

    assert await park() is Recorded.DONE
    assert await store.release([email.id], who="anna", why="mended") == [Steered.DONE]

    assert await park() is Recorded.DONE


@pytest.mark.parametrize("stale_first", [False, True])
async def test_of_two_findings_in_one_group_the_one_that_stands_is_written(
    store: Store, harness: Harness, stale_first: bool
) -> None:
    email_id = (await enqueue(store))[0]
    await claim_one(store, INTAKE)
    await harness.rewind(61)
    stale = await overdue(store)
    await harness.alter(email_id, claim_token="ab" * 16)
    await overdue(store)
    await harness.rewind(61)
    standing = await overdue(store)
    both = [*stale, *standing] if stale_first else [*standing, *stale]

    answers = await settle(store, both, Park("odd"), Park("odd"))

    assert len(both) == 2
    assert answers[both.index(standing[0])] is Recorded.DONE
    assert (await row(store, email_id)).version == 3


@pytest.mark.parametrize("again", [False, True])
async def test_who_comes_back_from_an_earlier_claim_puts_off_no_rescue_of_the_next(
    store: Store, harness: Harness, again: bool
) -> None:
    """Neither by a write that is refused nor by asking once more for one that was made."""
    await enqueue(store)
    earlier = await claim_one(store, INTAKE)
    if again:
        assert await finish(store, earlier, Retry("not now", 0.0)) is Recorded.DONE
    else:
        await harness.rewind(61)
        assert await settle(store, await overdue(store), Rescued("rescued: late")) == [Recorded.DONE]
    standing = await claim_one(store, INTAKE)
    await harness.rewind(40)

    answer = await finish(store, earlier, Retry("not now", 0.0))
    await harness.rewind(30)

    assert answer is (Recorded.DONE if again else Recorded.LOST)
    assert [one.email.version for one in await overdue(store)] == [standing.version]


async def test_new_mail_is_found_by_whoever_has_left_some_to_others(store: Store, harness: Harness) -> None:
    """What a look found and had no room for is no reason to look no more."""
    other = await harness.another()
    for _ in range(2):
        await harness.produce(new_id(), "/payloads/some.json", epoch(3600))
    assert len(await claim(store, INTAKE, 1)) == 1
    assert len(await claim(other, INTAKE)) == 1
    newest = new_id()
    await harness.produce(newest, "/payloads/some.json", epoch(3600))

    assert [email.id for email in await claim(store, INTAKE)] == [newest]


async def test_what_was_found_of_an_email_that_is_gone_says_nothing_of_the_next_one_of_its_id(
    store: Store, harness: Harness
) -> None:
    (email_id,) = await enqueue(store)
    await claim_one(store, INTAKE)
    await harness.rewind(61)
    found = await overdue(store)
    await harness.delete(email_id)
    await store.enqueue([NewEmail(email_id, "/payloads/other.json")])
    await harness.move_as_older(email_id, "ACCEPTED", "INTAKING")
    await harness.rewind(FOREIGN_HOLD + 61)

    assert await settle(store, found, Park("odd")) == [Recorded.LOST]

    assert await settle(store, await overdue(store), Park("odd")) == [Recorded.DONE]


async def test_a_requeue_leaves_no_lease_standing_that_another_program_passed_over(
    store: Store, harness: Harness
) -> None:
    email = await bring_claimed(store, Status.INTAKING)
    await harness.move_as_older(email.id, "INTAKING", "INVALID")

    assert await store.requeue([email.id], who="anna", why="mended", ttl_extension=60.0) == [Steered.DONE]

    assert (await row(store, email.id)).lease_until is None


@pytest.mark.parametrize("status", [None, Status.ACCEPTED, Status.READY, Status.SENT])
async def test_a_page_of_no_emails_has_none(store: Store, status: Status | None) -> None:
    await enqueue(store, 2)

    assert await store.page(status, limit=0) == []
