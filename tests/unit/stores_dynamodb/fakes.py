"""A botocore client that answers what a test says, and time that only passes where somebody waits."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.exceptions import ClientError

from mailculator.events import Observer, ignore
from mailculator.stores.dynamodb.client import Client, Endpoint
from mailculator.stores.dynamodb.connection import Link

DATE = "Fri, 20 Nov 2026 12:00:00 GMT"
DATE_EPOCH = 1_795_176_000.0

Answer = dict[str, Any] | BaseException | Callable[[], Awaitable[dict[str, Any]]]


def good(**fields: Any) -> dict[str, Any]:
    return {**fields, "ResponseMetadata": {"RequestId": "r", "HTTPStatusCode": 200, "HTTPHeaders": {"date": DATE}}}


def refused(code: str, message: str = "", *, status: int = 400, **fields: Any) -> ClientError:
    metadata = {"RequestId": "r", "HTTPStatusCode": status, "HTTPHeaders": {"date": DATE}}
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata, **fields}
    return ClientError(response, "UpdateItem")


def cancelled(*codes: str) -> ClientError:
    return refused("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


class Time:
    """Monotonic seconds; `wait` lets them pass at once, and keeps how many."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Boto:
    """Answers in turn, the last of them for ever; every operation is the same to it."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.closed = 0

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def ask(**request: Any) -> dict[str, Any]:
            self.requests.append(request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, BaseException):
                raise answer
            return await answer() if callable(answer) else answer

        return ask

    async def __aenter__(self) -> Boto:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.closed += 1

    def link(self) -> Link:
        return Link(self, self)


class Longest(random.Random):
    """Draws the longest pause every time."""

    def uniform(self, a: float, b: float) -> float:
        return b


def client(
    boto: Boto,
    *others: Boto,
    time: Time | None = None,
    observer: Observer = ignore,
    timeout: float = 10.0,
    writes_per_second: float = 700.0,
) -> Client:
    """A client on `boto`; credentials looked up anew lead to the others, in turn."""
    time = time or Time()
    rest = list(others)

    async def open_link() -> Link:
        return rest.pop(0).link()

    return Client(
        Endpoint("Outbox", "eu-west-1"),
        boto.link(),
        open_link,
        timeout=timeout,
        observer=observer,
        rng=Longest(),
        monotonic=time,
        wait=time.wait,
        writes_per_second=writes_per_second,
    )
