"""The other side of the guard: a store in memory that shares its ids with MariaDB, and claims as DynamoDB does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from mailculator.model import Status
from mailculator.stores.guard import Guard


async def _nothing() -> None:
    return None


class OtherStore:
    """Copies by id.

    `error` is raised by every look, and `hangs` makes each wait for ever; `meanwhile` runs within a look before its
    answer is read, `afterwards` when it has been. `looks` keeps what was asked for, and `sent` what left from here.
    """

    def __init__(self) -> None:
        self.copies: dict[str, Status] = {}
        self.sent: list[str] = []
        self.looks: list[list[str]] = []
        self.error: Exception | None = None
        self.hangs = False
        self.asked = asyncio.Event()
        self.meanwhile: Callable[[], Awaitable[None]] = _nothing
        self.afterwards: Callable[[], Awaitable[None]] = _nothing

    def put(self, ids: Iterable[str], status: Status = Status.READY) -> None:
        for email_id in ids:
            self.copies[email_id] = status

    async def standing(self, ids: Sequence[str]) -> Mapping[str, Status]:
        """See guard.Copies."""
        self.looks.append(sorted(ids))
        self.asked.set()
        if self.error is not None:
            raise self.error
        if self.hangs:
            await asyncio.Event().wait()
        await self.meanwhile()
        seen = {email_id: self.copies[email_id] for email_id in ids if email_id in self.copies}
        await self.afterwards()
        return seen

    async def claim(self, ids: Sequence[str], guard: Guard, *, ttl: int | None = None) -> dict[str, str | None]:
        """Reserve, then take what still is READY. The answer has what was taken; `finish` ends it."""
        verdicts = await guard.reserve([(email_id, ttl) for email_id in ids])
        taken = [email_id for email_id in ids if self.copies.get(email_id) is Status.READY]
        self.put(taken, Status.PROCESSING)
        return {email_id: verdicts[email_id] for email_id in taken}

    def finish(self, verdicts: Mapping[str, str | None]) -> None:
        """What the sender does with what was claimed."""
        for email_id, other in verdicts.items():
            if other is None:
                self.sent.append(email_id)
            self.copies[email_id] = Status.SENT if other is None else Status.INVALID
