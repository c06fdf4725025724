"""What an email costs on DynamoDB, what an idle replica does, and whether the meter that says so can be believed.

The real pipelines run, and the meter reckons each of their calls by DynamoDB's published rules; Amazon's own service
has not been asked. On DynamoDB Local the meter is held against what that reports, operation by operation.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks.cost_bench import (
    OLDER,
    PATH_LENGTH,
    PRODUCER,
    REPLICA,
    CostBench,
    cost_bench,
)
from benchmarks.cost_watch import Bill, bill_of
from mailculator.fleet import WHOLE
from mailculator.lifecycle import (
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    STAGES,
    Acknowledged,
    Outcome,
    Prepared,
    Sent,
    Stage,
    move,
)
from mailculator.model import Email
from mailculator.stores.base import Recorded
from mailculator.stores.dynamodb.store import DynamodbStore
from mailculator.stores.dynamodb.units import REFUSED, WRITE_BYTES, size_of
from tests.support.dynamodb_local import ENDPOINT
from tests.support.moto_server import shared_moto

pytestmark = pytest.mark.dynamodb

LOCAL = ENDPOINT in os.environ
EMAILS = 500 if LOCAL else 15
PAST = (1_000, 100_000) if LOCAL else (20, 800)
"""Emails that have come to their end before."""
EVERY = 86_400 / 30_000
"""Seconds between two emails, at 30,000 a day."""

WORK = (PRODUCER, "enqueue", "claim", "inbox", "record")
"""What an email costs, whoever works on it."""
POLLING = ("poll", "inbox", "rescue")
APART = ("control", "count", "minute", "operator", "ping", "renew", "rescue", "status", "sweep")
"""What is metered for itself: it does not come with an email, or does not have to."""

WITH_OLDER_PRODUCER = 28.0
WITH_OUR_ENQUEUE = 23.0
READS = 1.0
IDLE = 5.0
"""Read units a second and replica."""

needs_capacity = pytest.mark.skipif(not LOCAL, reason=f"moto's ConsumedCapacity is a constant: set {ENDPOINT}")


@pytest.fixture(scope="session")
async def url() -> AsyncIterator[str]:
    if LOCAL:
        yield os.environ[ENDPOINT]
    else:
        async with shared_moto() as server:
            yield server.endpoint


@pytest.fixture
async def bench(url: str) -> AsyncIterator[CostBench]:
    # The usual folder of a test has a longer path than payload files have.
    with tempfile.TemporaryDirectory() as folder:
        async with cost_bench(url, Path(folder)) as opened:
            yield opened


def unaccounted(bill: Bill) -> set[str]:
    """What was spent under a name that neither belongs to an email nor is known to stand apart."""
    return {op for op, _ in bill.units} - {*WORK, *APART, "poll"} - {op + REFUSED for op in (*WORK, *APART)}


@pytest.mark.timeout(900)
async def test_an_email_of_the_older_producer(bench: CostBench) -> None:
    bill = await bench.send(bench.produce, EMAILS)

    # Two puts in one transaction are 2 units each in the table, and 1 each in StatusIndex.
    assert bill.each("write", PRODUCER) == 6.0
    # Three claims, each of table, StatusIndex and WorkIndex (of which the first adopts as well), the ACCEPTED record
    # deleted from table and StatusIndex, and three results, of which two go to another key of WorkIndex.
    for op, units in {"claim": 9.0, "inbox": 2.0, "record": 11.0}.items():
        assert bill.each("write", op) == units, op
    assert bill.each("write", *WORK) <= WITH_OLDER_PRODUCER
    assert unaccounted(bill) == set()
    if LOCAL:  # with fewer emails, it is the pipelines' first looks that count
        assert bill.each("read", *WORK, *POLLING) <= READS


@pytest.mark.timeout(900)
async def test_an_email_of_our_own_enqueue(bench: CostBench) -> None:
    bill = await bench.send(bench.enqueue, EMAILS)

    for op, units in {"enqueue": 3.0, "claim": 9.0, "record": 11.0}.items():
        assert bill.each("write", op) == units, op
    assert bill.each("write", *WORK) <= WITH_OUR_ENQUEUE
    assert bill.total("write", PRODUCER) == 0.0
    assert unaccounted(bill) == set()
    if LOCAL:
        assert bill.each("read", *WORK, *POLLING) <= READS


@pytest.mark.parametrize(("way", "most"), [("produce", WITH_OLDER_PRODUCER), ("enqueue", WITH_OUR_ENQUEUE)])
async def test_one_email_after_the_other_costs_no_more_than_many_at_once(
    bench: CostBench, way: str, most: float
) -> None:
    bill = await bench.send_paced(getattr(bench, way), 10, every=EVERY)

    assert bill.each("write", *WORK) <= most
    # Each of its stages is woken for it: that must not make every email a poll or two dearer.
    beyond_polling = bill.total("read", *WORK, *POLLING) - idle_reads(bill.seconds)
    assert beyond_polling <= READS * bill.emails
    assert unaccounted(bill) == set()


def idle_reads(seconds: float, *, interval: float = 2.0, shards: int = 4) -> float:
    """Four stages look at every shard, intake at the inbox as well, and an empty answer is half a unit."""
    return (len(STAGES) * shards + 1) * 0.5 * seconds / interval


async def test_an_idle_replica(bench: CostBench) -> None:
    seconds = 120.0

    rest = await bench.idle(seconds)

    bill = rest.bill
    assert rest.polls == {stage.name: seconds / 2.0 for stage in STAGES}
    assert bill.total("read", *POLLING) == idle_reads(seconds)
    assert bill.total("read", *POLLING) / seconds <= IDLE
    assert bill.total("write") == bill.total("write", "minute", "operator")
    assert unaccounted(bill) == set()


@pytest.mark.timeout(1200)
async def test_claims_cost_the_same_however_many_emails_have_ended(bench: CostBench) -> None:
    few, many = PAST
    await bench.send(bench.enqueue, 1)
    await bench.fill(few)
    before = await through_the_store(bench)
    await bench.fill(many - few)
    after = await through_the_store(bench)

    for kind in ("read", "write"):
        for op in ("poll", "inbox", "claim", "record", "count", "rescue"):
            assert after.total(kind, op) == pytest.approx(before.total(kind, op), rel=0.1), (kind, op)
    assert before.total("write", "claim") > 0
    assert before.total("read", "poll") > 0


async def through_the_store(bench: CostBench, count: int = 20 if LOCAL else 4) -> Bill:
    """Some emails of either kind to their end, and a look of every sort; by the store's verbs, so that no clock is in
    it."""
    await bench.produce(count)
    store = await bench.open()
    try:
        await store.enqueue(bench.new_emails(count))
        for stage, outcome in WAY:
            emails = await claim(store, stage, 2 * count)
            assert len(emails) == 2 * count
            await store.record([move(email, outcome) for email in emails])
            assert await claim(store, stage, 1) == []
        await store.observe()
        await store.counts()
        return bill_of(store.spent())
    finally:
        await store.close()


WAY: tuple[tuple[Stage, Outcome], ...] = (
    (INTAKE, Prepared("posta.example")),
    (SENDER, Sent("250 2.0.0 Ok: queued as 4dQvLw6K8yz3bnY")),
    (SENT_CALLBACK, Acknowledged("200 OK")),
)


async def claim(store: DynamodbStore, stage: Stage, limit: int) -> list[Email]:
    return await store.claim(stage, limit, lease=90.0, holder=REPLICA)


async def test_what_does_not_come_with_every_email_is_metered_apart(bench: CostBench) -> None:
    one, other = await bench.open(), await bench.open()
    # Each learns the service's time from its answers, which name whole seconds: they may differ by a part of one.
    other._session.table.client.clock = one._session.table.client.clock
    try:
        await one.enqueue(bench.new_emails(1))
        [email] = await claim(one, INTAKE, 1)
        await one.renew([email], lease=90.0)
        assert spent(one)["renew", "write"] == 3.0
        assert not one.capabilities.renews_together, "each is paid for, so fewer are claimed ahead"

        # It has handed the email on to itself, and another replica is faster.
        await one.record([move(email, Prepared("posta.example"))])
        [email] = await claim(other, SENDER, 1)
        before = spent(one)
        assert await claim(one, SENDER, 1) == []
        assert spent(one)["claim", "write"] == before["claim", "write"]
        assert spent(one)["claim" + REFUSED, "write"] == 1.0

        # It was claimed under another token since.
        assert await one.record([move(lost(email), Sent("250 2.0.0 Ok"))]) == [Recorded.LOST]
        assert spent(one)["record" + REFUSED, "write"] == 1.0

        await one.standing([email.id])
        assert spent(one)["guard", "read"] == 1.0
        await one.counts()
        # Four stages and what is parked, on four shards each, and the inbox.
        assert spent(one)["count", "read"] == (5 * 4 + 1) * 0.5
        await one.sweep()
        assert spent(one)["sweep", "read"] > 0.0
        await one.survey()
        assert spent(one)["status", "read"] > 0.0
        assert spent(one)["control", "read"] > 0.0
        assert spent(one)["claim", "write"] + spent(other)["claim", "write"] == 6.0
    finally:
        await one.close()
        await other.close()


async def test_what_every_replica_asks_every_few_seconds_is_half_a_unit(bench: CostBench) -> None:
    store = await bench.open()
    try:
        await store.control.pauses()
        assert spent(store)["operator", "read"] == 0.5
        # All that there can be, and with a lot to say.
        for pipeline in (WHOLE, *(stage.name for stage in STAGES)):
            await store.control.pause(pipeline, seconds=600.0, who="a" * 200, why="because " * 500)
        before = spent(store)
        assert len(await store.control.pauses()) == 5
        assert spent(store)["operator", "read"] - before["operator", "read"] == 0.5
        await store.control.report(REPLICA, service="1.0.0", facts={"reply": "250 2.0.0 Ok: queued", "sent": 7})
        assert spent(store)["operator", "write"] - before["operator", "write"] == 2.0
    finally:
        await store.close()


def lost(email: Email) -> Email:
    return replace(email, claim_token="0" * 32)


def spent(store: DynamodbStore) -> defaultdict[tuple[str, str], float]:
    return defaultdict(float, {(op, kind): units for op, kind, units in store.spent()})


async def test_every_write_of_an_ordinary_email_is_one_unit_in_the_table(bench: CostBench) -> None:
    """As long as its record stays under 1,024 bytes; with these sizes it does."""
    await bench.send(bench.produce, 3)

    emails = await bench.records.emails()
    assert {len(item["Attributes"]["PayloadFilePath"]) for item in emails} == {PATH_LENGTH}
    assert max(size_of(item) for item in emails) < WRITE_BYTES


# The meter, held against DynamoDB Local.


class Capacity:
    """What DynamoDB itself says each call has cost, where it says so: not of a write whose condition failed."""

    def __init__(self) -> None:
        self.units: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.empty: defaultdict[str, float] = defaultdict(float)
        """Half units by which the meter counts pages without a record, which Local counts as nothing."""
        self.transactions: defaultdict[str, int] = defaultdict(int)

    def attach(self, store: DynamodbStore) -> None:
        """Ask at every call of this store."""
        client = store._session.table.client
        call = client.call

        async def asking(operation: str, op: str, **request: Any) -> dict[str, Any]:
            if operation not in KINDS:
                return await call(operation, op, **request)
            answer = await call(operation, op, **{**request, "ReturnConsumedCapacity": "INDEXES"})
            self._book(operation, op, request, answer)
            return answer

        mock.patch.object(client, "call", asking).start()

    def _book(self, operation: str, op: str, request: dict[str, Any], answer: dict[str, Any]) -> None:
        said = answer["ConsumedCapacity"]
        for one in said if isinstance(said, list) else [said]:
            self.units[op, KINDS[operation]] += one["CapacityUnits"]
        if operation == "query" and not answer["Items"]:
            self.empty[op] += 1.0 if request.get("ConsistentRead") else 0.5
        self.transactions[op] += operation == "transact_write_items"


KINDS = {
    "get_item": "read",
    "batch_get_item": "read",
    "query": "read",
    "put_item": "write",
    "update_item": "write",
    "delete_item": "write",
    "transact_write_items": "write",
}


@pytest.fixture
async def capacity(bench: CostBench) -> AsyncIterator[Capacity]:
    asked = Capacity()
    bench.on_open = asked.attach
    yield asked
    mock.patch.stopall()


@needs_capacity
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", ["produce", "enqueue"])
async def test_the_meter_agrees_with_dynamodb_local(bench: CostBench, capacity: Capacity, way: str) -> None:
    produce: Callable[[int], Awaitable[None]] = getattr(bench, way)
    bill = await bench.send(produce, 100)

    ours = {key: units for key, units in bill.units.items() if key[0] not in (PRODUCER, "enqueue")}
    ours = {key: units for key, units in ours.items() if not key[0].endswith(REFUSED)}
    # To the unit in every operation, but for one rule: an empty page is the least that a read can cost, and Local
    # counts nothing for it.
    assert ours == {
        (op, kind): units + (capacity.empty[op] if kind == "read" else 0.0)
        for (op, kind), units in capacity.units.items()
    }
    assert capacity.transactions.keys() >= {"claim"}
    assert sum(capacity.transactions.values()) == 0
    assert sum(ours.values()) == pytest.approx(sum(capacity.units.values()), rel=0.1)


@needs_capacity
async def test_what_dynamodb_local_says_of_transactions_is_no_measure(bench: CostBench) -> None:
    """It counts four units in each place for each kind of action, however many records that are; the rule is two units
    for each KB of each record. So beside an older consumer the meter stands alone."""

    async def put(count: int) -> tuple[float, float]:
        table = bench.records.table
        items = [{"Id": {"S": f"{count}-{number}"}, "Status": {"S": "x"}} for number in range(count)]
        answer = await bench.records.client.transact_write_items(
            TransactItems=[{"Put": {"TableName": table, "Item": item}} for item in items],
            ReturnConsumedCapacity="INDEXES",
        )
        [said] = answer["ConsumedCapacity"]
        return said["Table"]["CapacityUnits"], said["GlobalSecondaryIndexes"]["StatusIndex"]["CapacityUnits"]

    assert [await put(1), await put(2), await put(5)] == [(4.0, 4.0)] * 3


@pytest.mark.timeout(900)
async def test_beside_an_older_consumer(bench: CostBench, tmp_path: Path) -> None:
    bill = await bench.send(
        bench.produce_prepared,
        10,
        {"MAILCULATOR_DYNAMODB_PEER_CONSUMER": "true", "EML_STORAGE_PATH": tmp_path},
    )

    # Its intake is two steps, each a transaction of two records. Ours: adopting 3, and the ACCEPTED record 2; two
    # claims, each a transaction of the email (2 + 1 + 1) and the record that locks it (2 + 1); two results, 4 and 3.
    assert bill.each("write", OLDER) == 12.0
    for op, units in {"repair": 3.0, "inbox": 2.0, "claim": 14.0, "record": 7.0}.items():
        assert bill.each("write", op) == units, op
