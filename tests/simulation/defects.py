"""Defects that the service must not have, each put into it for the time of a block: the simulation has to see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from mailculator.equipment import Equipment
from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Kind
from mailculator.lifecycle import Acknowledged, Outcome, move
from mailculator.model import Email
from mailculator.pipelines.attempt import Attempt
from mailculator.pipelines.callback import Callback
from mailculator.pipelines.leases import Keeper
from mailculator.pipelines.recorder import Recorder, Result
from mailculator.pipelines.rescue import Judge, put_back
from mailculator.stores.base import Overdue, Recorded
from tests.simulation.queues import Queue
from tests.simulation.rows import Entry

Defect = Callable[[], AbstractContextManager[object]]


def no_fence() -> AbstractContextManager[object]:
    """A result is written whoever holds the row."""

    def holds(self: Queue, entry: Entry, email: Email) -> bool:
        return entry.status == email.status

    return mock.patch.object(Queue, "holds", holds)


def no_mark_of_the_dot() -> AbstractContextManager[object]:
    """The dot leaves, and the journal does not know."""

    async def may_leave(self: Attempt) -> bool:
        self.left = self.is_ours()
        return self.left

    return mock.patch.object(Attempt, "may_leave", may_leave)


def no_journal_asked() -> AbstractContextManager[object]:
    """A rescuer puts everything back."""

    def judge(self: Equipment, store: str) -> Judge:
        return put_back

    return mock.patch.object(Equipment, "judge", judge)


def no_look_before_the_dot() -> AbstractContextManager[object]:
    """Whoever stood still for longer than its lease lets its mail go all the same."""

    async def may_leave(self: Attempt) -> bool:
        try:
            await self._marks.dot(self._key)
        except JournalBroken as error:
            self.broken = error
        self.left = self.broken is None
        return self.left

    return mock.patch.multiple(Attempt, may_leave=may_leave, is_ours=lambda self: True)


def any_answer_acknowledges() -> AbstractContextManager[object]:
    """A callback that was answered counts as heard."""

    def postpone(self: Callback, email: Email, reason: str, retry_after: float | None) -> Outcome:
        return Acknowledged(reason)

    return mock.patch.object(Callback, "_postpone", postpone)


@contextmanager
def lost_claims_insisted_on() -> Iterator[None]:
    """A result whose claim is lost is written upon the claim that stands."""
    tell = Recorder._tell
    lost: list[tuple[Recorder, Result]] = []
    write = Recorder._write

    def listen(self: Recorder, result: Result, answer: Recorded, *moment: Any) -> None:
        if answer is Recorded.LOST:
            lost.append((self, result))
        tell(self, result, answer, *moment)

    async def insist(self: Recorder, group: list[Result]) -> None:
        await write(self, group)
        mine = [result for recorder, result in lost if recorder is self]
        lost.clear()
        for result in mine:
            row = await self._store.get(result.move.email.id)
            if row is not None and row.status == result.move.email.status:
                email = replace(result.move.email, version=row.version, claim_token=row.claim_token or "")
                await self._store.record([move(email, result.outcome)])

    with mock.patch.multiple(Recorder, _tell=listen, _write=insist):
        yield


def no_renewal() -> AbstractContextManager[object]:
    """A lease is never renewed, and believed to hold for ever."""

    async def renew(self: Keeper) -> None:
        for email, _ in self._held.values():
            if email.lease is not None:
                email.lease.expires_at += 1000.0

    return mock.patch.object(Keeper, "renew", renew)


def no_acceptance_read() -> AbstractContextManager[object]:
    """A reader overlooks that the relay took the mail."""
    from mailculator.journal import reader

    add = reader._Finding.add

    def overlook(self: Any, mark: Any, incarnation: str) -> None:
        if mark.kind is not Kind.ACCEPTED:
            add(self, mark, incarnation)

    return mock.patch.object(reader._Finding, "add", overlook)


def lease_counted_from_the_answer() -> AbstractContextManager[object]:
    """What a process believes outlives what the store says."""
    hold = Keeper.hold

    def late(self: Keeper, email: Email, asked_at: float, on_lost: Callable[[], None]) -> Email:
        return hold(self, email, self._clock.now(), on_lost)

    return mock.patch.object(Keeper, "hold", late)


def nothing_put_back() -> AbstractContextManager[object]:
    """What the dead have left is never found."""

    def overdue(self: Queue, limit: int, foreign_hold: float) -> Sequence[Overdue]:
        return []

    return mock.patch.object(Queue, "overdue", overdue)


DEFECTS: Mapping[str, Defect] = {
    one.__name__: one
    for one in (
        no_fence,
        no_mark_of_the_dot,
        no_journal_asked,
        no_look_before_the_dot,
        any_answer_acknowledges,
        lost_claims_insisted_on,
        no_renewal,
        no_acceptance_read,
        lease_counted_from_the_answer,
        nothing_put_back,
    )
}
