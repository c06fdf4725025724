"""What became of mail whose holder is gone, by what its journal says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta

from mailculator.journal.base import Archive
from mailculator.journal.marks import Key, claim_key
from mailculator.journal.traces import Trace, Verdict, crashed, verdict
from mailculator.lifecycle import INTAKE, SENDER, STAGE_BY_WORKING, Failed, Invalid, Outcome, Park, Rescued, Retry, Sent
from mailculator.model import Email
from mailculator.pipelines.rescue import note_on
from mailculator.pipelines.unknown import Policy, decide, remember
from mailculator.stores.base import Overdue
from mailculator.timing import Timing

CLOCKS = timedelta(hours=26)
"""By which the clocks of a replica, of the store and of the journal's disk may differ: a day, and what time zones and
daylight saving add where somebody has set one by hand."""
ALONE = 3
"""Crashes of a mail that was handled alone, after which nobody touches it again."""


class Inquest:
    """The judge of one store's overdue mail.

    Arguments:
        store: its name, as in the marks.
        policy: what becomes of mail that the relay may have.
    """

    def __init__(self, store: str, archive: Archive, *, policy: Policy, timing: Timing, rng: random.Random) -> None:
        self._store = store
        self._archive = archive
        self._policy = policy
        self._timing = timing
        self._rng = rng

    async def __call__(self, found: Sequence[Overdue]) -> list[Outcome]:
        """One outcome each, in order."""
        traces = await self._traces(found)
        return [self._judge(one, traces.get(self._key(one))) for one in found]

    async def _traces(self, found: Sequence[Overdue]) -> Mapping[Key, Trace]:
        holders: dict[str, list[Overdue]] = {}
        for one in found:
            if one.holder is not None:
                holders.setdefault(one.holder, []).append(one)
        looks = [
            self._archive.look(
                holder,
                [self._key(one) for one in held],
                min(one.since for one in held) - CLOCKS,
                claims={claim_key(self._store, one.email.claim_token) for one in held},
            )
            for holder, held in holders.items()
        ]
        return {key: trace for traces in await asyncio.gather(*looks) for key, trace in traces.items()}

    def _key(self, one: Overdue) -> Key:
        return Key(self._store, one.email.id, one.email.version)

    def _judge(self, one: Overdue, trace: Trace | None) -> Outcome:
        """`trace` is None where another program held it, which keeps no journal: nobody knows what it did."""
        email, note = one.email, note_on(one)
        stage = STAGE_BY_WORKING[email.status]
        died = trace is not None and crashed(trace, self._timing.lease)
        if stage is SENDER and (known := self._sent(email, trace, note)) is not None:
            return known
        # The first crash may have been a neighbour's; from then on it was handled alone.
        if died and email.crashes >= ALONE:
            return _set_aside(email, f"crashed {ALONE} times")
        return Rescued(note, crashed=died)

    def _sent(self, email: Email, trace: Trace | None, note: str) -> Outcome | None:
        """What is known of its being sent, or that it is unknown; None where the relay cannot have it."""
        reply = None if trace is None else trace.reply
        if reply is None:
            if trace is not None and verdict(trace) is Verdict.NOT_SENT:
                return None
            return decide(self._policy, email, note, lambda error: Rescued(note, error=error))
        if reply.code // 100 == 2:
            return Sent(f"{reply.text} (by the journal; {note})")
        text = f"body: {reply.code} {reply.text}"
        if reply.code // 100 == 5:
            return Failed(text)
        return Retry(remember(email, text), self._timing.relay_backoff.delay(email.attempts, self._rng))


def _set_aside(email: Email, reason: str) -> Outcome:
    stage = STAGE_BY_WORKING[email.status]
    if stage is INTAKE:
        return Invalid(reason)
    return Failed(reason) if stage is SENDER else Park(reason)
