"""Follows the samples through the service's events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from mailculator import lifecycle
from mailculator.events import Event, Lifetime, Moved
from mailculator.model import Status


class Tracker:
    """An observer that knows where each sample stands.

    Arguments:
        ids: the samples'.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self.done = asyncio.Event()
        self.listening = asyncio.Event()
        self.http_port = 0
        self.admin_port = 0
        self.status = dict.fromkeys(ids, Status.ACCEPTED)
        self.retries: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self._left = len(self.status)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Moved() if event.email_id in self.status:
                self._moved(event)
            case Lifetime(name="started", fields=fields):
                self.http_port = int(dict(fields)["http_port"] or 0)
                self.admin_port = int(dict(fields)["admin_port"] or 0)
                self.listening.set()

    def _moved(self, event: Moved) -> None:
        self.status[event.email_id] = event.to
        retried = event.outcome == "retry"
        self.retries[event.email_id] += retried
        if event.note and (retried or event.to in {Status.FAILED, Status.INVALID}):
            self.reasons[event.email_id] = event.note
        if event.to in lifecycle.TERMINAL:
            self._left -= 1
            if not self._left:
                self.done.set()

    @property
    def ended(self) -> int:
        """Samples that stand in a terminal status."""
        return len(self.status) - self._left
