"""The schema in DynamoDB: how the table stands, and bringing it to where this program needs it.

The service never alters a table; `mailculator schema apply` does. What was applied stands in a record of ours, beside
the oldest service version that it serves, so that two versions of the service know whether they can run side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mailculator
from mailculator.errors import SchemaError, StoreError, StoreRejected
from mailculator.stores import schema_files
from mailculator.stores.base import SchemaState
from mailculator.stores.dynamodb import client, layout, shape
from mailculator.stores.dynamodb.client import Client, Endpoint
from mailculator.stores.dynamodb.errors import NAME, InUse
from mailculator.stores.dynamodb.shape import Index, Table

APPLIED_NAMES = ("0001_work_index",)
"""What this version needs, oldest first: 0001 is WorkIndex, TTL, and the record that says so."""
OLDEST_SERVICE = "0.1.0"
"""The oldest service that works with it."""

RECORD = {layout.ID: {"S": layout.OWN_ID}, layout.STATUS: {"S": "schema"}}
"""Key of our record."""
APPLIED = "Applied"
"""In that record: names of what was applied, each with its time in epoch milliseconds."""
OLDEST = "OldestService"

LOOK_EVERY = 2.0
"""Seconds between two looks at what DynamoDB is making."""
TELL_EVERY = 30.0
"""Seconds between two lines of progress while it does."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Record:
    """What our record says; nothing where there is none."""

    applied: tuple[str, ...] = ()
    oldest: str | None = None

    @property
    def pending(self) -> tuple[str, ...]:
        return tuple(name for name in APPLIED_NAMES if name not in self.applied)


class DynamodbSchema:
    """The schema of one table.

    Arguments:
        timeout: seconds for one call, its tries included.
        version: this service's version.
        connect: opens a client; it is closed after each of the two verbs.
        wait: waits that many seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float = 10.0,
        version: str = mailculator.__version__,
        connect: Callable[..., Awaitable[Client]] = client.connect,
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._version = version
        self._connect = connect
        self._wait = wait
        self._clock = clock

    async def state(self) -> SchemaState:
        """Look, change nothing. Errors: StoreUnavailable; StoreRejected when this identity may not look."""
        async with self._session("schema state") as session:
            table = await session.describe()
            if table is None:
                name = self._endpoint.table
                return SchemaState(
                    (), APPLIED_NAMES, None, (), f"the table {name} does not exist; {schema_files.APPLY}"
                )
            if wrong := shape.wrong_key(table):
                return SchemaState((), APPLIED_NAMES, None, (wrong,), wrong)
            record = await session.record()
            return SchemaState(
                applied=record.applied,
                pending=record.pending,
                oldest_service=record.oldest,
                differences=(*shape.differences(table), *await session.ttl_differences()),
                refusal=self._refusal(table, record),
            )

    async def apply(self, progress: Progress) -> tuple[str, ...]:
        """Make the table, or bring a live one to the current schema; any number of times, by any number of processes.

        Adding an index to a large table takes DynamoDB hours, and this waits for it without a limit. DynamoDB goes on
        by itself when this is ended, and a further run waits again. Nothing that is there is taken away or changed.

        Errors: SchemaError when the table's key is not a queue's; StoreUnavailable when DynamoDB goes away;
            StoreRejected for what it refuses. After the last two, call it again.
        """
        async with self._session("schema apply") as session:
            created = await session.create(progress)
            table = await session.until_usable(progress)
            if wrong := shape.wrong_key(table):
                raise SchemaError(NAME, f"{self._endpoint.table}: {wrong}")
            record = await session.record()
            if set(record.applied) - set(APPLIED_NAMES) and not record.pending:
                return ()  # a later version has been here, and what it has left out it does not need
            added = [await session.add(index, progress) for index in shape.INDEXES]
            switched = await session.switch_ttl_on(progress)
            if record.pending or record.oldest is None:
                await session.write_record()
            changed = created or any(added) or switched or record.pending
            return APPLIED_NAMES if changed else ()

    def _refusal(self, table: Table, record: _Record) -> str | None:
        newer = schema_files.refusal((), record.oldest, version=self._version) if record.oldest else None
        return (
            newer or shape.refusal(table) or schema_files.refusal(record.pending, record.oldest, version=self._version)
        )

    @asynccontextmanager
    async def _session(self, op: str) -> AsyncIterator[_Session]:
        opened = await self._connect(self._endpoint, timeout=self._timeout)
        try:
            yield _Session(opened, self._endpoint.table, op, wait=self._wait, clock=self._clock)
        finally:
            await opened.close()


class _Session:
    """A client at work on one table, for one verb."""

    def __init__(
        self,
        opened: Client,
        table: str,
        op: str,
        *,
        wait: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
    ) -> None:
        self._client = opened
        self._table = table
        self._op = op
        self._wait = wait
        self._clock = clock

    async def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        return await self._client.call(operation, self._op, **request)

    async def describe(self) -> Table | None:
        """The table as it is; None where there is none."""
        try:
            answer = await self._call("describe_table", TableName=self._table)
        except StoreRejected as error:
            if _is_missing(error):
                return None
            raise
        return shape.described(answer["Table"])

    async def record(self) -> _Record:
        """Our record."""
        answer = await self._call("get_item", TableName=self._table, Key=RECORD, ConsistentRead=True)
        item = answer.get("Item") or {}
        applied = item.get(APPLIED, {}).get("M", {})
        return _Record(tuple(sorted(applied)), item.get(OLDEST, {}).get("S"))

    async def write_record(self) -> None:
        """Put what this version needs on our record; what a later version has put there stays."""
        await self._call(
            "update_item",
            TableName=self._table,
            Key=RECORD,
            UpdateExpression="SET #ttl = :far, #applied = if_not_exists(#applied, :none), "
            "#oldest = if_not_exists(#oldest, :oldest)",
            ExpressionAttributeNames={"#applied": APPLIED, "#oldest": OLDEST, "#ttl": layout.TTL},
            ExpressionAttributeValues={
                ":none": {"M": {}},
                ":oldest": {"S": OLDEST_SERVICE},
                ":far": {"N": str(layout.FAR)},
            },
        )
        # A map and what is in it cannot be set in one expression.
        for name in APPLIED_NAMES:
            await self._call(
                "update_item",
                TableName=self._table,
                Key=RECORD,
                UpdateExpression="SET #applied.#name = if_not_exists(#applied.#name, :now)",
                ExpressionAttributeNames={"#applied": APPLIED, "#name": name},
                ExpressionAttributeValues={":now": {"N": str(int(self._client.clock.now() * 1000))}},
            )

    async def create(self, progress: Progress) -> bool:
        """Make the table where it is missing. False when it was there."""
        if await self.describe() is not None:
            return False
        progress(f"creating the table {self._table}")
        try:
            await self._call("create_table", **shape.create_request(self._table))
        except InUse:
            return False  # another run was faster
        return True

    async def until_usable(self, progress: Progress) -> Table:
        """The table, as soon as it can be used."""
        return await self._until(lambda table: table.usable, "the table", progress)

    async def add(self, index: Index, progress: Progress) -> bool:
        """Add an index where it is missing, and wait until it can be read. False when it was there."""
        added = told = False

        def readable(table: Table) -> bool:
            found = table.indexes.get(index.name)
            # A table takes one change at a time, so it has to be through with this one before the next.
            return found is not None and found.usable and table.status == "ACTIVE"

        def ready(table: Table) -> bool:
            # What was added may not be seen for a moment.
            absent = index.name not in table.indexes and table.status == "ACTIVE"
            return readable(table) or (absent and not added)

        while not readable(table := await self._until(ready, index.name, progress)):
            if not told:
                progress(f"adding {index.name}: DynamoDB goes on with it even if this command is ended")
                told = True
            added = await self._add(index, table)
            await self._wait(LOOK_EVERY)
        return added

    async def _add(self, index: Index, table: Table) -> bool:
        try:
            await self._call("update_table", **shape.add_request(self._table, index, table.provisioned))
        except InUse:
            return False  # another run is at it, or the table is being changed otherwise
        except StoreRejected:
            now = await self.describe()
            if now is None or index.name not in now.indexes:
                raise
            return False
        return True

    async def _until(self, ready: Callable[[Table], bool], what: str, progress: Progress) -> Table:
        started = told = self._clock()
        while True:
            table = await self.describe()
            if table is not None and ready(table):
                return table
            now = self._clock()
            if now - told >= TELL_EVERY:
                told = now
                progress(f"{what} is being made, for {now - started:.0f} s now")
            await self._wait(LOOK_EVERY)

    async def ttl_differences(self) -> tuple[str, ...]:
        """What is wrong with the deletion by ttl, or why that cannot be told."""
        try:
            on = await self._ttl_attribute()
        except StoreRejected as error:
            return (f"whether TTL is on cannot be seen: {error.detail}",)
        if on is None:
            return (f"TTL is off, so that nothing is ever deleted; {schema_files.APPLY}",)
        if on != layout.TTL:
            return (f"TTL is on for the attribute {on}, not {layout.TTL}: DynamoDB deletes by another program's times",)
        return ()

    async def switch_ttl_on(self, progress: Progress) -> bool:
        """Have DynamoDB delete by `TTL`, unless it deletes by some attribute already. False when it did."""
        try:
            if await self._ttl_attribute() is not None:
                return False
        except StoreRejected as error:
            progress(f"whether TTL is on cannot be seen, so it stays as it is: {error.detail}")
            return False
        progress(f"switching TTL on, for the attribute {layout.TTL}")
        try:
            await self._call(
                "update_time_to_live",
                TableName=self._table,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": layout.TTL},
            )
        except StoreError:
            if await self._ttl_attribute() is None:
                raise
            return False  # another run was faster
        return True

    async def _ttl_attribute(self) -> str | None:
        """The attribute that DynamoDB deletes by; None while it deletes by none."""
        answer = await self._call("describe_time_to_live", TableName=self._table)
        told = answer.get("TimeToLiveDescription") or {}
        if told.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
            return None
        return str(told.get("AttributeName"))


def _is_missing(error: StoreRejected) -> bool:
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code")).startswith("ResourceNotFound")
