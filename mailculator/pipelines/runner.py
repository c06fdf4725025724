"""The only loop: claim, handle, record."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.events import Claimed, Observer, PipelineFailed
from mailculator.journal.base import Marks
from mailculator.lifecycle import Outcome, Release, Retry
from mailculator.model import Email, Status
from mailculator.pipelines.base import Pipeline
from mailculator.pipelines.headway import Headway
from mailculator.pipelines.leases import Keeper
from mailculator.pipelines.recorder import Recorder
from mailculator.pipelines.solitude import Solitude
from mailculator.pipelines.tasks import Tasks, Work
from mailculator.stores.base import Store
from mailculator.timing import Timing

OFTENER = 5
"""While mail comes that nobody announces, so many times as often as on an idle queue is looked for it: it waits for the
next look, and a look that finds nothing costs a thousandth of a second."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a runner claims.

    Arguments:
        holder: the replica's name, kept in the rows it holds.
        interval: the longest idle wait between two polls, in seconds.
        batch: emails in one claim or record, at the most.
    """

    holder: str
    interval: float
    batch: int


class Runner:
    """One pipeline over one store.

    Claims whenever there is room, ahead of its handlers, so that no handler waits for a claim and no claim for the
    slowest handler: by as many emails as they handle at once, or as end while a group of results gathers, so that a
    claim that has its price by the transaction takes many. Where the store renews each lease by itself, by no more than
    begin before their first renewal. What was claimed ahead and not begun is given back when the process stops or the
    breaker opens.

    Arguments:
        marks: the journal: what has begun and not ended when the process dies may be what it died of.
        solitude: of the whole process; an email that one may have died of is handled alone.
        wake: told the waiting status that an email of ours has reached.
        on_death: told what ended the loop, if it was not `stop`; `run` goes on until what has begun is on record.
    """

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        *,
        pace: Pace,
        timing: Timing,
        keeper: Keeper,
        marks: Marks,
        solitude: Solitude,
        clock: Clock,
        rng: random.Random,
        observer: Observer,
        wake: Callable[[Status], None],
        on_death: Callable[[Exception], None],
    ) -> None:
        self._on_death = on_death
        self.stage = pipeline.stage
        self.last_turn = clock.now()
        self._store = store
        self._pipeline = pipeline
        self._pace = pace
        self._timing = timing
        self._keeper = keeper
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._wake_next = wake
        self._news = asyncio.Event()
        self._halt = asyncio.Event()
        self._look = True
        self._looked_at = clock.now()
        self._by_itself = False
        self._flowing = False
        self._failures = 0
        self._paused = False
        self._ahead: deque[tuple[Email, float]] = deque()
        self._headway = (
            Headway(clock, window=timing.gather, most=pace.batch)
            if store.capabilities.renews_together
            else Headway(clock, window=timing.renew_every, most=pipeline.concurrency)
        )
        self._tasks = Tasks(
            store.name, pipeline, marks=marks, solitude=solitude, on_ended=self._ended, on_bug=self._bug
        )
        self._unrecorded = 0
        self._recorder = Recorder(
            store,
            pipeline.stage.name,
            group=pace.batch,
            gather=timing.gather if store.capabilities.renews_together else timing.gather_each,
            timing=timing,
            clock=clock,
            rng=rng,
            observer=observer,
            backlog=lambda: bool(self._ahead),
            on_done=self._recorded,
        )
        for breaker in pipeline.breakers:
            breaker.on_change(self.wake)

    @property
    def in_flight(self) -> int:
        """Emails that are claimed and whose result is not on record."""
        return len(self._ahead) + len(self._tasks) + self._unrecorded

    def wake(self) -> None:
        """Look for work now: something may be due."""
        self._look = True
        self._news.set()

    def pause(self) -> None:
        """Claim nothing more until `resume`, and give back what has not begun; what has begun is finished."""
        self._paused = True
        self._give_back("paused")

    def resume(self) -> None:
        """Claim again."""
        self._paused = False
        self.wake()

    def stop(self) -> None:
        """Claim nothing more, give back what has not begun; `run` ends when what has begun is on record."""
        self._halt.set()
        self._news.set()

    def abort(self) -> None:
        """Stop, and interrupt what is under way: each handler says how far it came."""
        self.stop()
        self._tasks.interrupt_all()

    async def run(self) -> None:
        """Until `stop`. Errors: whatever a bug in the recorder raises; handlers' bugs stay inside."""
        try:
            async with asyncio.TaskGroup() as group:
                name = f"{self._store.name}/{self.stage.name}/recorder"
                group.create_task(self._recorder.run(), name=name)
                try:
                    await self._loop()
                except Exception as error:  # a bug: what has begun is finished and written down all the same
                    self._on_death(error)
                self._give_back("stopping")
                await self._tasks.ended()
                self._recorder.finish()
        finally:
            self._tasks.interrupt_all()

    async def _loop(self) -> None:
        while not self._halt.is_set():
            await self.run_once()
            if self._failures:
                await self._clock.wait(self._halt, self._timing.store_backoff.delay(self._failures, self._rng))
            elif self._look:  # there is more, and no room for it: until a handler ends
                await self._clock.wait(self._news, self._pace.interval)
            else:
                # Handlers that end set the news too; they must not put the next look off for ever.
                due = self._looked_at + self._pace.interval / (OFTENER if self._flowing else 1)
                await self._clock.wait(self._news, due - self._clock.now())
                if not self._look and self._clock.now() >= due:
                    self._look = self._by_itself = True

    async def run_once(self) -> None:
        """One turn: claim what there is room for, and again as long as full batches come."""
        self.last_turn = self._clock.now()
        self._news.clear()
        self._begin()
        while self._look and not self._halt.is_set() and (room := self._room()) > 0:
            self.last_turn = self._clock.now()
            # Cleared first: a wake that comes during the claim must not be forgotten by its (older) answer.
            self._look = False
            if not await self._claim(room):
                return
            self._look = True

    def _room(self) -> int:
        if self._paused:
            return 0
        limit, ahead, held = self._pipeline.concurrency, self._headway.allowed(), self.in_flight
        if self._store.capabilities.renews_together:
            # Results that gather occupy nobody. Where they are not written at all, as many as a write takes are enough.
            ahead, held = max(limit, ahead), held - min(self._unrecorded, self._pace.batch)
        # Refill when half of what was claimed ahead is used up: a claim a freed slot would be a transaction an email.
        if len(self._ahead) > ahead // 2:
            return 0
        room = min(limit + ahead - held, self._pace.batch)
        if self._away():
            room = 0 if self.in_flight else self._admitted(room)
        return room

    def _admitted(self, room: int) -> int:
        return min(breaker.admits(room) for breaker in self._pipeline.breakers)

    def _away(self) -> str:
        """What an open breaker says is away; "" when all is there."""
        return next((breaker.name for breaker in self._pipeline.breakers if breaker.is_open), "")

    async def _claim(self, room: int) -> bool:
        asked_at = self._looked_at = self._clock.now()
        try:
            emails = await self._store.claim(self.stage, room, lease=self._timing.lease, holder=self._pace.holder)
        except StoreError:
            # Reported by the store's watcher.
            self._failures += 1
            self._look = True
            return False
        self._failures = 0
        if self._by_itself and not self._store.capabilities.looks_are_paid:
            self._flowing = bool(emails)
        self._by_itself = False
        self._tasks.claimed({email.claim_token for email in emails})  # one for all, or one each: the store's affair
        now = self._clock.now()
        for email in emails:
            lost = partial(self._tasks.interrupt, (email.id, email.claim_token))
            self._ahead.append((self._keeper.hold(email, asked_at, lost), now))
        self._begin()
        self._observer(Claimed(self._store.name, self.stage.name, len(emails), now - asked_at))
        return len(emails) == room

    def _begin(self) -> None:
        # A claim may come back after the stop, or a pause: none of it begins.
        if self._paused:
            self._give_back("paused")
        if self._halt.is_set():
            return
        claims: list[tuple[Email, float]] = []
        away = self._away()
        while self._ahead and len(self._tasks) + len(claims) < self._pipeline.concurrency:
            if away and (self._tasks or claims or not self._admitted(1)):
                self._give_back(f"the {away} is away")
                break
            email, claimed_at = self._ahead.popleft()
            if email.lease is None or email.lease.holds():
                claims.append((email, claimed_at))
            else:
                self._hand_in(email, Release("the lease ran out before it began"), claimed_at)
        self._tasks.begin(claims)
        if not self._ahead:
            self._recorder.hurry()

    def _ended(self, works: Sequence[Work]) -> None:
        self._headway.ended(len(works))
        for work in works:
            self._hand_in(work.email, work.outcome, work.claimed_at)
        self._begin()
        if self._look and self._room() > 0:  # else the loop would find nothing to do, once for each group
            self._news.set()

    def _bug(self, email: Email, error: Exception) -> Outcome:
        text = f"internal error: {type(error).__name__}"
        trace = "".join(traceback.format_exception(error))
        self._observer(
            PipelineFailed(self._store.name, self.stage.name, text, email_id=email.id, traceback=trace),
        )
        return Retry(text, self._timing.relay_backoff.delay(email.attempts, self._rng))

    def _hand_in(self, email: Email, outcome: Outcome, claimed_at: float) -> None:
        self._unrecorded += 1
        try:
            self._recorder.put(email, outcome, claimed_at)
        except ValueError as error:  # an outcome that this stage does not have: the pipeline's bug
            self._recorder.put(email, self._bug(email, error), claimed_at)

    def _give_back(self, reason: str) -> None:
        while self._ahead:
            email, claimed_at = self._ahead.popleft()
            self._hand_in(email, Release(reason), claimed_at)

    def _recorded(self, email: Email, to: Status | None) -> None:
        self._unrecorded -= 1
        self._keeper.drop(email)
        self._news.set()
        if to is not None:
            self._wake_next(to)
