"""DynamoDB under the contract suite: a table of its own, on moto or where DYNAMODB_TEST_ENDPOINT says."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from mailculator.lifecycle import WORKING
from mailculator.stores.base import Store
from mailculator.stores.dynamodb import client, connection, layout, session, store
from mailculator.stores.dynamodb.client import Endpoint
from mailculator.stores.dynamodb.codec import to_wire
from mailculator.stores.dynamodb.schema import APPLIED_NAMES, OLDEST_SERVICE, DynamodbSchema
from mailculator.stores.dynamodb.store import DynamodbStore
from mailculator.timing import Timing
from tests.support import dynamodb_records
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import META, OWN, Item, Records, meta, status_record
from tests.support.harness import VersionTaken
from tests.support.moto_server import KEY, REGION, shared_moto

WIDTH_ON_MOTO = 4
PATIENCE = 120.0
"""Seconds for one call, whatever else the machine does: an emulator under load is not a DynamoDB that is away, and no
test of the contract is about that one."""
_LIMITS = (
    (store, "LONGEST_CALL"),
    (client, "TRY_TIMEOUT"),
    (connection, "CONNECT_TIMEOUT"),
    (connection, "READ_TIMEOUT"),
)
_COLUMNS = {
    "status": "#A.#Latest",
    "version": "#Version",
    "claim_token": "#Token",
    "attempts": "#Attempts",
    "eml_file_path": "#A.#EMLFilePath",
    "reason": "#A.#Reason",
}
_numbers = itertools.count(1)


class DynamodbHarness:
    """A table as the older service made it, brought to the current schema, and emptied for each test.

    Arguments:
        named: the address of a running DynamoDB; without one, what DYNAMODB_TEST_ENDPOINT says, or else moto.

    `clock` is the stores', in monotonic seconds beside those that were rewound. With one that stands still, what a
    store does follows from what it is asked alone, and not from how fast this machine is.
    """

    name = "dynamodb"
    server = "DynamoDB"
    schema_names = APPLIED_NAMES
    oldest_service = OLDEST_SERVICE
    older_raises = 0
    producers_reason = "created by its producer"
    tells_birth = True

    def __init__(self, named: str = "") -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._named = named or os.environ.get(ENDPOINT, "")
        self._exit = AsyncExitStack()
        self._stores: list[DynamodbStore] = []
        self._ahead = 0
        self._address = ""
        self._records: Records | None = None
        self._blank: list[Item] = []

    @property
    def records(self) -> Records:
        """The table under test, as other programs see it."""
        assert self._records is not None
        return self._records

    @property
    def endpoint(self) -> Endpoint:
        """The table under test, as a store is told of it."""
        return Endpoint(self.records.table, REGION, self._address, access_key_id=KEY, secret_access_key=KEY)

    async def fresh(self, *, service: bool = True) -> DynamodbStore:
        await self._close_stores()
        if self._records is None:
            await self._begin()
        else:
            await self.records.remove([(item["Id"], item["Status"]) for item in await self.records.all()])
            await self.records.replace(self._blank)
        return await self._open(service=service)

    async def _begin(self) -> None:
        """One table for all tests: making one and adding an index to it takes longer than most of them."""
        self._address = self._named
        for module, name in _LIMITS:
            self._exit.enter_context(mock.patch.object(module, name, PATIENCE))
        if not self._address:
            self._address = (await self._exit.enter_async_context(shared_moto())).endpoint
            # One request after the other is all that moto does: of many at once, the last would time out.
            self._exit.enter_context(mock.patch.object(session, "WIDTH", WIDTH_ON_MOTO))
        plain = await self._exit.enter_async_context(dynamodb_records.plain_client(self._address))
        self._records = Records(plain, f"mailculator-test-{os.getpid()}-{next(_numbers)}")
        await self._records.create()
        self._exit.push_async_callback(self._records.drop)
        await self.schema().apply(lambda _: None)
        self._blank = await self._records.all()

    async def another(self) -> DynamodbStore:
        return await self._open(service=False)

    def schema(self) -> DynamodbSchema:
        return DynamodbSchema(self.endpoint, wait=lambda _: asyncio.sleep(0.01))

    async def rewind(self, seconds: float) -> None:
        whole = round(seconds)
        there = await self.records.all()
        # A store takes a claim for dead that it has itself seen standing unchanged, so it has to look first.
        held = {item[layout.WORK_KEY] for item in there if item.get(layout.STATE) in WORKING}
        for opened in self._stores:
            await opened.observe(held)
        emails = [item for item in there if not item["Id"].startswith(OWN)]
        own = [item for item in there if dynamodb_records.tells_time(item)]
        await self.records.remove([(item["Id"], item["Status"]) for item in own])
        await self.records.replace([dynamodb_records.older(item, whole) for item in emails])
        await self.records.replace([dynamodb_records.older_own(item, whole) for item in own])
        self._ahead += whole

    def amount(self, count: int) -> int:
        # moto makes some fifty writes a second, DynamoDB Local a few hundred.
        if not self._named and count >= 2000:
            return 60  # four racers take turns at one emulator that answers one request at a time
        return count // (5 if self._named else 10)

    async def close(self) -> None:
        await self._close_stores()
        await self._exit.aclose()

    # What other programs do.

    async def produce(self, email_id: str, path: str, ttl: int | None = None, *, note: bool = True) -> None:
        await self.records.put(meta(email_id, "ACCEPTED", ttl=ttl, PayloadFilePath=path))
        if note:
            await self.records.put(status_record(email_id, "ACCEPTED", ttl))
        else:
            await self._stores[0].sweep()

    async def produce_note(self, email_id: str) -> None:
        await self.records.put(status_record(email_id, "ACCEPTED"))

    async def insert(
        self,
        status: str,
        *,
        email_id: str | None = None,
        version: int | None = None,
        payload: str | None = None,
        eml: str | None = None,
        reason: str | None = None,
        ttl: int | None = None,
    ) -> str:
        email_id = email_id or str(uuid.uuid4())
        attributes = {"PayloadFilePath": payload, "EMLFilePath": eml, "Reason": reason}
        given = {name: value for name, value in attributes.items() if value is not None}
        await self.records.put(meta(email_id, str(status), ttl=ttl, version=version, **given))
        await self._stores[0].sweep()
        return email_id

    async def alter(self, email_id: str, *, raise_by: int = 0, **columns: str | int) -> None:
        changes = [f"{_COLUMNS[name]} = :{name}" for name in columns]
        values: dict[str, Any] = dict(columns)
        if "status" in columns:
            changes.append("#A.#UpdatedAt = :updated")
            values["updated"] = dynamodb_records.stamp(dynamodb_records.now())
        if raise_by:
            changes.append("#Version = if_not_exists(#Version, :one) + :more")
            values |= {"one": 1, "more": raise_by}
        await self.records.update(email_id, f"SET {', '.join(changes)}", **values)

    async def move_as_older(self, email_id: str, origin: str, target: str, *, noted: bool = False) -> None:
        # It writes the record of the status in any case: that is its only lock. That it stands at `origin` is this
        # test's own condition; the older consumer's has none.
        before = await self.records.get(email_id) or {}
        update = self.records.moving(
            email_id,
            "SET #A.#Latest = :target, #A.#UpdatedAt = :now, #A.#Reason = :reason",
            "#A.#Latest = :origin",
            target=target,
            origin=origin,
            now=dynamodb_records.stamp(dynamodb_records.now()),
            reason="",
        )
        await self.records.transact(update, self.records.putting(status_record(email_id, target, before.get("TTL"))))
        await self._stores[0].sweep()

    async def delete(self, email_id: str) -> None:
        found = [item for item in await self.records.all() if item["Id"] == email_id]
        await self.records.remove([(item["Id"], item["Status"]) for item in found])

    async def note(self, email_id: str, reason: str) -> None:
        await self._write_down(email_id, f"|ACCEPTED|{dynamodb_records.now() * 1000}|{reason}")

    async def forge(self, email_id: str, version: int) -> None:
        try:
            await self._write_down(
                email_id,
                f"{version}|ACCEPTED|{dynamodb_records.now() * 1000}|forged",
                ", #HistVersion = :version",
                "attribute_exists(#Id) AND (attribute_not_exists(#HistVersion) OR #HistVersion < :version)",
                version=version,
            )
        except ClientError as error:
            if not dynamodb_records.is_taken(error):
                raise
            raise VersionTaken(str(error)) from error

    async def _write_down(self, email_id: str, line: str, more: str = "", condition: str = "", **values: Any) -> None:
        expression = f"SET #Hist = list_append(if_not_exists(#Hist, :none), :line){more}"
        await self.records.update(email_id, expression, condition, none=[], line=[line], **values)

    async def retain(self, store: Store, limit: int) -> int:
        """DynamoDB deletes what its TTL allows, record by record, and knows nothing of statuses.

        It takes its time: some replica has taken up what is new before that, and put its TTL off.
        """
        await self._stores[0].sweep()
        assert await store.purge(limit) == 0
        at = dynamodb_records.now()
        by_id: defaultdict[str, list[str]] = defaultdict(list)
        for item in await self.records.all():
            if dynamodb_records.expired(item, at):
                by_id[item["Id"]].append(item["Status"])
        gone = [email_id for email_id, statuses in by_id.items() if META in statuses]
        for email_id in gone[limit:]:
            del by_id[email_id]
        await self.records.remove([(email_id, status) for email_id, held in by_id.items() for status in held])
        return min(len(gone), limit)

    # What stands there.

    async def versions(self) -> list[int]:
        return [int(item.get("Version", 1)) for item in await self.records.emails()]

    async def count_history(self, *, versioned: bool = False) -> int:
        found = [item for item in await self.records.all() if not item["Id"].startswith(OWN)]
        lines = [line for item in found for line in item.get("Hist", [])]
        if versioned:
            return len([line for line in lines if not line.startswith("|")])
        return len(lines) + len([item for item in found if item["Status"] != META])

    # The schema, later.

    @asynccontextmanager
    async def later_schema(self, name: str) -> AsyncIterator[None]:
        await self._alter_schema("SET #Applied.#name = :value", {"#Applied": "Applied", "#name": name}, {"N": "0"})
        yield
        # The next test begins with the record as it was.

    async def serve_from(self, version: str) -> None:
        await self._alter_schema("SET #oldest = :value", {"#oldest": "OldestService"}, {"S": version})

    async def _alter_schema(self, expression: str, names: dict[str, str], value: dict[str, str]) -> None:
        await self.records.client.update_item(
            TableName=self.records.table,
            Key=to_wire({"Id": OWN, "Status": "schema"}),
            UpdateExpression=expression,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":value": value},
        )

    def _monotonic(self) -> float:
        return self.clock() + self._ahead

    async def _open(self, *, service: bool) -> DynamodbStore:
        # A call may last a quarter of a lease.
        timing = Timing(lease=4 * PATIENCE)
        rng = random.Random(len(self._stores))
        opened = await store.open_queue(
            self.endpoint, service=service, timing=timing, monotonic=self._monotonic, rng=rng
        )
        self._stores.append(opened)
        return opened

    async def _close_stores(self) -> None:
        while self._stores:
            await self._stores.pop().close()
