"""What DynamoDB's TTL does and no emulator here does: it deletes, whatever the status is.

Amazon promises deletion within a few days of the moment; this one is as quick as it could ever be, which is the worst
for whoever leaves an email unfinished under a ttl that has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from mailculator.clock import SystemClock
from mailculator.stores.dynamodb.codec import to_wire
from tests.support import dynamodb_records
from tests.support.dynamodb_records import Item, Records


@dataclass
class TtlDeletion:
    """Deletes every record whose root `TTL` has passed.

    Arguments:
        pause: seconds between two passes of `running`.
        deleted: what is gone, as it stood.
    """

    records: Records
    pause: float = 0.2
    deleted: list[Item] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """One pass after the other, until the block ends."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(stop))
            try:
                yield
            finally:
                stop.set()

    async def once(self) -> None:
        """One pass over the whole table."""
        at = dynamodb_records.now()
        for item in await self.records.all():
            if dynamodb_records.expired(item, at):
                await self._delete(item, at)

    async def _delete(self, item: Item, at: int) -> None:
        # A ttl that has been put off since the pass read the record counts.
        try:
            await self.records.client.delete_item(
                TableName=self.records.table,
                Key=to_wire({"Id": item["Id"], "Status": item["Status"]}),
                ConditionExpression="#ttl < :at",
                ExpressionAttributeNames={"#ttl": "TTL"},
                ExpressionAttributeValues=to_wire({":at": at}),
            )
        except ClientError as error:
            if not dynamodb_records.is_taken(error):
                raise
        else:
            self.deleted.append(item)

    async def _repeat(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.once()
            await SystemClock().wait(stop, self.pause)
