"""What operators ask of the replicas of a simulated queue, and what these say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mailculator import fleet
from mailculator.fleet import Deed, Pause, Replica
from tests.simulation.rows import moment, moment_or_none


class Board:
    """All of it.

    Arguments:
        now: the store's clock, epoch seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._pauses: dict[str, Pause] = {}
        self._deeds: list[Deed] = []
        self._replicas: dict[str, tuple[str, float, Mapping[str, Any]]] = {}

    def pause(self, pipeline: str, seconds: float | None, who: str, why: str) -> None:
        """In place of one that is there."""
        at = self._now()
        until = moment_or_none(None if seconds is None else at + seconds)
        self._pauses[pipeline] = Pause(pipeline, who, why, moment(at), until)
        self.note(who, fleet.paused(pipeline, seconds), why)

    def resume(self, pipeline: str, who: str, why: str) -> bool:
        """Whether there was one."""
        found = pipeline in {one.pipeline for one in self.pauses()}
        if found:
            del self._pauses[pipeline]
            self.note(who, fleet.resumed(pipeline), why)
        return found

    def pauses(self) -> list[Pause]:
        """Those that are not over."""
        now = moment(self._now())
        standing = [one for one in self._pauses.values() if one.until is None or one.until > now]
        return sorted(standing, key=lambda one: one.pipeline)

    def note(self, who: str, what: str, why: str) -> None:
        """The newest of the audit list."""
        self._deeds.append(Deed(str(len(self._deeds)), moment(self._now()), who, what, why))

    def audit(self, after: str | None, limit: int) -> list[Deed]:
        """Newest first."""
        older = self._deeds[: int(after)] if after and after.isdecimal() else self._deeds
        return older[::-1][:limit]

    def report(self, replica: str, service: str, facts: Mapping[str, Any]) -> None:
        """In place of what it said before."""
        self._replicas[replica] = (service, self._now(), facts)

    def replicas(self) -> list[Replica]:
        """By name."""
        told = [
            Replica(name, service, self._now() - at, facts)
            for name, (service, at, facts) in sorted(self._replicas.items())
        ]
        return [one for one in told if one.age < fleet.GONE_AFTER]
