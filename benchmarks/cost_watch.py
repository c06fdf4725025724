"""What a service under way has spent, and how far it has come."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stepped_clock import SteppedClock
from mailculator.events import Claimed, ClaimLost, Event, Moved, PipelineFailed
from mailculator.lifecycle import TERMINAL
from mailculator.stores.base import Spent
from mailculator.stores.dynamodb.store import DynamodbStore


@dataclass(frozen=True)
class Bill:
    """Request units, by what they were spent on.

    Arguments:
        emails: how many went through, from the producer to the end.
        seconds: the service's own time, where it was a stepped clock's.
    """

    units: Mapping[tuple[str, str], float]
    emails: int = 0
    seconds: float = 0.0

    def total(self, kind: str, *ops: str) -> float:
        """Of these ops; of all when none is named."""
        return sum(units for (op, of), units in self.units.items() if of == kind and (not ops or op in ops))

    def each(self, kind: str, *ops: str) -> float:
        """Per email."""
        return self.total(kind, *ops) / self.emails

    def ops(self, kind: str) -> list[str]:
        """Names, in order."""
        return sorted(op for op, of in self.units if of == kind)


@dataclass(frozen=True)
class Rest:
    """What an idle service has spent, and how often each of its pipelines looked for work."""

    bill: Bill
    polls: Mapping[str, int]


@dataclass
class Watch:
    """Listens to a service: what is in flight, and how many emails have ended."""

    ended: int = 0
    in_flight: int = 0
    polls: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    complaints: list[str] = field(default_factory=list)
    told: Callable[[], None] = lambda: None
    _waiters: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        match event:
            case Claimed():
                self.in_flight += event.count
                self.polls[event.pipeline] += 1
            case Moved():
                self.in_flight -= 1
                self.ended += event.to in TERMINAL
                for count, waiter in self._waiters:
                    if self.ended >= count and not waiter.done():
                        waiter.set_result(None)
            case ClaimLost():
                self.in_flight -= 1
            case PipelineFailed():
                self.complaints.append(f"{event.pipeline}: {event.error}\n{event.traceback}")
        self.told()

    async def until_ended(self, count: int) -> None:
        if self.ended < count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((count, waiter))
            await waiter


@dataclass
class Running:
    """A service under way.

    Arguments:
        clock: where time is stepped.
    """

    watch: Watch
    stores: list[DynamodbStore]
    task: asyncio.Task[int]
    clock: SteppedClock | None = None

    async def until_ended(self, count: int) -> None:
        """Until that many emails have reached their end since the start."""
        await self.see(self.watch.until_ended(count))

    async def pass_by(self, seconds: float) -> None:
        """Let the stepped clock's time pass."""
        assert self.clock is not None, "this service runs on the machine's clock"
        await self.see(self.clock.pass_by(seconds))

    async def see(self, what: Coroutine[Any, Any, object]) -> None:
        """Wait for that. Errors: AssertionError when the service ends before."""
        seen = asyncio.create_task(what)
        try:
            async with asyncio.timeout(600):
                await asyncio.wait({seen, self.task}, return_when=asyncio.FIRST_COMPLETED)
            assert not self.task.done(), f"the service has ended: {self.watch.complaints}"
            await seen
        finally:
            seen.cancel()


def bill_of(spent: Sequence[Spent], emails: int = 0, seconds: float = 0.0) -> Bill:
    """A bill of what meters say."""
    units: defaultdict[tuple[str, str], float] = defaultdict(float)
    for op, kind, amount in spent:
        units[op, kind] += amount
    return Bill(dict(units), emails, seconds)


def difference(after: Bill, before: Bill) -> Bill:
    units = {key: amount - before.units.get(key, 0.0) for key, amount in after.units.items()}
    return Bill({key: amount for key, amount in units.items() if amount}, after.emails, after.seconds)
