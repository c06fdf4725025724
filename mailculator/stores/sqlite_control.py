"""What operators ask of the service of an embedded queue, and what it says of itself, in three small tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from mailculator import fleet
from mailculator.fleet import Deed, Pause, Replica
from mailculator.stores.fact_text import facts_of, facts_text
from mailculator.stores.sqlite_clock import milliseconds, moment, moment_or_none, now
from mailculator.stores.sqlite_connection import Reader, Writer

_LAST = 2**63 - 1


class SqliteControl:
    """See stores.base.Control."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def pause(self, pipeline: str, *, seconds: float | None, who: str, why: str) -> None:
        """See Control."""

        def work(connection: sqlite3.Connection) -> None:
            at = now(connection)
            until = None if seconds is None else at + milliseconds(seconds)
            connection.execute(
                "REPLACE INTO mailculator_pauses (pipeline, since, until, who, why) VALUES (?, ?, ?, ?, ?)",
                (pipeline, at, until, who, why),
            )
            _note(connection, who, fleet.paused(pipeline, seconds), why)

        await self._writer.run("pause", work)

    async def resume(self, pipeline: str, *, who: str, why: str) -> bool:
        """See Control."""

        def work(connection: sqlite3.Connection) -> bool:
            gone = connection.execute(
                "DELETE FROM mailculator_pauses WHERE pipeline = ? AND coalesce(until > ?, TRUE)",
                (pipeline, now(connection)),
            ).rowcount
            if gone:
                _note(connection, who, fleet.resumed(pipeline), why)
            return bool(gone)

        return await self._writer.run("resume", work)

    async def pauses(self) -> list[Pause]:
        """See Control."""
        return await self._reader.run("pauses", _pauses)

    async def note(self, *, who: str, what: str, why: str) -> None:
        """See Control."""
        await self._writer.run("note", lambda connection: _note(connection, who, what, why))

    async def audit(self, *, after: str | None = None, limit: int = 50) -> list[Deed]:
        """See Control."""
        before = min(int(after), _LAST) if after and after.isdecimal() else _LAST
        return await self._reader.run("audit", lambda connection: _audit(connection, before, limit))

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        """See Control."""

        def work(connection: sqlite3.Connection) -> None:
            at = now(connection)
            connection.execute(
                "DELETE FROM mailculator_replicas WHERE seen_at <= ?", (at - milliseconds(fleet.GONE_AFTER),)
            )
            connection.execute(
                "REPLACE INTO mailculator_replicas (replica, service, seen_at, facts) VALUES (?, ?, ?, ?)",
                (replica, service, at, facts_text(facts)),
            )

        await self._writer.run("report", work)

    async def replicas(self) -> list[Replica]:
        """See Control."""
        return await self._reader.run("replicas", _replicas)


def _pauses(connection: sqlite3.Connection) -> list[Pause]:
    found = connection.execute(
        """SELECT pipeline, who, why, since, until FROM mailculator_pauses WHERE coalesce(until > ?, TRUE)
        ORDER BY pipeline""",
        (now(connection),),
    )
    return [
        Pause(pipeline, who, why, moment(since), moment_or_none(until)) for pipeline, who, why, since, until in found
    ]


def _note(connection: sqlite3.Connection, who: str, what: str, why: str) -> None:
    connection.execute(
        "INSERT INTO mailculator_audit (at, who, what, why) VALUES (?, ?, ?, ?)", (now(connection), who, what, why)
    )


def _audit(connection: sqlite3.Connection, before: int, limit: int) -> list[Deed]:
    found = connection.execute(
        "SELECT id, at, who, what, why FROM mailculator_audit WHERE id < ? ORDER BY id DESC LIMIT ?", (before, limit)
    )
    return [Deed(str(key), moment(at), who, what, why) for key, at, who, what, why in found]


def _replicas(connection: sqlite3.Connection) -> list[Replica]:
    at = now(connection)
    found = connection.execute(
        "SELECT replica, service, seen_at, facts FROM mailculator_replicas WHERE seen_at > ? ORDER BY replica",
        (at - milliseconds(fleet.GONE_AFTER),),
    )
    return [
        Replica(name, service, max(0.0, (at - seen_at) / 1000), facts_of(facts))
        for name, service, seen_at, facts in found
    ]
