"""The other programs' hands on a queue in SQL: the statements that producers, the older consumer and operators give."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mailculator.stores.base import Store
from mailculator.stores.schema_files import schema_files
from tests.support.harness import VersionTaken

PRODUCER_ROW = "INSERT INTO emails (id, status, payload_file_path, ttl) VALUES (?, 'ACCEPTED', ?, ?)"
PRODUCER_NOTE = (
    "INSERT INTO email_status_history (email_id, status, reason) VALUES (?, 'ACCEPTED', 'Created by producer')"
)
OLDER_MOVE = "UPDATE emails SET status = ?, version = version + 1 WHERE id = ? AND status = ?"

OWN_TIMES = {
    "mailculator_pauses": ("since", "until"),
    "mailculator_audit": ("at",),
    "mailculator_replicas": ("seen_at",),
}
"""Where times stand beside the emails' own: what `rewind` makes older, too."""


class SqlHands:
    """The half of a harness that is the same in every SQL dialect.

    Arguments of the class:
        files: which folder of schema files is the backend's.
        taken: what the driver raises for a second row under one key.
    """

    files: str
    taken: type[Exception]
    oldest_service = "0.1.0"
    older_raises = 1
    producers_reason = "Created by producer"
    tells_birth = False

    @property
    def schema_names(self) -> tuple[str, ...]:
        return tuple(file.name for file in schema_files(self.files))

    async def execute(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        """Portable SQL on a connection of its own, committed; `?` marks a parameter. Returns the rows of a query."""
        raise NotImplementedError

    async def execute_all(self, statements: Sequence[str]) -> None:
        """Statements without parameters, one after the other and each committed, with one wait for all."""
        raise NotImplementedError

    async def empty(self, tables: str) -> None:
        """Delete every row but those that describe the schema. `tables` is the query for the tables' names."""
        names = {name for (name,) in await self.execute(tables)} - {"mailculator_schema", "mailculator_meta"}
        # An email may go only after what refers to it.
        in_order = sorted(names, key=lambda name: name == "emails")
        await self.execute_all([f"DELETE FROM {name}" for name in in_order])

    def amount(self, count: int) -> int:
        return count

    async def produce(self, email_id: str, path: str, ttl: int | None = None, *, note: bool = True) -> None:
        await self.execute(PRODUCER_ROW, email_id, path, ttl)
        if note:
            await self.produce_note(email_id)

    async def produce_note(self, email_id: str) -> None:
        await self.execute(PRODUCER_NOTE, email_id)

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
        columns: dict[str, object] = {
            "version": version,
            "payload_file_path": payload,
            "eml_file_path": eml,
            "reason": reason,
            "ttl": ttl,
        }
        given = {
            "id": email_id,
            "status": str(status),
            **{name: value for name, value in columns.items() if value is not None},
        }
        await self.execute(
            f"INSERT INTO emails ({', '.join(given)}) VALUES ({', '.join('?' * len(given))})", *given.values()
        )
        return email_id

    async def alter(self, email_id: str, *, raise_by: int = 0, **columns: str | int) -> None:
        changes = [f"{name} = ?" for name in columns]
        if raise_by:
            changes.append(f"version = version + {raise_by}")
        await self.execute(f"UPDATE emails SET {', '.join(changes)} WHERE id = ?", *columns.values(), email_id)

    async def move_as_older(self, email_id: str, origin: str, target: str, *, noted: bool = False) -> None:
        await self.execute(OLDER_MOVE, target, email_id, origin)
        if noted:
            await self.execute("INSERT INTO email_status_history (email_id, status) VALUES (?, ?)", email_id, target)

    async def delete(self, email_id: str) -> None:
        await self.execute("DELETE FROM email_status_history WHERE email_id = ?", email_id)
        await self.execute("DELETE FROM emails WHERE id = ?", email_id)

    async def note(self, email_id: str, reason: str) -> None:
        await self.execute(
            "INSERT INTO email_status_history (email_id, status, reason) VALUES (?, 'ACCEPTED', ?)", email_id, reason
        )

    async def forge(self, email_id: str, version: int) -> None:
        try:
            await self.execute(
                "INSERT INTO email_status_history (email_id, status, reason, version)"
                " VALUES (?, 'ACCEPTED', 'forged', ?)",
                email_id,
                version,
            )
        except self.taken as error:
            # The driver has one error for every broken constraint; only this one is meant.
            if not any(word in str(error).lower() for word in ("unique", "duplicate")):
                raise
            raise VersionTaken(str(error)) from error

    async def retain(self, store: Store, limit: int) -> int:
        return await store.purge(limit)

    async def versions(self) -> list[int]:
        return [version for (version,) in await self.execute("SELECT version FROM emails")]

    async def count_history(self, *, versioned: bool = False) -> int:
        where = " WHERE version IS NOT NULL" if versioned else ""
        ((count,),) = await self.execute(f"SELECT COUNT(*) FROM email_status_history{where}")
        return int(count)

    @asynccontextmanager
    async def later_schema(self, name: str) -> AsyncIterator[None]:
        await self.execute("INSERT INTO mailculator_schema (name) VALUES (?)", name)
        try:
            yield
        finally:
            await self.execute("DELETE FROM mailculator_schema WHERE name = ?", name)
            await self.serve_from(self.oldest_service)

    async def serve_from(self, version: str) -> None:
        await self.execute("UPDATE mailculator_meta SET value = ? WHERE name = 'oldest_service'", version)
