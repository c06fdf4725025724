"""DynamoDB and MariaDB side by side, past every Store, and a producer that writes to the one or to the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailculator.clock import SystemClock
from mailculator.cutover.evidence import NEW, OLD
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import TERMINAL, WORKING
from mailculator.model import Status
from mailculator.stores.dynamodb.codec import from_wire, to_wire
from tests.support import invariants, mariadb
from tests.support.dynamodb_records import Records, plain_client
from tests.support.invariants import Standing
from tests.support.moto_server import KEY, REGION
from tests.support.older_dynamodb import OlderProducer
from tests.support.producer import MariadbProducer, Rows, write_many
from tests.support.scenario import Variables
from tests.support.two_books import of_record

AT_ONCE = 8
"""Emails that the producer writes to DynamoDB side by side."""

_HELD = ", ".join(f"'{status}'" for status in sorted(WORKING))


@dataclass
class TwoQueues:
    """Both queues.

    Arguments:
        server: has a database of the table's name.
        sessions: on MariaDB: one writes, the other reads. They end with the server; see `connect`.
    """

    records: Records
    server: PrivateMariadb
    sessions: tuple[MariadbProducer, ...] = ()

    async def connect(self) -> None:
        """New sessions on MariaDB."""
        self.close()
        port, name = self.server.port, self.records.table
        self.sessions = tuple([await asyncio.to_thread(MariadbProducer, port=port, database=name) for _ in range(2)])

    def close(self) -> None:
        """End the sessions."""
        for session in self.sessions:
            session.close()
        self.sessions = ()

    def variables(self, endpoint: str) -> Variables:
        """Lead the service to both; they say nothing of which is switched on."""
        return {
            "EMAIL_OUTBOX_TABLE": self.records.table,
            "AWS_REGION": REGION,
            "AWS_BASE_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "MYSQL_HOST": self.server.host,
            "MYSQL_PORT": self.server.port,
            "MYSQL_USER": self.server.user,
            "MYSQL_DATABASE": self.records.table,
        }

    async def query(self, sql: str, *parameters: object) -> Rows:
        return await asyncio.to_thread(self.sessions[1].run, sql, *parameters)

    async def held(self, store: str, replica: str) -> dict[str, Status]:
        """What a replica has in its hands of one queue."""
        if store == OLD:
            return {item["Id"]: Status(item["State"]) async for item in self._held_records(replica)}
        rows = await self.query(f"SELECT id, status FROM emails WHERE claimed_by = ? AND status IN ({_HELD})", replica)
        return {email_id: Status(status) for email_id, status in rows}

    async def _held_records(self, replica: str) -> AsyncIterator[dict[str, Any]]:
        states = {f":s{number}": str(status) for number, status in enumerate(sorted(WORKING))}
        request: dict[str, Any] = {
            "TableName": self.records.table,
            "ConsistentRead": True,
            "FilterExpression": f"#by = :by AND #state IN ({', '.join(states)})",
            "ExpressionAttributeNames": {"#by": "LeaseBy", "#state": "State"},
            "ExpressionAttributeValues": to_wire({":by": replica, **states}),
        }
        while True:
            page = await self.records.client.scan(**request)
            for item in page["Items"]:
                yield from_wire(item)
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def standings(self) -> dict[str, list[Standing]]:
        """Every email as it stands, by store."""
        return {
            OLD: [of_record(item) for item in await self.records.emails()],
            NEW: await asyncio.to_thread(invariants.read, self.sessions[1].run),
        }

    async def statuses(self, store: str) -> dict[str, Status]:
        """Where every email of a queue stands."""
        if store == OLD:
            return {item["Id"]: Status(item["Attributes"]["Latest"]) for item in await self.records.emails()}
        rows = await self.query("SELECT id, status FROM emails")
        return {email_id: Status(status) for email_id, status in rows}

    async def active(self) -> list[str]:
        """What has not ended, in words: MariaDB's, or DynamoDB's where that has none."""
        for store in (NEW, OLD):
            statuses = await self.statuses(store)
            found = [f"{store}: {email_id} {status}" for email_id, status in statuses.items() if status not in TERMINAL]
            if found:
                return found
        return []


@asynccontextmanager
async def two_queues(endpoint: str, server: PrivateMariadb, name: str) -> AsyncIterator[TwoQueues]:
    """A table as the older service made it, and an empty database."""
    await asyncio.to_thread(mariadb.execute, server, "mysql", f"CREATE DATABASE {name}")
    async with plain_client(endpoint) as client:
        queues = TwoQueues(Records(client, name), server)
        await queues.records.create()
        await queues.connect()
        yield queues
        queues.close()
        await queues.records.drop()
    await asyncio.to_thread(mariadb.execute, server, "mysql", f"DROP DATABASE {name}")


@dataclass
class MovingProducer:
    """Writes new emails to the one queue or to the other, with the statements of producers.

    Arguments:
        target: the queue that it writes to.
        written: per store, the ids that it put there; `paths` has all of them.
    """

    folder: Path
    queues: TwoQueues
    target: str = OLD
    written: dict[str, set[str]] = field(default_factory=lambda: {OLD: set(), NEW: set()})
    paths: dict[str, Path] = field(default_factory=dict)
    _session: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def prepare(self, count: int) -> list[str]:
        """That many new emails, their files written and nothing else."""
        emails = await asyncio.to_thread(write_many, self.folder, count)
        self.paths |= emails
        return list(emails)

    async def put(self, count: int) -> list[str]:
        """That many new emails."""
        ids = await self.prepare(count)
        await self.write(self.target, ids)
        return ids

    async def write(self, store: str, ids: Iterable[str]) -> None:
        """Put emails on a queue, new ones or such as may stand on the other queue already."""
        emails = [(email_id, self.paths[email_id]) for email_id in ids]
        if store == NEW:
            async with self._session:
                await asyncio.to_thread(self.queues.sessions[0].put_many, emails)
        else:
            older, gate = OlderProducer(self.queues.records), asyncio.Semaphore(AT_ONCE)

            async def put(email_id: str, path: Path) -> None:
                async with gate:
                    await older.put(email_id, path)

            await asyncio.gather(*(put(*email) for email in emails))
        self.written[store] |= {email_id for email_id, _ in emails}

    async def switch(self, store: str, retried: int) -> None:
        """Write to the other queue from now on; of so many emails it does not know whether they came, so they go
        there as well."""
        in_doubt = await self.put(retried)
        self.target = store
        await self.write(store, in_doubt)

    @asynccontextmanager
    async def running(self, pause: float) -> AsyncIterator[None]:
        """An email every `pause` seconds, until the block ends."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._repeat(stop, pause))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _repeat(self, stop: asyncio.Event, pause: float) -> None:
        while not await SystemClock().wait(stop, pause):
            await self.put(1)
