"""The part of a store that is about the queue as a whole: pauses, the audit list, and who works on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mailculator.fleet import Deed, Pause, Replica


class Control(Protocol):
    """What operators ask of all replicas, and what these say of themselves: in the store, so that a restart forgets
    nothing. All times are the store's own."""

    async def pause(self, pipeline: str, *, seconds: float | None, who: str, why: str) -> None:
        """Have a pipeline of every replica claim nothing; a second pause of it takes the place of the first.

        Arguments:
            pipeline: its name, or fleet.WHOLE.
            seconds: how long it lasts; None = until `resume`.
        """

    async def resume(self, pipeline: str, *, who: str, why: str) -> bool:
        """End the pause of that name. False where there is none."""

    async def pauses(self) -> list[Pause]:
        """Those that are not over, by their pipelines' names."""

    async def note(self, *, who: str, what: str, why: str) -> None:
        """Put something on the audit list, where `pause` and `resume` write as well."""

    async def audit(self, *, after: str | None = None, limit: int = 50) -> list[Deed]:
        """The audit list, newest first, or what is older than the one whose key is `after`."""

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        """What a replica says of itself now, in place of what it said before."""

    async def replicas(self) -> list[Replica]:
        """Who has reported within the last day (fleet.GONE_AFTER), by name."""
