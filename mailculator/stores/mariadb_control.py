"""What operators ask of all replicas, and who these are, in three small tables of MariaDB."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mailculator import fleet
from mailculator.fleet import Deed, Pause, Replica
from mailculator.stores.fact_text import facts_of, facts_text
from mailculator.stores.mariadb_claims import microseconds
from mailculator.stores.mariadb_pool import Pool, Session
from mailculator.stores.mariadb_rows import maybe_utc, plain, text, utc

_LASTS = "(until IS NULL OR until > NOW(6))"
_PAUSE = (
    "REPLACE INTO mailculator_pauses (pipeline, since, until, who, why)"
    " VALUES (%s, NOW(6), NOW(6) + INTERVAL %s MICROSECOND, %s, %s)"
)
_RESUME = f"DELETE FROM mailculator_pauses WHERE pipeline = %s AND {_LASTS}"  # noqa: S608  # a constant
_PAUSES = f"SELECT pipeline, who, why, since, until FROM mailculator_pauses WHERE {_LASTS} ORDER BY pipeline"  # noqa: S608  # a constant
_NOTE = "INSERT INTO mailculator_audit (at, who, what, why) VALUES (NOW(6), %s, %s, %s)"
_AUDIT = "SELECT id, at, who, what, why FROM mailculator_audit WHERE id < %s ORDER BY id DESC LIMIT %s"
_REPORT = "REPLACE INTO mailculator_replicas (replica, service, seen_at, facts) VALUES (%s, %s, NOW(6), %s)"
_REPLICAS = (
    "SELECT replica, service, TIMESTAMPDIFF(MICROSECOND, seen_at, NOW(6)), facts FROM mailculator_replicas"
    " WHERE seen_at > NOW(6) - INTERVAL %s SECOND ORDER BY replica"
)
_FORGET = "DELETE FROM mailculator_replicas WHERE seen_at <= NOW(6) - INTERVAL %s SECOND"
_LAST = 2**63 - 1


class MariadbControl:
    """See stores.base.Control."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def pause(self, pipeline: str, *, seconds: float | None, who: str, why: str) -> None:
        """See Control."""

        async def work(session: Session) -> None:
            # NULL and an interval make NULL.
            length = None if seconds is None else microseconds(seconds)
            await session.execute(_PAUSE, (pipeline, length, text(who), text(why)))
            await _note(session, who=who, what=fleet.paused(pipeline, seconds), why=why)

        await self._pool.run("pause", work)

    async def resume(self, pipeline: str, *, who: str, why: str) -> bool:
        """See Control."""

        async def work(session: Session) -> bool:
            gone = await session.execute(_RESUME, (pipeline,))
            if gone.affected:
                await _note(session, who=who, what=fleet.resumed(pipeline), why=why)
            return bool(gone.affected)

        return await self._pool.run("resume", work)

    async def pauses(self) -> list[Pause]:
        """See Control."""
        async with self._pool.session("pauses") as session:
            found = await session.execute(_PAUSES)
        return [
            Pause(pipeline, who, why, utc(since), maybe_utc(until)) for pipeline, who, why, since, until in found.rows
        ]

    async def note(self, *, who: str, what: str, why: str) -> None:
        """See Control."""
        await self._pool.run("note", partial(_note, who=who, what=what, why=why))

    async def audit(self, *, after: str | None = None, limit: int = 50) -> list[Deed]:
        """See Control."""
        before = int(after) if after and after.isdecimal() else _LAST
        async with self._pool.session("audit") as session:
            found = await session.execute(_AUDIT, (min(before, _LAST), limit))
        return [Deed(str(key), utc(at), who, what, why) for key, at, who, what, why in found.rows]

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        """See Control."""

        async def work(session: Session) -> None:
            await session.execute(_REPORT, (text(plain(replica), 128), service, facts_text(facts)))

        await self._pool.run("report", work)

    async def replicas(self) -> list[Replica]:
        """See Control."""
        async with self._pool.session("replicas") as session:
            found = await session.execute(_REPLICAS, (fleet.GONE_AFTER,))
        return [
            Replica(name, service, max(0.0, age / 1_000_000), facts_of(facts))
            for name, service, age, facts in found.rows
        ]


async def forget(session: Session) -> None:
    """Delete the rows of replicas that are gone for good."""
    await session.execute(_FORGET, (fleet.GONE_AFTER,))


async def _note(session: Session, *, who: str, what: str, why: str) -> None:
    await session.execute(_NOTE, (text(who), text(what), text(why)))
