"""How often something is asked for, with which pauses, and what becomes of it in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore import exceptions as boto

from mailculator.config import load
from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.events import StoreNoticed
from mailculator.stores.dynamodb.client import LOOK_UP_EVERY, TRIES, Endpoint
from mailculator.stores.dynamodb.errors import Cancelled, ConditionFailed, Conflict, InUse
from tests.support.events import Recording
from tests.unit.stores_dynamodb.fakes import DATE_EPOCH, Boto, Time, cancelled, client, good, refused

URL = "http://user:hunter2@dynamodb.example:8000"
NO_ANSWER: list[Exception] = [
    boto.EndpointConnectionError(endpoint_url=URL),
    boto.ConnectTimeoutError(endpoint_url=URL),
    boto.ReadTimeoutError(endpoint_url=URL),
    boto.ConnectionClosedError(endpoint_url=URL),
    boto.SSLError(endpoint_url=URL, error=ValueError("certificate verify failed")),
    boto.HTTPClientError(error=RuntimeError("Session is closed")),
    boto.CredentialRetrievalError(provider="sso", error_msg="hunter2"),
    TimeoutError(),
    KeyError("what botocore did not expect"),
]


@pytest.mark.parametrize(
    "failure",
    [
        *NO_ANSWER,
        refused("InternalServerError", status=500),
        refused("500", status=500),
        refused("ServiceUnavailable", status=503),
        refused("ThrottlingException"),
        refused("ProvisionedThroughputExceededException"),
        refused("RequestLimitExceeded"),
        refused("TransactionConflictException"),
        refused("TransactionInProgressException"),
        refused("ReplicatedWriteConflictException"),
        refused("ResourceInUseException"),
        cancelled("None", "TransactionConflict"),
        cancelled("ThrottlingError"),
        cancelled("None"),
    ],
    ids=repr,
)
async def test_what_may_pass_is_tried_again(failure: Exception) -> None:
    away = Boto(failure)
    with pytest.raises(StoreUnavailable, match=r"\(8 tries\)") as caught:
        await client(away).call("update_item", "record", Key="k")
    assert len(away.requests) == TRIES
    assert caught.value.__cause__ is failure
    assert "hunter2" not in str(caught.value)

    passing = Boto(failure, failure, good(Attributes={}))
    answer = await client(passing).call("update_item", "record", Key="k")
    assert answer["Attributes"] == {}
    assert passing.requests == [{"Key": "k"}] * 3


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (refused("ConditionalCheckFailedException"), ConditionFailed),
        (cancelled("None", "ConditionalCheckFailed"), Cancelled),
        (cancelled("ValidationError"), StoreRejected),
        (refused("ValidationException"), StoreRejected),
        (refused("ResourceNotFoundException"), StoreRejected),
        (refused("AccessDeniedException"), StoreRejected),
        (refused("UnrecognizedClientException"), StoreRejected),
        (refused("IdempotentParameterMismatchException"), StoreRejected),
        (boto.ParamValidationError(report="Invalid type for Item.Id, value: hunter2"), StoreRejected),
        (boto.NoCredentialsError(), StoreRejected),
    ],
    ids=repr,
)
async def test_what_is_settled_is_asked_once(failure: Exception, error: type[Exception]) -> None:
    settled = Boto(failure)
    with pytest.raises(error) as caught:
        await client(settled).call("update_item", "record")
    assert len(settled.requests) == 1
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("failure", [refused("TransactionConflictException"), cancelled("TransactionConflict")])
async def test_a_conflict_is_an_answer_to_a_claim(failure: Exception) -> None:
    busy = Boto(failure)
    with pytest.raises(Conflict):
        await client(busy).call("transact_write_items", "claim", retry_conflict=False, TransactItems=[{}])
    assert len(busy.requests) == 1


async def test_a_transaction_goes_out_again_under_its_token() -> None:
    busy = Boto(cancelled("TransactionConflict"), boto.ReadTimeoutError(endpoint_url=URL), good())
    await client(busy).call("transact_write_items", "claim", TransactItems=[{}], ClientRequestToken="t")
    assert busy.requests == [{"TransactItems": [{}], "ClientRequestToken": "t"}] * 3


async def test_a_change_of_the_table_is_not_waited_for() -> None:
    busy = Boto(refused("ResourceInUseException"))
    with pytest.raises(InUse):
        await client(busy).call("create_table", "schema")
    assert len(busy.requests) == 1


async def test_the_pauses_double_up_to_a_second() -> None:
    time = Time()
    with pytest.raises(StoreUnavailable):
        await client(Boto(refused("500", status=500)), time=time).call("get_item", "get")
    assert time.waits == pytest.approx([0.03, 0.06, 0.12, 0.24, 0.48, 0.96, 1.0])


async def test_no_try_begins_behind_the_deadline() -> None:
    time = Time()
    away = Boto(refused("500", status=500))
    with pytest.raises(StoreUnavailable, match=r"HTTP 500 \(4 tries\)"):
        await client(away, time=time, timeout=0.4).call("get_item", "get")
    assert len(away.requests) == 4
    assert time.now - 100.0 < 0.4


async def test_a_try_without_an_answer_ends_with_the_deadline() -> None:
    async def silence() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    silent = Boto(silence)
    with pytest.raises(StoreUnavailable, match="no answer from eu-west-1 in time") as caught:
        await client(silent, timeout=0.0).call("get_item", "get")
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert len(silent.requests) == 1


@pytest.mark.parametrize("where", ["try", "pause"])
async def test_a_cancelled_call_ends_at_once(where: str) -> None:
    reached = asyncio.Event()

    async def never(*_: float) -> dict[str, Any]:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    time = Time()
    if where == "pause":
        time.wait = never  # type: ignore[method-assign,assignment]
    asked = Boto(never if where == "try" else refused("500", status=500))
    opened = client(asked, time=time)
    before = asyncio.all_tasks()
    task = asyncio.create_task(opened.call("update_item", "record"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asked.requests) == 1
    assert asyncio.all_tasks() == before
    await opened.close()
    assert asked.closed == 1


async def test_an_answer_that_is_not_dynamodbs_is_no_absent_record() -> None:
    page = {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}}}
    asked = Boto(page, good(Item={"Id": {"S": "1"}}))
    answer = await client(asked).call("get_item", "get")
    assert answer["Item"] == {"Id": {"S": "1"}}
    assert len(asked.requests) == 2


async def test_the_clock_learns_from_answers_and_from_refusals() -> None:
    opened = client(Boto(refused("ValidationException")))
    with pytest.raises(StoreRejected):
        await opened.call("get_item", "get")
    assert opened.clock.now() == pytest.approx(DATE_EPOCH, abs=1.0)


class TestExpiredToken:
    async def test_credentials_are_looked_up_and_the_request_repeated(self) -> None:
        stale, fresh, time = Boto(refused("ExpiredTokenException")), Boto(good()), Time()
        opened = client(stale, fresh, time=time)
        await opened.call("update_item", "record", Key="k")
        assert (stale.requests, fresh.requests) == ([{"Key": "k"}], [{"Key": "k"}])
        assert time.waits == []
        assert stale.closed == 1
        await opened.close()
        assert (stale.closed, fresh.closed) == (1, 1)

    async def test_once_for_all_who_wait(self) -> None:
        stale, fresh = Boto(refused("ExpiredTokenException")), Boto(good())
        opened = client(stale, fresh)
        await asyncio.gather(*(opened.call("update_item", "record") for _ in range(5)))
        assert len(fresh.requests) == 5
        await opened.close()

    async def test_what_stays_expired_is_refused_and_not_looked_up_at_every_call(self) -> None:
        time = Time()
        expired = [Boto(refused("ExpiredTokenException")) for _ in range(3)]
        opened = client(*expired, time=time)
        for _ in range(2):
            with pytest.raises(StoreRejected, match="session token has expired"):
                await opened.call("update_item", "record")
        assert [len(one.requests) for one in expired] == [1, 2, 0]
        time.now += LOOK_UP_EVERY
        with pytest.raises(StoreRejected):
            await opened.call("update_item", "record")
        assert [len(one.requests) for one in expired] == [1, 3, 1]
        await opened.close()

    async def test_the_old_connection_closes_behind_its_last_user(self) -> None:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> dict[str, Any]:
            arrived.set()
            await go_on.wait()
            return good()

        stale, fresh = Boto(slow, refused("ExpiredTokenException")), Boto(good())
        opened = client(stale, fresh)
        late = asyncio.create_task(opened.call("get_item", "get"))
        await arrived.wait()
        await opened.call("update_item", "record")
        assert stale.closed == 0
        go_on.set()
        await late
        assert stale.closed == 1
        await opened.close()


class TestBatches:
    async def test_what_was_left_is_asked_for_again_and_only_that(self) -> None:
        first = good(Responses={"T": [{"Id": {"S": "1"}}]}, UnprocessedKeys={"T": {"Keys": ["2", "3"]}})
        second = good(Responses={"T": [{"Id": {"S": "2"}}]}, UnprocessedKeys={"T": {"Keys": ["3"]}})
        third = good(Responses={"T": [{"Id": {"S": "3"}}]}, UnprocessedKeys={})
        asked, time = Boto(first, second, third), Time()
        answer = await client(asked, time=time).call("batch_get_item", "inbox", RequestItems={"T": {"Keys": ["…"]}})
        assert answer["Responses"] == {"T": [{"Id": {"S": number}} for number in "123"]}
        assert not answer["UnprocessedKeys"]
        assert [one["RequestItems"]["T"]["Keys"] for one in asked.requests] == [["…"], ["2", "3"], ["3"]]
        assert len(time.waits) == 2

    async def test_a_batch_that_is_never_processed_is_given_up(self) -> None:
        asked = Boto(good(UnprocessedItems={"T": [{"DeleteRequest": {}}]}))
        with pytest.raises(StoreUnavailable, match=r"UnprocessedItems left \(8 tries\)"):
            await client(asked).call("batch_write_item", "inbox", RequestItems={"T": [{}, {}]})
        assert len(asked.requests) == TRIES


class TestThrottling:
    async def test_it_is_noticed_once_a_second_with_its_reason(self) -> None:
        reason = {"reason": "IndexWriteKeyRangeThroughputExceeded", "resource": "arn:…:table/Outbox/index/StatusIndex"}
        asked = Boto(refused("ThrottlingException", throttlingReasons=[reason]))
        seen, time = Recording(), Time()
        with pytest.raises(StoreUnavailable, match="IndexWriteKeyRangeThroughputExceeded"):
            await client(asked, time=time, observer=seen).call("update_item", "record")
        words = "IndexWriteKeyRangeThroughputExceeded Outbox/index/StatusIndex"
        notices = seen.of(StoreNoticed)
        assert [(one.kind, one.detail) for one in notices[:2]] == [
            ("throttled", words),
            ("throttled", f"{words} (6 times)"),
        ]
        assert len(notices) <= 1 + (time.now - 100.0)

    async def test_writes_are_slowed_and_reads_are_not(self) -> None:
        for operation, expected in (("update_item", 350.0), ("query", 700.0)):
            time = Time()
            asked = Boto(refused("ThrottlingException"), good())
            opened = client(asked, time=time)
            await opened.call(operation, "x")
            time.waits.clear()
            began = time.now
            for _ in range(2000):
                await opened.call("put_item", "x")
            # A burst of one second apart, at the rate that is left.
            rate = 2000 / (time.now - began + (1.0 if operation == "query" else 0.0))
            assert rate == pytest.approx(expected, rel=0.15)

    async def test_writes_that_would_wait_for_too_long_are_refused_before_they_leave(self) -> None:
        asked = Boto(good())
        opened = client(asked, timeout=1.0, writes_per_second=1.0)
        await opened.call("transact_write_items", "claim", TransactItems=[{}] * 5)
        with pytest.raises(StoreUnavailable, match="held back"):
            await opened.call("update_item", "record")
        assert len(asked.requests) == 1
        await opened.call("get_item", "get")


class TestClose:
    async def test_twice_is_once(self) -> None:
        asked = Boto(good())
        opened = client(asked)
        await opened.close()
        await opened.close()
        assert asked.closed == 1

    async def test_a_call_behind_it_is_refused(self) -> None:
        asked = Boto(good())
        opened = client(asked)
        await opened.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await opened.call("get_item", "get")
        assert asked.requests == []

    async def test_a_call_that_pauses_meanwhile_is_not_taken_up_again(self) -> None:
        asked, time = Boto(refused("500", status=500)), Time()
        opened = client(asked, time=time)

        async def closing(seconds: float) -> None:
            await opened.close()

        opened._wait = closing
        with pytest.raises(StoreUnavailable, match="closed"):
            await opened.call("get_item", "get")
        assert len(asked.requests) == 1


class TestEndpoint:
    def test_it_shows_no_secret(self) -> None:
        endpoint = Endpoint("Outbox", "eu-west-1", None, "AKIA1", "hunter2", "session")
        shown = repr(endpoint) + str(endpoint)
        assert "Outbox" in shown
        assert not any(secret in shown for secret in ("AKIA1", "hunter2", "session"))

    def test_its_place_is_the_region_or_the_host(self) -> None:
        assert Endpoint("T", "eu-west-1").place == "eu-west-1"
        assert Endpoint("T", "eu-west-1", URL).place == "dynamodb.example:8000"

    def test_it_comes_from_the_settings(self) -> None:
        environment = {
            "DYNAMODB_PIPELINES_ENABLED": "true",
            "EMAIL_OUTBOX_TABLE": "Outbox",
            "AWS_REGION": "eu-south-1",
            "AWS_BASE_ENDPOINT": "http://127.0.0.1:8000",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "s",
        }
        settings = load(environment, needs=frozenset({"store"}))
        assert Endpoint.of(settings) == Endpoint("Outbox", "eu-south-1", "http://127.0.0.1:8000", "a", "s", None)

    def test_without_keys_botocore_looks_for_them(self) -> None:
        environment = {"DYNAMODB_PIPELINES_ENABLED": "true", "EMAIL_OUTBOX_TABLE": "Outbox", "AWS_REGION": "eu-south-1"}
        settings = load(environment, needs=frozenset({"store"}))
        assert Endpoint.of(settings) == Endpoint("Outbox", "eu-south-1", None, None, None, None)
