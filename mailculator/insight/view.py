"""One look at one store: all that the page and the command line tell of a queue rests on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailculator import facts
from mailculator.errors import StoreError
from mailculator.facts import Facts
from mailculator.fleet import Pause, Replica
from mailculator.lifecycle import TERMINAL, WAITING
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Ping, Store

SILENT_AFTER = 20.0
"""Seconds after which a replica that says nothing is told of as silent; it reports every five, or every fifteen where
that costs money."""


@dataclass(frozen=True, slots=True)
class Member:
    """A replica of a store.

    Arguments:
        silent: it has not reported for longer than it should, and had not said that it stops.
    """

    name: str
    service: str
    age: float
    facts: Facts
    silent: bool

    @classmethod
    def of(cls, replica: Replica) -> Member:
        """From what stands in the store."""
        found = Facts.of(replica.facts)
        silent = replica.age > SILENT_AFTER and not found.stopped
        return cls(replica.name, replica.service, replica.age, found, silent)

    @property
    def works(self) -> bool:
        """Whether it is there: neither silent nor stopped."""
        return not self.silent and not self.facts.stopped


@dataclass(frozen=True, slots=True)
class View:
    """A store as it was seen.

    Arguments:
        at: when it was looked at, UTC, by this machine.
        error: why nothing is known of it; None where it answered.
        ping: None where it did not answer.
        counts: emails by status; terminal statuses only where they were asked for.
        stopped: why the store itself has stopped the claims of every replica.
        poisoned: ids of records that nobody can work on, some of them; `poisoned_count` all of them.
    """

    store: str
    at: datetime
    error: str | None = None
    ping: Ping | None = None
    counts: Mapping[Status, StatusCount] = field(default_factory=dict)
    pauses: Sequence[Pause] = ()
    members: Sequence[Member] = ()
    stopped: str | None = None
    poisoned: Sequence[str] = ()
    poisoned_count: int = 0

    @property
    def stores_time(self) -> datetime:
        """The same moment by the store's clock, as near as it is known."""
        off = self.ping.clock_off if self.ping is not None else None
        return self.at - timedelta(seconds=off or 0.0)

    @property
    def working(self) -> Sequence[Member]:
        """The replicas that are there."""
        return [one for one in self.members if one.works]

    @property
    def backlog(self) -> int:
        """Emails that are yet to end and that somebody will work on without being asked to."""
        active = [one for status, one in self.counts.items() if status not in TERMINAL]
        return sum(one.count - one.parked for one in active)

    @property
    def parked(self) -> int:
        """Emails that are set aside."""
        return sum(one.parked for status, one in self.counts.items() if status in WAITING)

    @property
    def rates(self) -> Mapping[str, float]:
        """What all replicas together do in a second, by the words of `facts`."""
        names = (facts.ENTERED, facts.SENT, facts.FAILED, facts.INVALID, facts.ACKNOWLEDGED, facts.RETRIED)
        return {name: sum(one.facts.rates.get(name, 0.0) for one in self.working) for name in names}

    @property
    def seconds_to_empty(self) -> float | None:
        """How long the backlog lasts at the pace at which mail ends now, beyond what comes in; None = it does not end
        at that pace, 0 = it is empty."""
        if not self.backlog:
            return 0.0
        rates = self.rates
        ends = rates[facts.ACKNOWLEDGED] + rates[facts.INVALID]
        net = ends - rates[facts.ENTERED]
        return self.backlog / net if net > 0 else None


async def look(store: Store, *, terminal: bool = False) -> View:
    """Ask a store for all of it at once. A store that does not answer is an answer, too.

    Arguments:
        terminal: count terminal statuses as well, which takes long where there are millions.
    """
    at = datetime.now(UTC)
    try:
        ping, counts, pauses, replicas, survey = await asyncio.gather(
            store.ping(),
            store.counts(terminal=terminal),
            store.control.pauses(),
            store.control.replicas(),
            store.survey(),
        )
    except StoreError as error:
        return View(store.name, at, error=str(error))
    return View(
        store.name,
        at,
        ping=ping,
        counts=counts,
        pauses=pauses,
        members=[Member.of(one) for one in replicas],
        stopped=survey.stopped,
        poisoned=survey.poisoned,
        poisoned_count=survey.poisoned_count,
    )
