"""What one replica has counted of one store's mail: its minutes and its reports are both made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from mailculator import facts
from mailculator.events import Event, Moved, Rescued
from mailculator.facts import Said
from mailculator.lifecycle import FAILED_CALLBACK, SENT_CALLBACK, STAGE_BY_WORKING, TERMINAL
from mailculator.model import Status

_COUNTED: Mapping[Status, str] = {
    Status.SENT: facts.SENT,
    Status.FAILED: facts.FAILED,
    Status.INVALID: facts.INVALID,
    Status.SENT_ACKNOWLEDGED: facts.ACKNOWLEDGED,
    Status.FAILED_ACKNOWLEDGED: facts.ACKNOWLEDGED,
}
"""What it counts as when mail moves forward into a status. A step back into it is a retry."""

FIRST_RESULT = 3
"""The version of an email once the first claim of it has ended: it is born with 1, and the claim made it 2."""

UNKNOWN = "unknown"
"""How the events call an outcome that nobody knows."""

_CALLBACKS = frozenset({SENT_CALLBACK.name, FAILED_CALLBACK.name})


class Ledger:
    """Counts from the core's events what became of one store's mail here, and keeps what its callbacks met last.

    Arguments:
        epoch: the time of day, in seconds.
    """

    heeds: Collection[type[Event]] = (Moved, Rescued)

    def __init__(self, store: str, *, epoch: Callable[[], float]) -> None:
        self._store = store
        self._epoch = epoch
        self._ends: Counter[tuple[Status, Status]] = Counter()
        self.entered = 0
        """Emails that were new, so far. One is new once: whatever becomes of it later, its version has gone on."""
        self._callback: tuple[float, Moved] | None = None
        self.unknown: Said | None = None
        self.unknown_count = 0

    def __call__(self, event: Event) -> None:
        """Count one event; of each email in as few steps as can be."""
        if type(event) is Moved and event.store == self._store:
            self._moved(event)
        elif type(event) is Rescued and event.store == self._store and event.outcome == UNKNOWN:
            self._lost_reply(event.email_id)

    def _moved(self, event: Moved) -> None:
        self._ends[event.origin, event.to] += 1
        self.entered += event.version == FIRST_RESULT
        if event.pipeline in _CALLBACKS:
            self._callback = (self._epoch(), event)
        elif event.outcome == UNKNOWN:
            self._lost_reply(event.email_id)

    def _lost_reply(self, email_id: str) -> None:
        self.unknown = Said(self._epoch(), email_id)
        self.unknown_count += 1

    @property
    def left(self) -> int:
        """Emails that came to an end of their life, so far."""
        return sum(count for (_, to), count in self._ends.items() if to in TERMINAL)

    def totals(self) -> dict[str, int]:
        """What was counted so far, by the words of `facts`."""
        found: Counter[str] = Counter({facts.ENTERED: self.entered})
        for (origin, to), count in self._ends.items():
            back = to is STAGE_BY_WORKING[origin].waiting
            found[facts.RETRIED if back else _COUNTED.get(to, "")] += count
        return {name: count for name, count in found.items() if name}

    @property
    def callback(self) -> Said | None:
        """How the last callback ended."""
        return None if self._callback is None else Said(self._callback[0], self._callback[1].note or "")
