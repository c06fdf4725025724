"""The whole cutover on live processes: from DynamoDB to MariaDB, back, and forward again, while mail keeps coming.

In each phase a replica is killed while it sends, others are restarted with changed switches one after the other, and
the producer, not knowing whether its last emails came, writes some of them to both queues whenever it switches.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mailculator.cutover.evidence import NEW, OLD
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.model import Status
from tests.support.counting_sink import CountingSink, Step
from tests.support.cutover_scene import PatientCallback, Rehearsal, unmet
from tests.support.dynamodb_local import ENDPOINT
from tests.support.moto_server import shared_moto
from tests.support.scenario import Variables, delivery
from tests.support.two_books import Killed, TwoBooks, sent_again, violations
from tests.support.two_queues import MovingProducer, TwoQueues, two_queues

pytestmark = [pytest.mark.long, pytest.mark.dynamodb, pytest.mark.timeout(1500)]

LOCAL = ENDPOINT in os.environ
EMAILS = 2000 if LOCAL else 200
SPARING: Variables = {"MAILCULATOR_BATCH_SIZE": 4, "MAILCULATOR_DYNAMODB_WRITE_RATE": 12}
"""What keeps two replicas from asking moto for more than it can do: it takes 10 to 30 ms for a write of ours."""
PAUSE = 0.5 if LOCAL else 2.0
"""Seconds between two emails of the producer, beside what it writes at once."""
IN_DOUBT = 20 if LOCAL else 5
"""Emails that it writes to both queues when it switches."""
BY_HAND = 3

SCALE = 0.05
LEASE = 250
"""Seconds, scaled; a call to DynamoDB may take a quarter of it, and a busy emulator needs as long."""
QUIET = 5 * 60 * SCALE
CONNECTIONS = 10 if LOCAL else 4
SLOWNESS = 0.25
"""Seconds that the relay takes for a message: there is always one that a killed process was just sending."""


@pytest.fixture(scope="module")
async def dynamodb() -> AsyncIterator[str]:
    """Where DynamoDB is."""
    if LOCAL:
        yield os.environ[ENDPOINT]
    else:
        async with shared_moto() as server:
            yield server.endpoint


@pytest.fixture
async def queues(dynamodb: str, mariadb_server: PrivateMariadb) -> AsyncIterator[TwoQueues]:
    async with two_queues(dynamodb, mariadb_server, f"rehearsal_{os.getpid()}") as both:
        yield both


@pytest.fixture
async def sink() -> AsyncIterator[CountingSink]:
    async with CountingSink(delay=_slowly) as relay:
        yield relay


@pytest.fixture
async def receiver() -> AsyncIterator[PatientCallback]:
    callback = PatientCallback()
    async with callback:
        yield callback


def _slowly(step: Step) -> float:
    return SLOWNESS if step.phase == "dot" else 0.0


@pytest.fixture
async def rehearsal(
    queues: TwoQueues, dynamodb: str, sink: CountingSink, receiver: PatientCallback
) -> AsyncIterator[Rehearsal]:
    variables: Variables = {
        **delivery(receiver, sink.port),
        **queues.variables(dynamodb),
        "MAILCULATOR_TIME_SCALE": SCALE,
        "MAILCULATOR_LEASE": LEASE,
        "MAILCULATOR_CUTOVER_QUIET": QUIET,
        "MAILCULATOR_SMTP_CONNECTIONS": CONNECTIONS,
        "MAILCULATOR_CALLBACK_CONNECTIONS": CONNECTIONS,
        "MAILCULATOR_CALLBACK_TIMEOUT": 300,
        "MAILCULATOR_LOG_LEVEL": "debug",
        **({} if LOCAL else SPARING),
        "MAILCULATOR_DYNAMODB_SWEEP_EVERY": 10,
    }
    async with AsyncExitStack() as stack:
        yield Rehearsal(variables, queues, stack)


async def test_the_whole_cutover(
    rehearsal: Rehearsal,
    receiver: PatientCallback,
    sink: CountingSink,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    producer = MovingProducer(tmp_path, rehearsal.queues)
    with rehearsal.explained():
        async with producer.running(PAUSE):
            early = await _dynamodb_alone(rehearsal, producer)
            await _both(rehearsal, producer, early)
            late = await _drained(rehearsal, producer, receiver, killed_over=OLD)
            await _mariadb_alone(rehearsal, producer, late)
            await _back(rehearsal, producer)
            later = await _drained(rehearsal, producer, receiver, killed_over=NEW)
            await _mariadb_alone(rehearsal, producer, later)
            await producer.put(max(0, EMAILS - len(producer.paths)))
        await rehearsal.finished()
        await rehearsal.reaches("done", 0)
        for name in list(rehearsal.running):
            await rehearsal.stop(name)

    books = TwoBooks(
        expected={store: frozenset(ids) for store, ids in producer.written.items()},
        copies=await rehearsal.queues.standings(),
        accepted=sink.accepted,
        answers=receiver.answers,
        killed=rehearsal.killed,
        slow=frozenset(receiver.kept),
    )
    wrong = violations(books)
    assert not wrong, (
        f"{len(wrong)} violations, the first: {wrong[:10]}; unseen: {rehearsal.told('store.guard_skipped')}"
    )
    assert len(books.by_id) >= EMAILS
    # An email that stands twice was given up once; what stood in DynamoDB long before was given up by MariaDB.
    twice = {email_id for email_id, copies in books.by_id.items() if len(copies) == 2}
    assert twice >= {*early, *late[:BY_HAND], *later[:BY_HAND]}
    assert len(twice) >= 3 * IN_DOUBT + len(early) + 2 * BY_HAND
    again = sum(sent_again(books).values())
    assert again <= CONNECTIONS * len(rehearsal.killed)
    record_property("emails", len(books.by_id))
    record_property("in_both_queues", len(twice))
    record_property("killed_while_sending", sum(_sending(killed) for killed in rehearsal.killed))
    record_property("received_again", again)


def _sending(killed: Killed) -> int:
    return sum(status is Status.PROCESSING for held in killed.held.values() for status in held.values())


async def _dynamodb_alone(rehearsal: Rehearsal, producer: MovingProducer) -> list[str]:
    """Phase 0, until both can be switched on. Returns emails that left DynamoDB before anybody reserved ids."""
    rehearsal.switch(dynamodb=True, mysql=False)
    await rehearsal.applies_schema(OLD)
    await rehearsal.roll()
    _, early = await asyncio.gather(rehearsal.kill("blue", OLD), producer.put(EMAILS // 8))
    assert "mysql_ready" in unmet(await rehearsal.reaches("0", 3))
    await rehearsal.applies_schema(NEW)
    await rehearsal.reaches("0", 0, by=[("0", 3)])
    return early[: EMAILS // 40]


async def _both(rehearsal: Rehearsal, producer: MovingProducer, early: list[str]) -> None:
    """Phase 1, until the producer may be switched."""
    await rehearsal.roll(mysql=True)
    assert "mail_through_mysql" in unmet(await rehearsal.reaches("1", 3))
    await asyncio.gather(rehearsal.kill("green", OLD), producer.put(EMAILS // 16))
    by_hand = await producer.prepare(BY_HAND)
    await producer.write(NEW, by_hand)
    await rehearsal.reaches("1", 0, by=[("1", 3)])
    # Now, since a busy emulator may be slower to tell how they stand there than MariaDB waits for it.
    await producer.write(NEW, early)
    await rehearsal.given_up(NEW, early)


async def _drained(
    rehearsal: Rehearsal, producer: MovingProducer, receiver: PatientCallback, *, killed_over: str
) -> list[str]:
    """The producer is switched: phases 2 and 3. Returns emails that went through DynamoDB."""
    (kept,) = await producer.prepare(1)
    answered = receiver.kept[kept] = asyncio.Event()

    async def switch() -> list[str]:
        late = await producer.put(EMAILS // 16)
        # As long as its callback is not answered, DynamoDB is not empty.
        await producer.write(OLD, [kept])
        await producer.switch(NEW, IN_DOUBT)
        await producer.put(EMAILS // 8)
        return late

    _, late = await asyncio.gather(rehearsal.kill("blue", killed_over), switch())
    found = await rehearsal.reaches("2", 3, by=[("1", 0), ("1", 3)])
    assert {"empty", "empty_now"} <= unmet(found).keys()
    assert found["stores"][OLD]["active"] >= 1
    answered.set()
    # A minute that nobody has counted, on a busy machine, leaves it unknown for ten where the producer writes.
    await rehearsal.reaches("3", 0, by=[("2", 3), ("1", 3)])
    return late


async def _mariadb_alone(rehearsal: Rehearsal, producer: MovingProducer, late: list[str]) -> None:
    """DynamoDB is switched off."""
    await rehearsal.roll(dynamodb=False)
    # A producer that has waited very long for an answer: it is on record all the same that DynamoDB sent these.
    await producer.write(NEW, late[:BY_HAND])
    await asyncio.gather(rehearsal.kill("green", NEW), producer.put(EMAILS // 8))
    await rehearsal.reaches("done", 0, by=[("done", 3)])


async def _back(rehearsal: Rehearsal, producer: MovingProducer) -> None:
    """DynamoDB is switched on again, the producer goes back, and on both it goes on until it may be switched anew."""
    await rehearsal.roll(dynamodb=True)
    assert "producer_known" in unmet(await rehearsal.reaches("1", 3))

    async def switch() -> None:
        await producer.switch(OLD, IN_DOUBT)
        await producer.put(EMAILS // 16)

    await asyncio.gather(rehearsal.kill("blue", OLD), switch())
    await rehearsal.reaches("1", 0, by=[("1", 3)])
