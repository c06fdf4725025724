"""A table of its own for each test of the DynamoDB store, with stores on it that a test opens as it needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mailculator.lifecycle import (
    FAILED_CALLBACK,
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
from mailculator.stores.dynamodb.client import Endpoint
from mailculator.stores.dynamodb.store import DynamodbStore, open_queue
from tests.support.dynamodb_harness import DynamodbHarness
from tests.support.dynamodb_records import Item, Records
from tests.support.events import Recording
from tests.support.moto_server import KEY, REGION

LEASE = 60.0
FOREIGN_HOLD = 1800.0
OUTCOMES: dict[str, Outcome] = {
    INTAKE.name: Prepared("example.com"),
    SENDER.name: Sent("250 ok"),
    SENT_CALLBACK.name: Acknowledged("200"),
    FAILED_CALLBACK.name: Acknowledged("200"),
}
"""What becomes of an email at each stage where nothing goes wrong."""


@dataclass
class Time:
    """A monotonic clock that a test moves."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Opened:
    """One store, as one replica opens it, and what it told."""

    store: DynamodbStore
    told: Recording
    time: Time

    def notices(self, kind: str) -> list[str | None]:
        """The emails that notices of a kind were about, in their order."""
        from mailculator.events import StoreNoticed

        return [event.email_id for event in self.told.of(StoreNoticed) if event.kind == kind]

    async def claim(self, stage: Stage, limit: int = 100) -> list[Email]:
        return await self.store.claim(stage, limit, lease=LEASE, holder="replica-1")

    async def claim_all(self, stage: Stage, count: int) -> list[Email]:
        """That many, in as many claims as it takes: on a busy machine some get no answer in time."""
        claimed: list[Email] = []
        for _ in range(20):
            claimed += await self.claim(stage)
            if len(claimed) >= count:
                return claimed
            self.time.at += 2.0
        raise AssertionError(f"{len(claimed)} of {count} at {stage.name}")

    async def record(self, *results: tuple[Email, Outcome]) -> list[Recorded]:
        return await self.store.record([move(email, outcome) for email, outcome in results])

    async def work(self, outcomes: Mapping[str, Outcome], *, rounds: int = 3) -> list[Email]:
        """What is due at every stage, each email to the outcome of its stage. Returns all that was claimed."""
        worked: list[Email] = []
        for _ in range(rounds):
            for stage in STAGES:
                self.time.at += 2.0  # so that the index is looked at anew
                claimed = await self.claim(stage)
                answers = await self.record(*((email, outcomes[stage.name]) for email in claimed))
                assert answers == [Recorded.DONE] * len(claimed)
                worked += claimed
        return worked


@dataclass
class Bench:
    """The table, and the stores on it."""

    harness: DynamodbHarness
    opened: list[Opened] = field(default_factory=list)

    @property
    def records(self) -> Records:
        """The table as other programs see it."""
        return self.harness.records

    @property
    def endpoint(self) -> Endpoint:
        """The table as a store is told of it."""
        return self.harness.endpoint

    @property
    def variables(self) -> dict[str, object]:
        """The table as the service is told of it."""
        return {
            "DYNAMODB_PIPELINES_ENABLED": "true",
            "EMAIL_OUTBOX_TABLE": self.endpoint.table,
            "AWS_REGION": REGION,
            "AWS_BASE_ENDPOINT": self.endpoint.endpoint_url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
        }

    async def open(self, **options: Any) -> Opened:
        """One more replica; options as of open_queue."""
        told, time = Recording(), Time()
        store = await open_queue(self.endpoint, **{"service": False, "observer": told, "monotonic": time, **options})
        one = Opened(store, told, time)
        self.opened.append(one)
        return one

    async def meta(self, email_id: str) -> Item:
        """An email's record, which must be there."""
        found = await self.records.get(email_id)
        assert found is not None, f"{email_id} is gone"
        return found

    async def statuses(self, ids: Sequence[str]) -> dict[str, str]:
        """`Latest` of each, as other programs see it."""
        return {email_id: (await self.meta(email_id))["Attributes"]["Latest"] for email_id in ids}


@asynccontextmanager
async def fresh_bench(harness: DynamodbHarness) -> AsyncIterator[Bench]:
    """A new table with the current schema; the stores on it are closed in the end."""
    await harness.fresh()
    bench = Bench(harness)
    try:
        yield bench
    finally:
        for one in bench.opened:
            await one.store.close()
