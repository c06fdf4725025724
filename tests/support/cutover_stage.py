"""A cutover on real queues: DynamoDB (moto), MariaDB, and the minutes that replicas would have noted in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mailculator import __version__, config
from mailculator.cutover.evidence import ACTIVE, NEW, OLD
from mailculator.lifecycle import Outcome, Stage, move
from mailculator.model import NewEmail, Status, StatusCount
from mailculator.stores import registry
from mailculator.stores.base import Minute, Store
from mailculator.stores.dynamodb.store import DynamodbStore
from tests.contract.steps import PATHS
from tests.support.dynamodb_records import OWN, Records
from tests.support.scenario import Variables
from tests.support.service import environment

MINUTE = timedelta(minutes=1)
REPLICAS = ("mail-1", "mail-2")
NOTHING = dict.fromkeys(ACTIVE, StatusCount(0))
WORKING = {"stores": f"{NEW},{OLD}", "guard": "on", "held": "0"}


@dataclass
class CutoverStage:
    """The two queues, and the environment of whoever types.

    Arguments:
        sql: one statement on MariaDB.
    """

    records: Records
    variables: Variables
    sql: Callable[..., Any]
    replicas: tuple[str, ...] = field(default=REPLICAS)

    @asynccontextmanager
    async def store(self, name: str) -> Any:
        """A queue as the command line opens it, whatever its switch says."""
        settings = config.load(environment(**self.variables), needs=(name,))  # type: ignore[arg-type]  # a store is a need
        opened: Store = await registry.backend(name).open_store(settings, service=False)
        try:
            yield opened
        finally:
            await opened.close()

    async def note(
        self,
        name: str,
        ago: Iterable[int],
        *,
        entered: int = 0,
        left: int = 0,
        counts: dict[Status, StatusCount] | None = None,
        notes: dict[str, str] | None = None,
        replicas: tuple[str, ...] | None = None,
    ) -> None:
        """What replicas noted of minutes that ended so many minutes ago; what came and left, the first of them saw."""
        last = datetime.now(UTC).replace(second=0, microsecond=0) - MINUTE
        whole = counts or {}
        minutes = [
            Minute(
                last - number * MINUTE,
                replica,
                __version__,
                {**NOTHING, **whole},
                entered if replica == self.replicas[0] else 0,
                left if replica == self.replicas[0] else 0,
                notes or WORKING,
            )
            for number in ago
            for replica in (replicas or self.replicas)
        ]
        async with self.store(name) as store:
            for start in range(0, len(minutes), 20):
                await asyncio.gather(*(store.remember(one) for one in minutes[start : start + 20]))

    async def forget(self, *names: str) -> None:
        """No minute was ever noted."""
        if OLD in names:
            own = f"{OWN}.minutes#"
            gone = [(one["Id"], one["Status"]) for one in await self.records.all() if one["Id"].startswith(own)]
            await self.records.remove(gone)
        if NEW in names:
            await asyncio.to_thread(self.sql, "DELETE FROM mailculator_minutes")

    async def put(self, name: str, email_id: str, path: list[Stage | Outcome]) -> None:
        """An email of a queue, brought along a path of claims and outcomes."""
        async with self.store(name) as store:
            await store.enqueue([NewEmail(email_id, "/payloads/some.json")])
            (email,) = [None]
            for step in path:
                if isinstance(step, Stage):
                    found = await store.claim(step, 100, lease=60.0, holder="tester")
                    email = next(one for one in found if one.id == email_id)
                else:
                    assert email is not None
                    await store.record([move(email, step)])

    async def drain(self) -> None:
        """DynamoDB has no email any more, of whatever kind."""
        await self.records.remove(
            [(one["Id"], one["Status"]) for one in await self.records.all() if not one["Id"].startswith(OWN)]
        )

    async def sweep(self) -> None:
        """A whole sweep of the table, now."""
        async with self.store(OLD) as store:
            assert isinstance(store, DynamodbStore)
            await store.sweep()

    async def control(self, **changes: Any) -> None:
        """What all replicas share about the table."""
        known = await self.records.get(OWN, "control") or {"Id": OWN, "Status": "control", "Revision": 0}
        await self.records.put({**known, "TTL": 4_102_444_800, "Revision": known["Revision"] + 1, **changes})


def to(status: Status, *more: Stage | Outcome) -> list[Stage | Outcome]:
    """The way to a status, and further."""
    return [*PATHS[status], *more]


def milliseconds(ago: timedelta) -> int:
    """Epoch milliseconds so long ago."""
    return round((datetime.now(UTC) - ago).timestamp() * 1000)
