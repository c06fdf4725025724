"""The client over real connections, to a server that speaks DynamoDB's JSON, breaks in every way and counts."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mailculator.errors import StoreError, StoreRejected, StoreUnavailable
from mailculator.events import Observer, StoreNoticed, ignore
from mailculator.stores.dynamodb import client, connection
from mailculator.stores.dynamodb.client import Client, Endpoint
from mailculator.stores.dynamodb.errors import Cancelled, ConditionFailed, Conflict, Reason
from tests.support.dynamodb_stub import EPOCH, RESET, SILENCE, Reply, Server, error
from tests.support.events import Recording
from tests.support.moto_server import KEY, REGION, MotoServer, shared_moto

ITEM = {"Id": {"S": "1"}, "Status": {"S": "_META"}}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.close()


class Waits:
    """Passes no time, and keeps how many pauses there were."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


Connect = Callable[..., Awaitable[Client]]


def tasks() -> set[asyncio.Task[Any]]:
    """What runs beside the test and the server's side of its connections."""
    return {task for task in asyncio.all_tasks() if "Server._serve" not in repr(task)} - {asyncio.current_task()}


@pytest.fixture
async def connect(server: Server, waits: Waits) -> AsyncIterator[Connect]:
    opened: list[Client] = []
    url = await server.start()
    endpoint = Endpoint("Outbox", REGION, url, KEY, KEY)

    async def connect(*, observer: Observer = ignore) -> Client:
        made = await client.connect(
            endpoint,
            timeout=60.0,
            observer=observer,
            wait=waits,
            rng=random.Random(1),
            writes_per_second=1e9,  # so that every wait is a pause between two tries
        )
        opened.append(made)
        return made

    before = tasks()
    yield connect
    for one in opened:
        await one.close()
    assert tasks() <= before


async def update(opened: Client, **options: Any) -> dict[str, Any]:
    return await opened.call("update_item", "record", TableName="Outbox", Key=ITEM, **options)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error("ThrottlingException"), "ThrottlingException"),
        (error("ProvisionedThroughputExceededException"), "ProvisionedThroughputExceededException"),
        (error("RequestLimitExceeded"), "RequestLimitExceeded"),
        (error("InternalServerError", "oops", 500), "InternalServerError: oops"),
        (error("TransactionConflictException"), "another transaction is under way"),
        (error("TransactionInProgressException"), "TransactionInProgressException"),
        (Reply("", 500), "HTTP 500"),
        (Reply("<html>Bad Gateway</html>", 502), "HTTP 502"),
        (Reply("<html>Welcome</html>"), "not one of DynamoDB's"),
        (Reply([]), "not one of DynamoDB's"),
        (RESET, "the connection to 127.0.0.1:"),
        (Reply({"Attributes": ITEM}, cut=9), "the connection to 127.0.0.1:"),
    ],
)
async def test_trouble_that_may_pass_is_tried_eight_times(
    server: Server, connect: Connect, waits: Waits, reply: Reply, words: str
) -> None:
    opened = await connect()
    server.script = [reply]
    with pytest.raises(StoreUnavailable) as caught:
        await update(opened)
    assert words in str(caught.value)
    assert len(server.requests) == 8
    assert len(waits.pauses) == 7
    server.script = [reply, reply, Reply({"Attributes": ITEM})]
    assert (await update(opened))["Attributes"] == ITEM


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error("ResourceNotFoundException"), "there is no table Outbox in 127.0.0.1:"),
        (
            error("AccessDeniedException", "… perform: dynamodb:UpdateItem on …"),
            "may not dynamodb:UpdateItem on Outbox",
        ),
        (error("UnrecognizedClientException"), "does not accept the access key"),
        (error("ValidationException", "The provided key element does not match"), "key element does not match"),
        (Reply("<html>Forbidden</html>", 403), "HTTP 403"),
    ],
)
async def test_what_an_operator_must_set_right_is_asked_once(
    server: Server, connect: Connect, reply: Reply, words: str
) -> None:
    opened = await connect()
    server.script = [reply]
    with pytest.raises(StoreRejected) as caught:
        await update(opened)
    assert words in str(caught.value)
    assert len(server.requests) == 1


async def test_a_failed_condition_brings_the_record(server: Server, connect: Connect) -> None:
    opened = await connect()
    server.script = [error("ConditionalCheckFailedException", "The conditional request failed", Item=ITEM)]
    with pytest.raises(ConditionFailed) as caught:
        await update(opened)
    assert caught.value.item == ITEM


async def test_a_reply_that_is_lost_behind_the_commit_ends_with_the_records_own_image(
    server: Server, connect: Connect
) -> None:
    opened = await connect()
    written = {**ITEM, "Token": {"S": "mine"}}
    server.script = [RESET, error("ConditionalCheckFailedException", Item=written)]
    with pytest.raises(ConditionFailed) as caught:
        await update(opened)
    assert caught.value.item == written
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


async def test_a_transaction_that_a_condition_refused(server: Server, connect: Connect) -> None:
    opened = await connect()
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "…", "Item": ITEM}]
    server.script = [error("TransactionCanceledException", CancellationReasons=reasons)]
    with pytest.raises(Cancelled) as caught:
        await opened.call("transact_write_items", "claim", TransactItems=TWO)
    assert caught.value.reasons == [Reason("None", None), Reason("ConditionalCheckFailed", ITEM)]
    assert len(server.requests) == 1


TWO = [{"Put": {"TableName": "Outbox", "Item": ITEM}}] * 2


async def test_a_transaction_in_conflict_goes_out_again_under_its_token(server: Server, connect: Connect) -> None:
    opened = await connect()
    conflict = error("TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}])
    server.script = [conflict, RESET, Reply({})]
    await opened.call("transact_write_items", "claim", TransactItems=TWO, ClientRequestToken="t")
    assert [request["ClientRequestToken"] for _, request in server.requests] == ["t"] * 3
    server.script = [conflict]
    with pytest.raises(Conflict):
        await opened.call("transact_write_items", "claim", retry_conflict=False, TransactItems=TWO)
    assert len(server.requests) == 4


async def test_unprocessed_keys_are_asked_for_again(server: Server, connect: Connect) -> None:
    opened = await connect()
    keys = [{"Id": {"S": number}} for number in "12"]
    server.script = [
        Reply({"Responses": {"Outbox": keys[:1]}, "UnprocessedKeys": {"Outbox": {"Keys": keys[1:]}}}),
        Reply({"Responses": {"Outbox": keys[1:]}, "UnprocessedKeys": {}}),
    ]
    answer = await opened.call("batch_get_item", "inbox", RequestItems={"Outbox": {"Keys": keys}})
    assert answer["Responses"]["Outbox"] == keys
    assert [request["RequestItems"]["Outbox"]["Keys"] for _, request in server.requests] == [keys, keys[1:]]


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
async def test_throttling_is_told_with_its_reason(server: Server, connect: Connect, spelling: str) -> None:
    seen = Recording()
    opened = await connect(observer=seen)
    code = "ThrottlingException" if spelling[0] == "t" else "ProvisionedThroughputExceededException"
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/Outbox/index/StatusIndex"
    reasons = [{"reason": "IndexWriteKeyRangeThroughputExceeded", "resource": arn}]
    server.script = [error(code, **{spelling: reasons}), Reply({})]  # type: ignore[arg-type]
    await update(opened)
    (notice,) = seen.of(StoreNoticed)
    assert notice == StoreNoticed(
        "dynamodb", "throttled", None, "IndexWriteKeyRangeThroughputExceeded Outbox/index/StatusIndex"
    )


async def test_a_server_that_stays_silent_is_asked_again(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "READ_TIMEOUT", 0.2)
    opened = await connect()
    server.script = [SILENCE]
    with pytest.raises(StoreUnavailable, match=r"no answer from 127\.0\.0\.1:\d+ in time \(8 tries\)"):
        await update(opened)
    assert len(server.requests) == 8


async def test_a_server_that_stays_silent_costs_no_more_than_the_deadline(server: Server, connect: Connect) -> None:
    opened = await connect()
    opened._timeout = 0.2  # far below the read timeout
    server.script = [SILENCE]
    with pytest.raises(StoreUnavailable, match=r"no answer from 127\.0\.0\.1:\d+ in time$") as caught:
        await update(opened)
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_a_server_that_went_away(server: Server, connect: Connect) -> None:
    opened = await connect()
    await server.close()
    with pytest.raises(StoreUnavailable, match=r"no connection to 127\.0\.0\.1:\d+ \(8 tries\)"):
        await update(opened)


async def test_a_call_that_is_cancelled_ends_at_once_and_leaves_nothing(server: Server, connect: Connect) -> None:
    opened = await connect()
    server.script = [SILENCE]
    before = tasks()
    server.arrived.clear()
    call = asyncio.create_task(update(opened))
    await server.arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert tasks() <= before
    assert len(server.requests) == 1
    server.script = [Reply({"Attributes": ITEM})]
    assert (await update(opened))["Attributes"] == ITEM


class TestConnect:
    async def test_the_servers_time_counts_and_not_the_machines(self, connect: Connect) -> None:
        opened = await connect()
        assert opened.clock.now() == pytest.approx(EPOCH + 0.5, abs=2.0)

    @pytest.mark.parametrize(
        "refusal",
        [error("AccessDeniedException"), error("ResourceNotFoundException"), error("UnrecognizedClientException")],
    )
    async def test_a_refusal_tells_the_time_as_well(self, server: Server, connect: Connect, refusal: Reply) -> None:
        server.described = refusal
        opened = await connect()
        assert opened.clock.now() == pytest.approx(EPOCH + 0.5, abs=2.0)

    async def test_an_endpoint_without_dates_falls_back_to_this_machine_and_says_so(
        self, server: Server, connect: Connect
    ) -> None:
        server.described = Reply({"Table": {}}, date=False)
        seen = Recording()
        opened = await connect(observer=seen)
        assert opened.clock.known
        assert [one.kind for one in seen.of(StoreNoticed)] == ["clock"]

    async def test_nobody_there(self, server: Server, connect: Connect) -> None:
        await server.close()
        with pytest.raises(StoreUnavailable, match=r"no connection to 127\.0\.0\.1:\d+ \(8 tries\)"):
            await connect()

    @pytest.mark.parametrize(
        "endpoint",
        [
            Endpoint("Outbox", "no such region!", None, KEY, KEY),
            Endpoint("Outbox", REGION, "::", KEY, KEY),
            Endpoint("Outbox", REGION, "http://127.0.0.1:1", "hunter2", None),
        ],
    )
    async def test_settings_that_cannot_be(self, endpoint: Endpoint) -> None:
        with pytest.raises(StoreRejected, match="the AWS settings cannot be used") as caught:
            await client.connect(endpoint, timeout=1.0)
        assert "hunter2" not in str(caught.value)


@pytest.fixture(scope="session")
async def moto() -> AsyncIterator[MotoServer]:
    async with shared_moto() as server:
        yield server


@pytest.fixture
async def emulator(moto: MotoServer) -> AsyncIterator[Client]:
    table = f"client-{os.getpid()}"
    opened = await client.connect(Endpoint(table, REGION, moto.endpoint, KEY, KEY), timeout=30.0)
    await opened.call(
        "create_table",
        "test",
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
    )
    yield opened
    await opened.call("delete_table", "test", TableName=table)
    await opened.close()


async def test_an_emulator_answers_as_the_stub_does(emulator: Client) -> None:
    table = emulator.endpoint.table
    item = {"Id": {"S": "1"}, "Version": {"N": "1"}}
    new: dict[str, Any] = {
        "TableName": table,
        "Item": item,
        "ConditionExpression": "attribute_not_exists(Id)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    await emulator.call("put_item", "enqueue", **new)
    with pytest.raises(ConditionFailed) as failed:
        await emulator.call("put_item", "enqueue", **new)
    assert failed.value.item == item
    other = {"Put": {"TableName": table, "Item": {"Id": {"S": "2"}}}}
    with pytest.raises(Cancelled) as cancelled:
        await emulator.call("transact_write_items", "claim", TransactItems=[{"Put": new}, other])
    assert cancelled.value.reasons == [Reason("ConditionalCheckFailed", item), Reason("None", None)]
    answer = await emulator.call("get_item", "get", TableName=table, Key={"Id": {"S": "2"}})
    assert "Item" not in answer
    with pytest.raises(StoreError) as missing:
        await emulator.call("get_item", "get", TableName="not-there", Key={"Id": {"S": "2"}})
    assert type(missing.value) is StoreRejected
