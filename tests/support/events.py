"""An observer that keeps what it is told, and on which a test can wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mailculator.events import Event

E = TypeVar("E")


class Recording:
    """Call it with events; `expect` waits until enough of a kind have come."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        for reached, waiter in self._waiters:
            if not waiter.done() and reached():
                waiter.set_result(None)

    def of(self, kind: type[E]) -> list[E]:
        """What has come of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def expect(self, kind: type[E], count: int = 1, where: Callable[[E], bool] = lambda _: True) -> list[E]:
        """Until `count` events of that kind have come; bounded by the test's own timeout."""

        def matching() -> list[E]:
            return [event for event in self.of(kind) if where(event)]

        if len(matching()) < count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((lambda: len(matching()) >= count, waiter))
            await waiter
        return matching()
