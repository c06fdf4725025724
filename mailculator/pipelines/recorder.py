"""Writes results down in groups: while one write is under way, and for a moment after it, the next group gathers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime

from mailculator import lifecycle
from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import ClaimLost, Moved, Observer
from mailculator.lifecycle import Move, Outcome
from mailculator.model import Email, Status
from mailculator.pipelines.gathering import Gathering
from mailculator.stores.base import Recorded, Store
from mailculator.timing import Timing
from mailculator.values import value


@value
class Result:
    """One email's outcome, waiting to be written.

    Arguments:
        claimed_at: the clock's time of the claim.
    """

    move: Move
    outcome: Outcome
    claimed_at: float


class Recorder:
    """One pipeline's results on their way to one store. A quiet queue has no delay, a busy one large groups.

    A store that is away is asked again until it answers: a result is never dropped while the process lives. The store
    answers DONE for what it had applied before its reply was lost, so asking again doubles nothing.

    Arguments:
        pipeline: its name, for events.
        group: results in one write, at the most.
        gather: the longest that results gather after a write, in seconds, unless a whole group has come before.
        backlog: whether more mail waits for its turn here than is worked on.
        on_done: told the email, and the status it went to (None when its claim was lost), after the write.
    """

    def __init__(
        self,
        store: Store,
        pipeline: str,
        *,
        group: int,
        gather: float,
        timing: Timing,
        clock: Clock,
        rng: random.Random,
        observer: Observer,
        backlog: Callable[[], bool],
        on_done: Callable[[Email, Status | None], None],
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._group = group
        self._gathering = Gathering(clock, most=gather)
        self._backlog = backlog
        self._timing = timing
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._on_done = on_done
        self._waiting: list[Result] = []
        self._news = asyncio.Event()
        self._finishing = asyncio.Event()

    def put(self, email: Email, outcome: Outcome, claimed_at: float) -> None:
        """Hand in a result; returns at once."""
        self._waiting.append(Result(lifecycle.move(email, outcome), outcome, claimed_at))
        self._news.set()
        if len(self._waiting) >= self._group:
            self._gathering.enough()

    def finish(self) -> None:
        """No more results will come: `run` ends when those there are have been written."""
        self._finishing.set()
        self._news.set()
        self._gathering.enough()

    def hurry(self) -> None:
        """No more mail waits for its turn: nothing is won by long gathering."""
        self._gathering.hurry()

    async def run(self) -> None:
        """Write until `finish` and all is written."""
        while self._waiting or not self._finishing.is_set():
            await self._news.wait()
            if not self._finishing.is_set():
                self._news.clear()
            while self._waiting:
                await self._gathering.wait()
                group, self._waiting = self._waiting[: self._group], self._waiting[self._group :]
                began = self._clock.now()
                await self._write(group)
                self._gathering.wrote(self._clock.now() - began, backlog=self._backlog())
                if len(self._waiting) >= self._group or self._finishing.is_set():
                    self._gathering.enough()

    async def _write(self, group: list[Result]) -> None:
        moves = [result.move for result in group]
        never = asyncio.Event()
        tries = 0
        while True:
            try:
                answers = await self._store.record(moves)
                break
            except StoreError:
                # Reported by the store's watcher. Nothing else may happen to these emails before this is written.
                tries += 1
                await self._clock.wait(never, self._timing.store_backoff.delay(tries, self._rng))
        # A group is told as of one moment. The age is for metrics alone, so the process's wall clock will do beside the
        # store's creation time.
        now, utc = self._clock.now(), datetime.now(UTC)
        for result, answer in zip(group, answers, strict=True):
            self._tell(result, answer, now, utc)

    def _tell(self, result: Result, answer: Recorded, now: float, utc: datetime) -> None:
        email, name = result.move.email, type(result.outcome).__name__.lower()
        if answer is Recorded.LOST:
            self._on_done(email, None)
            self._observer(ClaimLost(self._store.name, self._pipeline, email.id, name))
            return
        self._on_done(email, result.move.to)
        self._observer(
            Moved(
                store=self._store.name,
                pipeline=self._pipeline,
                email_id=email.id,
                outcome=name,
                origin=email.status,
                to=result.move.to,
                version=email.version + 1,
                attempt=email.attempts,
                seconds=now - result.claimed_at,
                age=max(0.0, (utc - email.created_at).total_seconds()),
                note=result.move.note,
                parked=result.move.park,
            )
        )
