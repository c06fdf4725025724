"""What pipelines need of the journal. They import only this, and what it hands out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from mailculator.journal.marks import Key
from mailculator.journal.traces import Trace


class Marks(Protocol):
    """The marks of this process. Errors, of each but `end`: JournalBroken."""

    async def begin(self, keys: Sequence[Key]) -> None:
        """The handling of each starts. When it fails, none of them may be taken for marked."""

    def end(self, keys: Sequence[Key]) -> None:
        """The handling of each ended, and nothing more is to be known about them. Nobody waits for these marks."""

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
