"""What every part of this store works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mailculator.errors import StoreError
from mailculator.events import Observer, StoreNoticed
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.errors import NAME
from mailculator.stores.dynamodb.table import Table

WIDTH = 32
"""Calls under way at once for one verb."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Session:
    """One open table, and how it is worked on.

    Arguments:
        monotonic: seconds; leases of others are measured by it alone.
        peer: an older consumer works on the same table, and intake is its.
        keep_accepted: the producer's ACCEPTED records are left where they are.
    """

    table: Table
    observer: Observer
    monotonic: Callable[[], float]
    peer: bool = False
    keep_accepted: bool = False

    def now(self) -> float:
        """Epoch seconds on the service's clock."""
        return self.table.client.clock.now()

    def latest(self) -> float:
        """The latest that it may be by now."""
        clock = self.table.client.clock
        return clock.now() + min(clock.error, layout.CLOCKS_DIFFER)

    def notice(self, kind: str, email_id: str | None = None, detail: str = "") -> None:
        """Tell whoever listens."""
        self.observer(StoreNoticed(NAME, kind, email_id, detail))


async def each(items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R | StoreError]:
    """Do the same for all, some at a time; a store error is the answer for that one, and stops no other."""
    gate = asyncio.Semaphore(WIDTH)

    async def one(item: T) -> R | StoreError:
        async with gate:
            try:
                return await work(item)
            except StoreError as error:
                return error

    if len(items) == 1:
        return [await one(items[0])]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


def sound(answers: Sequence[R | StoreError]) -> list[R]:
    """The answers, when all came. Errors: the first StoreError, after all were asked for."""
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return [answer for answer in answers if not isinstance(answer, StoreError)]
