"""The emails that one runner's pipeline works on: a task each, but they begin and end in groups."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mailculator.journal.base import Marks
from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Key, claim_key
from mailculator.lifecycle import Outcome, Release
from mailculator.model import Email
from mailculator.pipelines.base import Pipeline
from mailculator.pipelines.solitude import Solitude


@dataclass(slots=True, eq=False)
class Work:
    """An email under way.

    Arguments:
        claimed_at: the clock's time of the claim.
        key: what it is marked as.
        joined: it is there with whoever else is, and its marks are made with theirs.
        task: None until its beginning is marked.
        over: its handler has ended, or will never begin.
        outcome: what came of it, once it is over.
    """

    email: Email
    claimed_at: float
    key: Key
    joined: bool
    task: asyncio.Task[Outcome] | None = None
    over: bool = False
    outcome: Outcome = Release("interrupted")


class Tasks:
    """Works on claimed emails, side by side.

    Under load dozens of emails begin and end in a turn of the loop: what was claimed together, or what the same write
    of the journal, or the same look at the sockets, let go on. They share the marks of their beginning and of their
    end, and whoever waits for the ends is told once.

    Nothing but sending depends on these marks: without them a crash is not counted, and that is all, so a journal that
    is broken stops nobody here.

    Arguments:
        store: its name, for the marks.
        solitude: of the whole process; an email that one may have died of is handled alone.
        on_ended: told of those that have ended, each with its outcome.
        on_bug: what becomes of an email whose handler raised what it should not have.
    """

    def __init__(
        self,
        store: str,
        pipeline: Pipeline,
        *,
        marks: Marks,
        solitude: Solitude,
        on_ended: Callable[[Sequence[Work]], None],
        on_bug: Callable[[Email, Exception], Outcome],
    ) -> None:
        self._store = store
        self._name = f"{store}/{pipeline.stage.name}"
        self._pipeline = pipeline
        self._marks = marks
        self._solitude = solitude
        self._on_ended = on_ended
        self._on_bug = on_bug
        self._claims: list[Key] = []
        self._works: dict[tuple[str, str], Work] = {}
        self._over: list[Work] = []
        self._beginning: set[asyncio.Task[None]] = set()
        self._nobody = asyncio.Event()

    def __len__(self) -> int:
        return len(self._works)

    def claimed(self, tokens: Iterable[str]) -> None:
        """Have these claims marked with the next `begin`, in one go with what begins, and before it.

        Whatever is marked of what a claim took comes after the claim: who looks for it need look no further back.
        """
        self._claims += [claim_key(self._store, token) for token in tokens]

    def begin(self, claims: Iterable[tuple[Email, float]]) -> None:
        """Begin to work on these, if any, each with the time of its claim; returns at once."""
        together: list[Work] = []
        for email, claimed_at in claims:
            joined = not email.crashes and self._solitude.join_now()
            work = Work(email, claimed_at, Key(self._store, email.id, email.version), joined)
            self._works[email.id, email.claim_token] = work
            if joined:
                together.append(work)
            else:
                self._go(work, self._in_its_turn(work))
        if together or self._claims:
            task = asyncio.get_running_loop().create_task(self._begin(together), name=f"{self._name}/begin")
            self._beginning.add(task)  # the loop itself keeps only a weak reference
            task.add_done_callback(self._beginning.discard)

    def interrupt(self, claim: tuple[str, str]) -> None:
        """Cancel the handler of a claim (id and token), if there is one; it says how far it came."""
        work = self._works.get(claim)
        if work is None or work.over:
            return
        if work.task is None:  # its handler does not exist yet
            self._end(work)
        else:
            work.task.cancel()

    def interrupt_all(self) -> None:
        """Cancel every handler."""
        for claim in self._works:
            self.interrupt(claim)

    async def ended(self) -> None:
        """Until nothing is under way, and whoever waits for the ends was told of the last."""
        while self._works:
            self._nobody.clear()
            await self._nobody.wait()

    async def _begin(self, together: Sequence[Work]) -> None:
        try:
            await self._mark(together)
        finally:
            for work in together:
                if not work.over:  # else it was interrupted meanwhile
                    self._go(work, self._pipeline.handle(work.email))

    def _go(self, work: Work, handling: Coroutine[Any, Any, Outcome]) -> None:
        work.task = asyncio.get_running_loop().create_task(handling, name=f"{self._name}/{work.email.id}")
        # A callback, not code in the task: a task that is cancelled before its first step runs none of its code.
        work.task.add_done_callback(partial(self._has_ended, work))

    async def _in_its_turn(self, work: Work) -> Outcome:
        """By itself, for mail that a process may have died of; and for what comes while such mail insists on that."""
        if work.email.crashes:
            async with self._solitude.alone():
                return await self._marked(work)
        await self._solitude.join()
        try:
            return await self._marked(work)
        finally:
            self._solitude.leave()

    async def _marked(self, work: Work) -> Outcome:
        await self._mark([work])
        try:
            return await self._pipeline.handle(work.email)
        finally:
            self._marks.end([work.key])

    async def _mark(self, works: Sequence[Work]) -> None:
        """Their handling starts; on return that survives the process."""
        keys = [*self._claims, *(work.key for work in works)]
        self._claims = []
        with contextlib.suppress(JournalBroken):
            await self._marks.begin(keys)

    def _has_ended(self, work: Work, task: asyncio.Task[Outcome]) -> None:
        # Only `interrupt` cancels; a handler that had gone too far to be undone answers instead.
        if not task.cancelled():
            error = task.exception()
            # A bug must cost one email one try, not the others their service.
            work.outcome = self._on_bug(work.email, error) if isinstance(error, Exception) else task.result()
        self._end(work)

    def _end(self, work: Work) -> None:
        work.over = True
        if not self._over:
            asyncio.get_running_loop().call_soon(self._tell)
        self._over.append(work)

    def _tell(self) -> None:
        """Of all that ended in this turn of the loop."""
        over, self._over = self._over, []
        joined = [work for work in over if work.joined]
        self._marks.end([work.key for work in joined if work.task is not None])
        for _ in joined:
            self._solitude.leave()
        for work in over:
            del self._works[work.email.id, work.email.claim_token]
        self._on_ended(over)
        if not self._works:
            self._nobody.set()
