"""What pipelines need of the journal. They import only this, and what it hands out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from mailculator.journal.marks import Key
from mailculator.journal.traces import Trace


class Marks(Protocol):
    """The marks of this process. Errors, of each but `end`: JournalBroken."""

    async def begin(self, key: Key) -> None:
        """Its handling starts."""

    def end(self, key: Key) -> None:
        """Its handling ended, and nothing more is to be known about it. Nobody waits for this mark."""

    async def dot(self, key: Key) -> None:
        """The final dot is about to leave; only after this may it."""

    async def accepted(self, key: Key, reply: str) -> None:
        """The relay took it."""

    async def refused(self, key: Key, code: int, reply: str) -> None:
        """The relay refused it after the dot."""


class Archive(Protocol):
    """The marks of all processes, read."""

    async def look(
        self, holder: str, keys: Collection[Key], since: datetime | None = None, *, claims: Collection[Key] = ()
    ) -> Mapping[Key, Trace]:
        """What a holder's journal says of these claims; see reader.Journals."""
