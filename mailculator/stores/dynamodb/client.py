"""The one place that speaks to DynamoDB: calls, tries, deadlines, and what its errors mean.

botocore is told to try once; what is tried again, how often and after which pause is decided here, under one
deadline. What the errors mean stands in errors.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from botocore import exceptions as boto

from mailculator.errors import StoreError, StoreUnavailable
from mailculator.events import Observer, StoreNoticed, ignore
from mailculator.stores.dynamodb import errors
from mailculator.stores.dynamodb.clock import ServerClock
from mailculator.stores.dynamodb.connection import CONNECT_TIMEOUT, READ_TIMEOUT, Endpoint, Link, open_link, silence
from mailculator.stores.dynamodb.errors import NAME, Failure, Kind
from mailculator.stores.dynamodb.pacing import Pacing

__all__ = ["Client", "Endpoint", "connect"]

TRIES = 8
FIRST_PAUSE = 0.03
LONGEST_PAUSE = 1.0
"""Seconds. Before try n + 2 comes a random part of `FIRST_PAUSE` * 2 ** n, of `LONGEST_PAUSE` at the most."""

TRY_TIMEOUT = CONNECT_TIMEOUT + READ_TIMEOUT + 0.5
"""Seconds for one try, whatever happens in it: a trickle of bytes resets a read timeout, and looking up credentials or
waiting for a free connection has none."""

LOOK_UP_EVERY = 60.0
"""Seconds between two look-ups of credentials that had expired: a fixed token in the environment stays expired."""

WRITES_PER_SECOND = 700.0

NOTICE_EVERY = 1.0
"""Seconds between two notices that we are throttled."""

_WRITES = frozenset({"put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item"})
_UNPROCESSED = {"batch_get_item": "UnprocessedKeys", "batch_write_item": "UnprocessedItems"}
_CHANGES_OF_TABLES = frozenset({"create_table", "update_table", "delete_table", "update_time_to_live"})


class Client:
    """Made by `connect`.

    Arguments:
        link: closed with the client.
        open_link: makes another, looking up the credentials anew.
        timeout: seconds for one call: every try, every pause.
        wait: waits that many seconds.

    `clock` tells the service's time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        link: Link,
        open_link: Callable[[], Awaitable[Link]],
        *,
        timeout: float,
        observer: Observer,
        rng: random.Random,
        monotonic: Callable[[], float],
        wait: Callable[[float], Awaitable[object]],
        writes_per_second: float,
    ) -> None:
        self.endpoint = endpoint
        self._table = f"{endpoint.table} in {endpoint.place}"
        self._not_dynamodb = f"the answer of {endpoint.place} is not one of DynamoDB's"
        self.clock = ServerClock(monotonic=monotonic, observer=observer)
        self._open_link = open_link
        self._timeout = timeout
        self._observer = observer
        self._rng = rng
        self._monotonic = monotonic
        self._wait = wait
        self._pacing = Pacing(writes_per_second, clock=monotonic)
        self._throttles = 0
        self._noticed = float("-inf")
        self._link = link
        self._opening = asyncio.Lock()
        self._looked_up = float("-inf")
        self._closed = False

    async def call(self, operation: str, op: str, *, retry_conflict: bool = True, **request: Any) -> dict[str, Any]:
        """Ask for one operation until it is answered, tries run out or time does.

        A batch is asked for until all of it was processed; the answers are merged into one.

        Arguments:
            operation: botocore's name of it (`update_item`).
            op: what it is for, for errors.
            retry_conflict: False: another's transaction on the item is an answer (Conflict), not a reason to wait.
            request: botocore's arguments. The same request goes out at every try; a transaction's
                `ClientRequestToken` makes that safe, a single write needs a condition by which its own is recognised.

        Errors: ConditionFailed, Cancelled, Conflict, InUse, StoreUnavailable, StoreRejected.
        """
        deadline = self._monotonic() + self._timeout
        unprocessed = _UNPROCESSED.get(operation)
        if unprocessed is None:
            return await self._answer(operation, op, deadline, request, retry_conflict=retry_conflict)
        answers: list[dict[str, Any]] = []
        while True:
            answer = await self._answer(operation, op, deadline, request, retry_conflict=retry_conflict)
            answers.append(answer)
            rest = answer.get(unprocessed)
            if not rest:
                return _merged(answers)
            request = {**request, "RequestItems": rest}
            self._throttled(operation, unprocessed)
            failure = Failure(Kind.THROTTLED, f"{unprocessed} left", None)
            await self._pause(failure, op, len(answers), deadline)

    async def close(self) -> None:
        """Close the connections. Safe to call twice; a call after it raises StoreUnavailable."""
        if not self._closed:
            self._closed = True
            await self._link.close()

    async def _answer(
        self, operation: str, op: str, deadline: float, request: dict[str, Any], *, retry_conflict: bool
    ) -> dict[str, Any]:
        writes = _writes(operation, request)
        tries = 0
        while True:
            if writes:
                await self._turn(writes, op, deadline)
            if self._closed:
                raise self._gone(op)
            tries += 1
            link = self._link
            answer = await self._try(link, operation, request, deadline)
            if not isinstance(answer, Failure):
                return answer
            if answer.kind is Kind.EXPIRED and await self._look_up(link, op):
                continue
            if not _again(answer.kind, operation, retry_conflict=retry_conflict):
                raise answer.error(op, tries) from answer.cause
            if answer.kind is Kind.THROTTLED:
                self._throttled(operation, answer.detail)
            await self._pause(answer, op, tries, deadline)

    async def _try(
        self, link: Link, operation: str, request: dict[str, Any], deadline: float
    ) -> dict[str, Any] | Failure:
        ask = getattr(link.enter(), operation)
        sent = self._monotonic()
        try:
            async with asyncio.timeout(min(TRY_TIMEOUT, max(deadline - sent, 0.0))):
                answer: dict[str, Any] = await ask(**request)
        except boto.ClientError as error:
            self._heard(error.response, sent)
            return errors.read(error.response, self._table, error)
        except boto.BotoCoreError as error:
            return silence(error, self.endpoint.place)
        except TimeoutError as error:
            return Failure(Kind.AWAY, f"no answer from {self.endpoint.place} in time", error)
        except Exception as error:
            # What botocore raises over an answer that it cannot read is anybody's guess.
            return Failure(Kind.AWAY, f"{self._not_dynamodb} ({type(error).__name__})", error)
        finally:
            await link.leave()
        self._heard(answer, sent)
        if "RequestId" not in answer["ResponseMetadata"]:
            # A proxy's page with status 200 reads as an empty answer: no such record.
            return Failure(Kind.AWAY, self._not_dynamodb, None)
        return answer

    def _heard(self, answer: Mapping[str, Any], sent: float) -> None:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.clock.heard(headers.get("date"), sent, self._monotonic())

    async def _pause(self, failure: Failure, op: str, tries: int, deadline: float) -> None:
        pause = self._rng.uniform(0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tries - 1)))
        if tries >= TRIES or self._monotonic() + pause >= deadline:
            raise failure.error(op, tries) from failure.cause
        await self._wait(pause)

    async def _turn(self, writes: int, op: str, deadline: float) -> None:
        delay = self._pacing.reserve(writes, within=deadline - self._monotonic())
        if delay is None:
            raise StoreUnavailable(NAME, op, "held back: writes are being throttled, or are more than the rate set")
        if delay > 0.0:
            await self._wait(delay)

    def _throttled(self, operation: str, detail: str) -> None:
        # Reads have limits of their own: slower writes would not help them.
        if operation in _WRITES:
            self._pacing.throttled()
        self._throttles += 1
        now = self._monotonic()
        if now - self._noticed >= NOTICE_EVERY:
            count, self._throttles, self._noticed = self._throttles, 0, now
            self._observer(
                StoreNoticed(NAME, "throttled", detail=detail if count == 1 else f"{detail} ({count} times)")
            )

    async def _look_up(self, stale: Link, op: str) -> bool:
        """Change to a link with credentials looked up anew. False where that was done a moment ago."""
        async with self._opening:
            if self._link is stale:
                if self._monotonic() - self._looked_up < LOOK_UP_EVERY:
                    return False
                link = await self._open_link()
                self._looked_up = self._monotonic()
                if self._closed:
                    await link.close()
                    raise self._gone(op)
                self._link = link
        await stale.retire()
        return True

    def _gone(self, op: str) -> StoreUnavailable:
        return StoreUnavailable(NAME, op, "the store is closed")


def _again(kind: Kind, operation: str, *, retry_conflict: bool) -> bool:
    match kind:
        case Kind.AWAY | Kind.THROTTLED:
            return True
        case Kind.CONFLICT:
            return retry_conflict
        case Kind.IN_USE:
            return operation not in _CHANGES_OF_TABLES
    return False


def _writes(operation: str, request: Mapping[str, Any]) -> int:
    if operation not in _WRITES:
        return 0
    if operation == "transact_write_items":
        return len(request["TransactItems"])
    if operation == "batch_write_item":
        return sum(len(writes) for writes in request["RequestItems"].values())
    return 1


def _merged(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer of a batch's parts."""
    merged = answers[-1]
    if len(answers) == 1:
        return merged
    found: dict[str, list[Any]] = {}
    for answer in answers:
        for table, items in answer.get("Responses", {}).items():
            found.setdefault(table, []).extend(items)
    capacity = [one for answer in answers for one in answer.get("ConsumedCapacity", ())]
    return {**merged, "Responses": found, "ConsumedCapacity": capacity}


async def connect(
    endpoint: Endpoint,
    *,
    timeout: float,  # noqa: ASYNC109  # of a call, not of this one
    observer: Observer = ignore,
    rng: random.Random | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    writes_per_second: float = WRITES_PER_SECOND,
) -> Client:
    """A client that has been answered once, so that it knows the service's time.

    The question is DescribeTable. A refusal of it (no right, no table, a wrong key) is as good: every HTTP answer has
    a `Date`. Whether the table can be used is for the caller to ask.

    Arguments:
        timeout: seconds for one call, all tries included; under 10, and under a quarter of a lease.
        rng: spreads the pauses.
        monotonic: seconds; not the wall clock.
        wait: waits that many seconds.
        writes_per_second: the most that this process writes; less while the service throttles.

    Errors: StoreUnavailable when nothing answers, StoreRejected when there are no credentials or they cannot be ones.
    """
    client = Client(
        endpoint,
        await open_link(endpoint),
        partial(open_link, endpoint),
        timeout=timeout,
        observer=observer,
        rng=rng or random.Random(),
        monotonic=monotonic,
        wait=wait,
        writes_per_second=writes_per_second,
    )
    try:
        await client.call("describe_table", "connect", TableName=endpoint.table)
    except StoreError:
        if not client.clock.known:
            await client.close()
            raise
    except BaseException:
        await client.close()
        raise
    return client
