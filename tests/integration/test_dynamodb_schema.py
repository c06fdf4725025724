"""The schema in DynamoDB: a new table, a live one of the older service, and runs that are cut short or meet."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from mailculator.config import Settings
from mailculator.errors import SchemaError, StoreRejected, StoreUnavailable
from mailculator.stores.dynamodb import client, layout, open_schema, open_store, schema, shape
from mailculator.stores.dynamodb.client import Client, Endpoint
from mailculator.stores.dynamodb.errors import NAME, InUse
from mailculator.stores.dynamodb.schema import DynamodbSchema
from tests.support.moto_server import KEY, REGION, shared_moto

Ask = Callable[[], Awaitable[dict[str, Any]]]
Tamper = Callable[[str, Ask], Awaitable[dict[str, Any]]]

pytestmark = pytest.mark.dynamodb

_numbers = itertools.count(1)
APPLY = "run: mailculator schema apply"
CURRENT = ("0001_work_index",)


@pytest.fixture(scope="session")
async def address() -> AsyncIterator[str]:
    """Of a DynamoDB: moto, or what DYNAMODB_TEST_ENDPOINT names."""
    named = os.environ.get("DYNAMODB_TEST_ENDPOINT")
    if named:
        yield named
        return
    async with shared_moto() as server:
        yield server.endpoint


@pytest.fixture
def endpoint(address: str) -> Endpoint:
    """A table that is not there yet."""
    return Endpoint(f"schema-{os.getpid()}-{next(_numbers)}", REGION, address, KEY, KEY)


def of(endpoint: Endpoint, **changes: Any) -> DynamodbSchema:
    """The schema there, by somebody who looks as often as he can."""
    return DynamodbSchema(endpoint, **{"wait": lambda _: asyncio.sleep(0), **changes})


@pytest.fixture
async def dynamodb(endpoint: Endpoint) -> AsyncIterator[Client]:
    opened = await client.connect(endpoint, timeout=10.0)
    yield opened
    with contextlib.suppress(StoreRejected):
        await opened.call("delete_table", "test", TableName=endpoint.table)
    await opened.close()


@pytest.fixture
async def older(endpoint: Endpoint, dynamodb: Client) -> Endpoint:
    """A live table of the older service, with one email in it."""
    wanted = shape.create_request(endpoint.table)
    wanted["GlobalSecondaryIndexes"] = wanted["GlobalSecondaryIndexes"][:1]
    wanted["AttributeDefinitions"] = wanted["AttributeDefinitions"][:2]
    await dynamodb.call("create_table", "test", **wanted)
    await dynamodb.call("put_item", "test", TableName=endpoint.table, Item=EMAIL)
    return endpoint


EMAIL = {
    "Id": {"S": "550e8400-e29b-41d4-a716-446655440000"},
    "Status": {"S": "_META"},
    "TTL": {"N": "1900000000"},
    "Attributes": {"M": {"Latest": {"S": "READY"}, "Reason": {"S": ""}}},
}


class Tampered:
    """A client whose answers a test may change on their way."""

    def __init__(self, inner: Client, tamper: Tamper) -> None:
        self.clock = inner.clock
        self._inner = inner
        self._tamper = tamper

    async def call(self, operation: str, op: str, **request: Any) -> dict[str, Any]:
        return await self._tamper(operation, lambda: self._inner.call(operation, op, **request))

    async def close(self) -> None:
        await self._inner.close()


class Bench:
    """A schema whose client is tampered with, and whose time passes while it waits."""

    def __init__(self, endpoint: Endpoint, tamper: Tamper) -> None:
        self.now = 0.0
        self.told: list[str] = []
        self._tamper = tamper
        self.schema = DynamodbSchema(endpoint, connect=self._connect, wait=self._wait, clock=lambda: self.now)

    async def apply(self) -> tuple[str, ...]:
        return await self.schema.apply(self.told.append)

    async def _connect(self, endpoint: Endpoint, *, timeout: float) -> Client:
        return cast(Client, Tampered(await client.connect(endpoint, timeout=timeout), self._tamper))

    async def _wait(self, seconds: float) -> None:
        self.now += seconds


async def table(dynamodb: Client) -> dict[str, Any]:
    answer = await dynamodb.call("describe_table", "test", TableName=dynamodb.endpoint.table)
    found: dict[str, Any] = answer["Table"]
    return found


async def indexes(dynamodb: Client) -> set[str]:
    return {one["IndexName"] for one in (await table(dynamodb)).get("GlobalSecondaryIndexes", ())}


async def drop_work_index(dynamodb: Client) -> None:
    gone = [{"Delete": {"IndexName": layout.WORK_INDEX}}]
    await dynamodb.call("update_table", "test", TableName=dynamodb.endpoint.table, GlobalSecondaryIndexUpdates=gone)
    while layout.WORK_INDEX in await indexes(dynamodb):
        pass


async def record(dynamodb: Client) -> dict[str, Any]:
    key = schema.RECORD
    answer = await dynamodb.call("get_item", "test", TableName=dynamodb.endpoint.table, Key=key, ConsistentRead=True)
    found: dict[str, Any] = answer.get("Item", {})
    return found


async def change_record(dynamodb: Client, expression: str, names: dict[str, str], values: dict[str, Any]) -> None:
    await dynamodb.call(
        "update_item",
        "test",
        TableName=dynamodb.endpoint.table,
        Key=schema.RECORD,
        UpdateExpression=expression,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )


async def serve_from(dynamodb: Client, version: str) -> None:
    await change_record(dynamodb, "SET #o = :v", {"#o": schema.OLDEST}, {":v": {"S": version}})


async def leave_later(dynamodb: Client) -> None:
    await change_record(dynamodb, "SET #a.#n = :v", {"#a": schema.APPLIED, "#n": "9999_later"}, {":v": {"N": "1"}})


# A new table


async def test_a_missing_table_lacks_everything_and_is_not_made_by_looking(
    endpoint: Endpoint, dynamodb: Client
) -> None:
    state = await of(endpoint).state()

    assert (state.applied, state.pending, state.oldest_service) == ((), CURRENT, None)
    assert state.refusal == f"the table {endpoint.table} does not exist; {APPLY}"
    with pytest.raises(StoreRejected):
        await table(dynamodb)


async def test_apply_makes_it_and_says_so_once(endpoint: Endpoint, dynamodb: Client) -> None:
    told: list[str] = []
    ours = of(endpoint)

    assert await ours.apply(told.append) == CURRENT
    assert await ours.apply(told.append) == ()

    assert told == [f"creating the table {endpoint.table}", "switching TTL on, for the attribute TTL"]
    state = await ours.state()
    assert (state.applied, state.pending, state.differences, state.refusal) == (CURRENT, (), (), None)
    found = await table(dynamodb)
    assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert shape.described(found).indexes == {index.name: index for index in shape.INDEXES}


async def test_four_runs_at_once_end_well(endpoint: Endpoint) -> None:
    runs = [of(endpoint).apply(lambda _: None) for _ in range(4)]

    assert CURRENT in await asyncio.gather(*runs)

    state = await of(endpoint).state()
    assert (state.applied, state.differences, state.refusal) == (CURRENT, (), None)


async def test_our_record_is_never_deleted_and_knows_when(endpoint: Endpoint, dynamodb: Client) -> None:
    await of(endpoint).apply(lambda _: None)
    before = dynamodb.clock.now() * 1000

    found = await record(dynamodb)

    assert found["TTL"] == {"N": str(layout.FAR)}
    assert found["OldestService"] == {"S": schema.OLDEST_SERVICE}
    assert before - 60_000 < int(found["Applied"]["M"]["0001_work_index"]["N"]) < before + 60_000


# A live table


async def test_a_live_table_gets_what_it_lacks_and_keeps_what_it_has(older: Endpoint, dynamodb: Client) -> None:
    ours, told = of(older), list[str]()
    state = await ours.state()
    assert state.pending == CURRENT
    assert state.differences == (
        "WorkIndex is missing",
        f"TTL is off, so that nothing is ever deleted; {APPLY}",
    )
    assert state.refusal == f"WorkIndex is missing; {APPLY}"

    assert await ours.apply(told.append) == CURRENT

    assert told == [
        "adding WorkIndex: DynamoDB goes on with it even if this command is ended",
        "switching TTL on, for the attribute TTL",
    ]
    state = await ours.state()
    assert (state.applied, state.differences, state.refusal) == (CURRENT, (), None)
    kept = await dynamodb.call(
        "get_item", "test", TableName=older.table, Key={key: EMAIL[key] for key in schema.RECORD}
    )
    assert kept["Item"] == EMAIL
    assert await indexes(dynamodb) == {"StatusIndex", "WorkIndex"}


async def test_what_was_taken_away_is_named_and_put_back(endpoint: Endpoint, dynamodb: Client) -> None:
    ours = of(endpoint)
    await ours.apply(lambda _: None)
    await drop_work_index(dynamodb)

    state = await ours.state()
    assert (state.applied, state.differences) == (CURRENT, ("WorkIndex is missing",))
    assert state.refusal == f"WorkIndex is missing; {APPLY}"

    assert await ours.apply(lambda _: None) == CURRENT
    assert (await ours.state()).refusal is None


async def test_an_index_made_by_hand_is_put_on_record(older: Endpoint, dynamodb: Client) -> None:
    await dynamodb.call("update_table", "test", **shape.add_request(older.table, shape.WORK_INDEX, None))
    while not shape.described(await table(dynamodb)).indexes[layout.WORK_INDEX].usable:
        pass
    refusal = (await of(older).state()).refusal
    assert refusal == f"the database has no mailculator schema; {APPLY}"

    told: list[str] = []
    assert await of(older).apply(told.append) == CURRENT

    assert told == ["switching TTL on, for the attribute TTL"]
    assert (await of(older).state()).refusal is None


async def test_another_programs_table_is_left_as_it_is(endpoint: Endpoint, dynamodb: Client) -> None:
    key = [{"AttributeName": "Id", "KeyType": "HASH"}]
    types = [{"AttributeName": "Id", "AttributeType": "N"}]
    await dynamodb.call(
        "create_table",
        "test",
        TableName=endpoint.table,
        KeySchema=key,
        AttributeDefinitions=types,
        BillingMode="PAY_PER_REQUEST",
    )
    wrong = "its key is Id (N), and a queue's is Id (S) and Status (S): name another table"
    state = await of(endpoint).state()
    assert (state.refusal, state.differences) == (wrong, (wrong,))

    with pytest.raises(SchemaError, match="name another table"):
        await of(endpoint).apply(lambda _: None)

    assert await indexes(dynamodb) == set()


# A large table, where an index takes its time


def building(looks: int) -> Tamper:
    """DynamoDB at work on WorkIndex for so many looks; at the last it calls it active, and is still filling it."""
    left: int | None = None

    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        nonlocal left
        answer = await ask()
        if operation == "update_table":
            left = looks
        if operation == "describe_table" and left:
            while work_index(answer)["IndexStatus"] != "ACTIVE":  # DynamoDB Local is at work on it in earnest
                answer = await ask()
            left -= 1
            work_index(answer).update({"IndexStatus": "CREATING" if left else "ACTIVE", "Backfilling": True})
            answer["Table"]["TableStatus"] = "UPDATING" if left else "ACTIVE"
        return answer

    return tamper


def work_index(answer: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = answer["Table"]["GlobalSecondaryIndexes"]
    return next(one for one in found if one["IndexName"] == layout.WORK_INDEX)


async def test_it_waits_until_the_index_is_filled_and_tells_that_it_does(older: Endpoint) -> None:
    bench = Bench(older, building(looks=20))

    assert await bench.apply() == CURRENT

    assert bench.now == (1 + 20) * schema.LOOK_EVERY
    assert bench.told == [
        "adding WorkIndex: DynamoDB goes on with it even if this command is ended",
        "WorkIndex is being made, for 30 s now",
        "switching TTL on, for the attribute TTL",
    ]


async def test_a_run_that_was_cut_short_is_repeated(older: Endpoint, dynamodb: Client) -> None:
    filling = building(looks=1_000_000)
    bench = Bench(older, filling)
    waited = asyncio.Event()
    forever = asyncio.Event()

    async def wait(_: float) -> None:
        waited.set()
        await forever.wait()

    cut = asyncio.create_task(of(older, connect=bench._connect, wait=wait).apply(lambda _: None))
    await waited.wait()
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert await indexes(dynamodb) == {"StatusIndex", "WorkIndex"}
    assert await record(dynamodb) == {}
    refusal = (await Bench(older, filling).schema.state()).refusal
    assert refusal == f"WorkIndex is CREATING, and being filled; {APPLY}, which waits for it"

    told: list[str] = []
    assert await of(older).apply(told.append) == CURRENT

    assert told == ["switching TTL on, for the attribute TTL"]
    assert (await of(older).state()).refusal is None


async def test_a_table_that_is_changed_otherwise_is_waited_for(older: Endpoint, dynamodb: Client) -> None:
    refusals = 3

    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        nonlocal refusals
        if operation == "update_table" and refusals:
            refusals -= 1
            raise InUse(NAME, "test", "the table is being updated")
        return await ask()

    bench = Bench(older, tamper)

    assert await bench.apply() == CURRENT

    assert refusals == 0
    assert await indexes(dynamodb) == {"StatusIndex", "WorkIndex"}
    assert [line for line in bench.told if line.startswith("adding")] == bench.told[:1]


async def test_an_index_that_another_run_has_just_added_is_waited_for(older: Endpoint) -> None:
    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        answer = await ask()
        if operation == "update_table":
            raise StoreRejected(NAME, "test", "ValidationException: attempting to create an index which already exists")
        return answer

    assert await Bench(older, tamper).apply() == CURRENT
    assert (await of(older).state()).refusal is None


async def test_a_table_that_another_run_has_just_made_is_taken(endpoint: Endpoint) -> None:
    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        answer = await ask()
        if operation == "create_table":
            raise InUse(NAME, "test", "the table is there already")
        return answer

    assert await Bench(endpoint, tamper).apply() == CURRENT
    assert (await of(endpoint).state()).refusal is None


async def test_what_dynamodb_refuses_is_passed_on(older: Endpoint, dynamodb: Client) -> None:
    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        if operation == "update_table":
            raise StoreRejected(NAME, "test", "this AWS identity may not dynamodb:UpdateTable")
        return await ask()

    with pytest.raises(StoreRejected, match="UpdateTable"):
        await Bench(older, tamper).apply()
    assert await record(dynamodb) == {}


async def test_a_server_that_is_away_is_told(endpoint: Endpoint) -> None:
    nobody = Endpoint(endpoint.table, REGION, "http://127.0.0.1:1", KEY, KEY)
    with pytest.raises(StoreUnavailable):
        await of(nobody, timeout=0.5).state()
    with pytest.raises(StoreUnavailable):
        await of(nobody, timeout=0.5).apply(lambda _: None)


# TTL


async def test_ttl_on_another_attribute_is_named_and_left(older: Endpoint, dynamodb: Client) -> None:
    await dynamodb.call(
        "update_time_to_live",
        "test",
        TableName=older.table,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "ExpiresAt"},
    )
    for _ in range(2):
        await of(older).apply(lambda _: None)

    state = await of(older).state()

    assert state.differences == (
        "TTL is on for the attribute ExpiresAt, not TTL: DynamoDB deletes by another program's times",
    )
    assert state.refusal is None


async def test_an_identity_that_may_not_look_at_ttl_is_no_failure(older: Endpoint) -> None:
    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        if operation.endswith("time_to_live"):
            raise StoreRejected(NAME, "test", "this AWS identity may not dynamodb:DescribeTimeToLive on it")
        return await ask()

    bench = Bench(older, tamper)
    unseen = "whether TTL is on cannot be seen"
    why = "this AWS identity may not dynamodb:DescribeTimeToLive on it"

    assert await bench.apply() == CURRENT

    assert bench.told[-1] == f"{unseen}, so it stays as it is: {why}"
    state = await bench.schema.state()
    assert (state.differences, state.refusal) == ((f"{unseen}: {why}",), None)


async def test_ttl_that_another_run_has_just_switched_on_is_taken(older: Endpoint) -> None:
    async def tamper(operation: str, ask: Ask) -> dict[str, Any]:
        answer = await ask()
        if operation == "update_time_to_live":
            raise StoreRejected(NAME, "test", "ValidationException: TimeToLive is already enabled")
        return answer

    assert await Bench(older, tamper).apply() == CURRENT
    assert (await of(older).state()).differences == ()


# Versions side by side


async def test_a_later_versions_schema_is_no_reason_to_refuse_and_is_left_alone(
    endpoint: Endpoint, dynamodb: Client
) -> None:
    await of(endpoint).apply(lambda _: None)
    await leave_later(dynamodb)
    assert (await of(endpoint).state()).applied == (*CURRENT, "9999_later")
    assert (await of(endpoint).state()).refusal is None

    await drop_work_index(dynamodb)
    assert await of(endpoint).apply(lambda _: None) == ()
    assert await indexes(dynamodb) == {"StatusIndex"}


async def test_a_schema_that_no_longer_serves_this_version_is_refused_first(
    endpoint: Endpoint, dynamodb: Client
) -> None:
    await of(endpoint).apply(lambda _: None)
    await leave_later(dynamodb)
    await serve_from(dynamodb, "99.0.0")
    await drop_work_index(dynamodb)

    refusal = (await of(endpoint).state()).refusal

    assert refusal is not None
    assert "serves mailculator 99.0.0 and later" in refusal
    assert (await of(endpoint, version="99.0.0").state()).refusal == f"WorkIndex is missing; {APPLY}"


async def test_applying_it_again_does_not_lower_what_a_later_version_raised(
    endpoint: Endpoint, dynamodb: Client
) -> None:
    await of(endpoint).apply(lambda _: None)
    await serve_from(dynamodb, "0.5.0")
    await change_record(dynamodb, "SET #a = :none", {"#a": schema.APPLIED}, {":none": {"M": {}}})

    assert await of(endpoint).apply(lambda _: None) == CURRENT

    assert (await of(endpoint).state()).oldest_service == "0.5.0"


# As the service and the command line come by it


async def test_the_service_does_not_start_without_it(address: str) -> None:
    settings = Settings(
        email_outbox_table=f"schema-{os.getpid()}-{next(_numbers)}",
        aws_region=REGION,
        aws_endpoint_url=address,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
    )
    with pytest.raises(SchemaError, match=f"does not exist; {APPLY}"):
        await open_store(settings, service=True)

    await open_schema(settings).apply(lambda _: None)

    assert (await open_schema(settings).state()).refusal is None
