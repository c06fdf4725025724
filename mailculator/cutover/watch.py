"""The cutover as a running replica sees it: what it has learned minute by minute, judged anew each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from mailculator.cutover import evidence
from mailculator.cutover.assessment import Assessment, assess
from mailculator.cutover.evidence import Look, Situation
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Minute, Survey

RECENT = 30
"""Minutes that are kept for each replica by itself: more than any question about a single one goes back."""


class Watch:
    """Keeps the minutes of every store that this replica works on, and tells what they amount to.

    A store that is configured but switched off is not opened by the service, so what hangs on it is a no here; the
    command line looks at it.

    Arguments:
        enabled: the stores this replica works on.
        service: its version.
        guard: whether ids are reserved.
        quiet: how long the old store must have been empty.
        minute: how long a minute is.
        utc: the time of day.
        tell: told each assessment, and what it rests on.
    """

    def __init__(
        self,
        enabled: Sequence[str],
        *,
        service: str,
        guard: bool,
        quiet: timedelta,
        minute: timedelta,
        utc: Callable[[], datetime],
        tell: Callable[[Assessment, Situation], None],
    ) -> None:
        self._enabled = tuple(enabled)
        self._service = service
        self._guard = guard
        self._quiet = quiet
        self._minute = minute
        self._utc = utc
        self._tell = tell
        self._minutes: dict[str, dict[tuple[datetime, str], Minute]] = {}
        self._surveys: dict[str, Survey] = {}
        self._counts: dict[str, Mapping[Status, StatusCount]] = {}

    @property
    def reach(self) -> timedelta:
        """How far back minutes are needed."""
        return evidence.reaches_back(self._quiet, self._minute)

    def counted(self, store: str, counts: Mapping[Status, StatusCount]) -> None:
        """A store was counted."""
        self._counts[store] = counts

    def learned(self, store: str, minutes: Sequence[Minute], survey: Survey) -> None:
        """These minutes of a store are new, or may have changed."""
        known = self._minutes.get(store, {}) | {(one.at, one.replica): one for one in minutes}
        self._minutes[store] = self._thinned(known)
        self._surveys[store] = survey
        situation = self._situation()
        self._tell(assess(situation), situation)

    def _thinned(self, known: Mapping[tuple[datetime, str], Minute]) -> dict[tuple[datetime, str], Minute]:
        """Without what is too old, and of what is old one minute for all replicas: judging a day of a large fleet anew
        each minute would keep the event loop from its mail."""
        now = self._utc()
        begin, recent = now - self.reach, now - RECENT * self._minute
        thinned = {key: one for key, one in known.items() if one.at >= recent}
        older: dict[datetime, list[Minute]] = {}
        for (at, _), one in known.items():
            if begin <= at < recent:
                older.setdefault(at, []).append(one)
        return {(at, ""): evidence.folded(group) for at, group in older.items()} | thinned

    def _situation(self) -> Situation:
        looks = {
            name: Look(
                name,
                enabled=True,
                counts=self._counts.get(name, {}),
                minutes=[one for _, one in sorted(self._minutes.get(name, {}).items(), key=lambda item: item[0])],
                survey=self._surveys.get(name),
            )
            for name in self._enabled
        }
        return Situation(
            now=self._utc(),
            service=self._service,
            guard=self._guard,
            quiet=self._quiet,
            stores=looks,
            minute=self._minute,
        )
