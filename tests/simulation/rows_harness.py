"""The simulated queue under the machine that all stores are held against."""

from __future__ import annotations

import time
import uuid

from mailculator.model import NewEmail, Status
from mailculator.stores.base import Store
from mailculator.stores.rescue_name import RescueNames
from tests.simulation.queues import Queue
from tests.simulation.rows import Entry, Line
from tests.simulation.store import DirectLine, SimulatedStore

_TIMES = ("created", "updated", "due", "lease", "failing", "reached")


class SimulatedHarness:
    """As much of `Harness` as the machine needs."""

    name = "simulated"
    older_raises = 1

    def __init__(self) -> None:
        self._queue = self._empty()

    async def fresh(self, *, service: bool = True) -> SimulatedStore:
        self._queue = self._empty()
        return await self.another()

    async def another(self) -> SimulatedStore:
        return SimulatedStore(self._queue, DirectLine(), RescueNames())

    async def rewind(self, seconds: float) -> None:
        for entry in self._queue.entries.values():
            for name in _TIMES:
                if (at := getattr(entry, name)) is not None:
                    setattr(entry, name, at - seconds)
            if entry.ttl is not None:
                entry.ttl -= round(seconds)
            for line in entry.lines:
                line.at -= seconds

    async def produce(self, email_id: str, path: str, ttl: int | None = None, *, note: bool = True) -> None:
        self._queue.enqueue([NewEmail(email_id, path, ttl)], "Created by producer" if note else None)

    async def alter(self, email_id: str, *, raise_by: int = 0, **columns: str | int) -> None:
        entry = self._entry(email_id)
        entry.version += raise_by
        entry.token = str(columns.pop("claim_token", entry.token))
        assert not columns, f"the machine has learned to alter {columns}"

    async def move_as_older(self, email_id: str, origin: str, target: str, *, noted: bool = False) -> None:
        entry = self._entry(email_id)
        if entry.status == origin:
            self._queue.put(entry, Status(target))
            entry.version += 1
            # An update by whoever: the row says when.
            entry.updated = time.time()
        if noted:
            entry.lines.append(Line(target, None, None, time.time()))

    async def delete(self, email_id: str) -> None:
        self._queue.delete(email_id)

    async def retain(self, store: Store, limit: int) -> int:
        return await store.purge(limit)

    def _entry(self, email_id: str) -> Entry:
        return self._queue.entries[email_id]

    @staticmethod
    def _empty() -> Queue:
        return Queue(time.time, lambda: uuid.uuid4().hex)
