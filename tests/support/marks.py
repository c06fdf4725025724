"""A journal in memory, whose disk fails or takes its time when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Key


@dataclass
class MemoryMarks:
    """What was marked, in order.

    Arguments:
        broken: why nothing can be marked; None while all is well.
        fails: kinds of marks that fail though all is well.
    """

    made: list[tuple[str, Key]] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    broken: str | None = None
    fails: set[str] = field(default_factory=set)
    _held: str = ""
    _reached: asyncio.Event = field(default_factory=asyncio.Event)
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, kind: str) -> asyncio.Event:
        """Let no mark of that kind be made until `let_go`. What is returned is set when one waits."""
        self._held = kind
        return self._reached

    def let_go(self) -> None:
        self._go.set()

    async def begin(self, keys: Sequence[Key]) -> None:
        await self._make("BEGIN", *keys)

    def end(self, keys: Sequence[Key]) -> None:
        if self.broken is None:
            self.made.extend(("END", key) for key in keys)

    async def dot(self, key: Key) -> None:
        await self._make("DOT", key)

    async def accepted(self, key: Key, reply: str) -> None:
        await self._make("ACC", key)
        self.replies.append(reply)

    async def refused(self, key: Key, code: int, reply: str) -> None:
        await self._make("REJ", key)
        self.replies.append(f"{code} {reply}")

    def kinds(self, email_id: str) -> list[str]:
        """What was marked of an email, in order."""
        return [kind for kind, key in self.made if key.email_id == email_id]

    async def _make(self, kind: str, *keys: Key) -> None:
        if kind == self._held:
            self._reached.set()
            await self._go.wait()
        if self.broken is not None or kind in self.fails:
            raise JournalBroken(Path("/journal"), self.broken or "fails")
        self.made.extend((kind, key) for key in keys)
