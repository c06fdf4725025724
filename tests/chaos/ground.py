"""A queue to bring chaos upon, whatever store it is in: what a producer, an operator and the checker do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailculator.lifecycle import TERMINAL, WORKING
from tests.support.dynamodb_records import Records
from tests.support.invariants import Standing
from tests.support.older_dynamodb import OlderProducer
from tests.support.scenario import UNFINISHED, Queue, Variables
from tests.support.two_books import of_record

Held = dict[str, int]
"""Emails in a replica's hands, each with its version under the claim."""

_HELD = ", ".join(f"'{status}'" for status in sorted(WORKING))


class Ground(Protocol):
    """A queue.

    Arguments:
        store: its name, as the service has it.
        variables: lead the service to it.
        look_every: seconds between two looks at how much is left.
    """

    look_every: float

    @property
    def store(self) -> str: ...

    @property
    def variables(self) -> Variables: ...

    async def put(self, emails: Mapping[str, Path]) -> None:
        """New emails, with the producers' statements."""

    async def held(self, replica: str) -> Held:
        """What stands in a working status under that name."""

    async def unfinished(self) -> int:
        """Emails in no terminal status."""

    async def standings(self) -> list[Standing]:
        """Every email as it stands."""


@dataclass
class SqlGround:
    """MariaDB or SQLite."""

    queue: Queue
    look_every: float = 0.2
    _session: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def store(self) -> str:
        return self.queue.store

    @property
    def variables(self) -> Variables:
        return self.queue.variables

    async def put(self, emails: Mapping[str, Path]) -> None:
        async with self._session:
            await asyncio.to_thread(self.queue.producer.put_many, emails.items())

    async def held(self, replica: str) -> Held:
        async with self._session:
            rows = await self.queue.run(
                f"SELECT id, version FROM emails WHERE claimed_by = ? AND status IN ({_HELD})", replica
            )
        return {str(email_id): int(version) for email_id, version in rows}

    async def unfinished(self) -> int:
        async with self._session:
            return int((await self.queue.run(UNFINISHED))[0][0])

    async def standings(self) -> list[Standing]:
        async with self._session:
            return await self.queue.standings()


@dataclass
class DynamodbGround:
    """DynamoDB, or what stands for it."""

    records: Records
    variables: Variables
    store: str = "dynamodb"
    look_every: float = 3.0
    """A look is a scan, which keeps an emulator from everything else."""

    async def put(self, emails: Mapping[str, Path]) -> None:
        await OlderProducer(self.records).put_many(emails.items())

    async def held(self, replica: str) -> Held:
        items = [item for item in await self.records.emails() if item.get("LeaseBy") == replica]
        return {email.id: email.version for email in map(of_record, items) if email.status in WORKING}

    async def unfinished(self) -> int:
        return sum(email.status not in TERMINAL for email in await self.standings())

    async def standings(self) -> list[Standing]:
        return [of_record(item) for item in await self.records.emails()]
