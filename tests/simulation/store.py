"""A replica's way to the queue: calls take their time, fail, are answered late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from mailculator.errors import StoreUnavailable
from mailculator.fleet import Deed, Pause, Replica
from mailculator.lifecycle import Move, Stage
from mailculator.model import Email, HistoryEntry, NewEmail, Row, Status, StatusCount
from mailculator.stores.base import (
    Capabilities,
    Enqueued,
    Minute,
    Overdue,
    Ping,
    Recorded,
    Renewal,
    Spent,
    Steered,
    Survey,
)
from mailculator.stores.control import Control
from mailculator.stores.rescue_name import RescueNames
from mailculator.stores.sought import Sought
from tests.simulation.board import Board
from tests.simulation.queues import Queue

T = TypeVar("T")
NAME = "simulated"


class Line(Protocol):
    """What lies between a replica and the queue."""

    def ask(self, op: str, apply: Callable[[], T]) -> asyncio.Future[T]:
        """Have something done there, sooner or later, and its answer brought back, if it comes back.

        Errors, of the future: StoreUnavailable.
        """


class DirectLine:
    """Everything at once."""

    def ask(self, op: str, apply: Callable[[], T]) -> asyncio.Future[T]:
        """Done when it returns."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(apply())
        return future


class SimulatedControl:
    """The Control of one process."""

    def __init__(self, board: Board, line: Line) -> None:
        self._board = board
        self._ask = line.ask

    async def pause(self, pipeline: str, *, seconds: float | None, who: str, why: str) -> None:
        """See Control, as with all that follows."""
        await self._ask("pause", partial(self._board.pause, pipeline, seconds, who, why))

    async def resume(self, pipeline: str, *, who: str, why: str) -> bool:
        return await self._ask("resume", partial(self._board.resume, pipeline, who, why))

    async def pauses(self) -> list[Pause]:
        return await self._ask("pauses", self._board.pauses)

    async def note(self, *, who: str, what: str, why: str) -> None:
        await self._ask("note", partial(self._board.note, who, what, why))

    async def audit(self, *, after: str | None = None, limit: int = 50) -> list[Deed]:
        return await self._ask("audit", partial(self._board.audit, after, limit))

    async def report(self, replica: str, *, service: str, facts: Mapping[str, Any]) -> None:
        await self._ask("report", partial(self._board.report, replica, service, facts))

    async def replicas(self) -> list[Replica]:
        return await self._ask("replicas", self._board.replicas)


class SimulatedStore:
    """The Store of one process."""

    name = NAME

    def __init__(self, queue: Queue, line: Line, names: RescueNames, *, renews_together: bool = True) -> None:
        self.capabilities = Capabilities(many_processes=True, renews_together=renews_together)
        self.control: Control = SimulatedControl(queue.board, line)
        self._queue = queue
        self._ask = line.ask
        self._names = names

    async def enqueue(self, emails: Sequence[NewEmail]) -> list[Enqueued]:
        """See Store, as with all that follows."""
        return await self._ask("enqueue", partial(self._queue.enqueue, emails))

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        return await self._ask("claim", partial(self._queue.claim, stage, limit, lease, holder))

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        return await self._ask("record", partial(self._queue.record, moves))

    async def renew(self, emails: Sequence[Email], *, lease: float) -> Renewal:
        return await self._ask("renew", partial(self._queue.renew, emails, lease))

    async def overdue(self, limit: int, *, foreign_hold: float) -> list[Overdue]:
        return await self._ask("overdue", partial(self._queue.overdue, limit, foreign_hold))

    async def rescue(self, moves: Sequence[Move], *, foreign_hold: float) -> list[Recorded]:
        return await self._ask("rescue", partial(self._queue.rescue, moves, foreign_hold, self._names.of))

    async def get(self, email_id: str) -> Row | None:
        return await self._ask("get", partial(self._queue.get, email_id))

    async def history(self, email_id: str) -> list[HistoryEntry]:
        return await self._ask("history", partial(self._queue.history, email_id))

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        return await self._ask("counts", partial(self._queue.counts, terminal))

    async def page(
        self,
        status: Status | None = None,
        *,
        parked: bool | None = None,
        unknown: bool = False,
        domain: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Row]:
        return await self._ask("page", partial(self._queue.page, Sought(status, parked, unknown, domain, after), limit))

    async def requeue(self, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
        return await self._ask("requeue", partial(self._queue.requeue, ids, who, why, ttl_extension))

    async def release(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        return await self._ask("release", partial(self._queue.mark, "released", ids, who, why))

    async def park(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        return await self._ask("park", partial(self._queue.mark, "parked", ids, who, why))

    async def hasten(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        return await self._ask("hasten", partial(self._queue.mark, "hastened", ids, who, why))

    async def cancel(self, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
        return await self._ask("cancel", partial(self._queue.mark, "cancelled", ids, who, why))

    async def purge(self, limit: int) -> int:
        return await self._ask("purge", partial(self._queue.purge, limit))

    async def remember(self, minute: Minute) -> None:
        await self._ask("remember", partial(self._queue.remembered.__setitem__, (minute.replica, minute.at), minute))

    async def minutes(self, since: datetime) -> list[Minute]:
        return await self._ask("minutes", lambda: self._minutes(since))

    def _minutes(self, since: datetime) -> list[Minute]:
        return sorted((one for one in self._queue.remembered.values() if one.at >= since), key=lambda one: one.at)

    async def upkeep(self, replica: str) -> None:
        """Nothing."""

    async def survey(self) -> Survey:
        return Survey(exact=True)

    def spent(self) -> Sequence[Spent]:
        return ()

    async def ping(self) -> Ping:
        return await self._ask("ping", lambda: Ping("simulated", tested=True, writable=True, seconds=0.0))

    async def close(self) -> None:
        """Nothing."""


def away(op: str, detail: str) -> StoreUnavailable:
    """What a store that is away is told as."""
    return StoreUnavailable(NAME, op, detail)
