"""What is known of the stores, and what their minutes say."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from mailculator.lifecycle import TERMINAL
from mailculator.model import Status, StatusCount
from mailculator.notes import STOPPED
from mailculator.stores.base import Minute, Survey

OLD, NEW = "dynamodb", "mysql"
"""The queue that is left, and the one that takes its place."""

ACTIVE: tuple[Status, ...] = tuple(status for status in Status if status not in TERMINAL)

FRESH = 3
"""A replica that lives has noted a minute that ended at most so many minutes ago."""
SEEN = 15
"""A replica that has been silent for so many minutes without saying that it stops is held for dead."""
WINDOW = 10
"""Minutes over which rates are reckoned, and for which no new email may have come where the producer has left."""
DAY = 1440
"""Minutes that are read at the least."""

_NOTHING: Mapping[Status, StatusCount] = MappingProxyType({ACTIVE[0]: StatusCount(0, 0, 0.0)})
"""Counted, and nothing there."""
_NO_NOTES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of one store.

    Arguments:
        enabled: whether its pipelines are switched on in the environment at hand.
        configured: whether that environment says where it is.
        trouble: why it could not be looked at; then all that follows is empty.
        counts: its active statuses, now.
        minutes: what its replicas noted, for at least a day and for as long as it must have been quiet; oldest first.
    """

    name: str
    enabled: bool
    configured: bool = True
    trouble: str | None = None
    counts: Mapping[Status, StatusCount] = field(default_factory=dict)
    minutes: Sequence[Minute] = ()
    survey: Survey | None = None

    @property
    def known(self) -> bool:
        """Whether somebody looked, and the store answered."""
        return self.configured and self.trouble is None and self.survey is not None

    @property
    def active(self) -> int:
        """Emails that are not terminal, now."""
        return sum(one.count for one in self.counts.values())

    @property
    def parked(self) -> int:
        """Those of them that wait for an operator."""
        return sum(one.parked for one in self.counts.values())

    @property
    def oldest_age(self) -> float:
        """Seconds for which the oldest has been due."""
        return max((one.oldest_age for one in self.counts.values() if one.count), default=0.0)


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything an assessment rests on.

    Arguments:
        now: UTC.
        service: the version that judges.
        guard: whether ids are reserved, by the settings at hand.
        quiet: how long the old store must have been empty.
        minute: how long a minute is; shorter in tests.
    """

    now: datetime
    service: str
    guard: bool
    quiet: timedelta
    stores: Mapping[str, Look]
    minute: timedelta = timedelta(minutes=1)

    def look(self, name: str) -> Look:
        """What is known of a store; of one that is not there, that it is not configured."""
        return self.stores.get(name, Look(name, enabled=False, configured=False))

    @property
    def old(self) -> Look:
        """The queue that is left."""
        return self.look(OLD)

    @property
    def new(self) -> Look:
        """The queue that takes its place."""
        return self.look(NEW)

    def ago(self, when: datetime) -> timedelta:
        """How long ago something was; nothing is in the future, whatever a replica's clock says."""
        return max(self.now - when, timedelta())

    def since(self, minutes: int) -> datetime:
        """The moment so many minutes ago."""
        return self.now - minutes * self.minute


def reaches_back(quiet: timedelta, minute: timedelta) -> timedelta:
    """How far back minutes are read: for the quiet and what borders on it, and for a day at the least."""
    return max(quiet, DAY * minute) + 2 * minute


def is_idle(minute: Minute) -> bool:
    """Whether nothing stood in the store, came or left. A minute in which nobody could count tells neither."""
    if minute.entered or minute.left:
        return False
    for one in minute.counts.values():  # noqa: SIM110  # over a day of minutes `any` takes three times as long
        if one.count:
            return False
    return True


def gaps(situation: Situation, look: Look) -> list[tuple[datetime, datetime]]:
    """Where in the quiet span nobody has it on record how many emails there were, from and until.

    The end of the last minute on record may lie `FRESH` minutes back.
    """
    minute, begin = situation.minute, situation.now - situation.quiet
    tolerance = minute / 2
    # A clock that runs ahead proves nothing about the minutes that are still to come.
    counted = sorted(
        {one.at for one in look.minutes if one.counts and begin < one.at + minute and one.at <= situation.now}
    )
    found = []
    until = begin
    for at in counted:
        if at - until > tolerance:
            found.append((until, at))
        until = max(until, at + minute)
    if situation.now - until > FRESH * minute:
        found.append((until, situation.now))
    return found


def busy(situation: Situation, look: Look) -> list[Minute]:
    """The minutes of the quiet span in which there was mail."""
    begin = situation.now - situation.quiet
    return [one for one in look.minutes if one.at + situation.minute > begin and not is_idle(one)]


def empty_since(minutes: Iterable[Minute], minute: timedelta) -> datetime | None:
    """Since when the store has been empty, without a gap, until the last minute on record; None where it was not."""
    idle: dict[datetime, bool] = {}
    for one in minutes:
        # Who could not count says nothing of emptiness, but what it saw come or leave counts.
        if one.counts or not is_idle(one):
            idle[one.at] = idle.get(one.at, True) and is_idle(one)
    since: datetime | None = None
    for at in sorted(idle, reverse=True):
        if not idle[at] or (since is not None and since - at > 1.5 * minute):
            break
        since = at
    return since


def folded(minutes: Sequence[Minute]) -> Minute:
    """What several replicas noted of the same minute as one: whoever saw mail is believed.

    Of an old minute nobody asks for its notes or for statuses in which nothing stood: a day of them is kept, or a year.
    """
    busy = [one for one in minutes if not is_idle(one)]
    counted = [one for one in (*busy, *minutes) if one.counts]
    kept = (counted or minutes)[0]
    return replace(
        kept,
        replica=sys.intern(kept.replica),
        service=sys.intern(kept.service),
        counts=_standing(kept.counts),
        entered=sum(one.entered for one in minutes),
        left=sum(one.left for one in minutes),
        notes=_NO_NOTES,
    )


def _standing(counts: Mapping[Status, StatusCount]) -> Mapping[Status, StatusCount]:
    """Without the statuses in which nothing stood; counted all the same."""
    return {status: one for status, one in counts.items() if one.count} or (_NOTHING if counts else {})


def last_entry(look: Look) -> Minute | None:
    """The last minute in which a new email came."""
    return next((one for one in reversed(look.minutes) if one.entered), None)


def entered(look: Look, since: datetime | None) -> int:
    """How many new emails came in the minutes that began after that moment; in all that were read without one."""
    return sum(one.entered for one in look.minutes if since is None or one.at > since)


def latest(look: Look) -> dict[str, Minute]:
    """The last minute of each replica."""
    return {one.replica: one for one in look.minutes}


def living(situation: Situation, look: Look) -> dict[str, Minute]:
    """The last minute of each replica that works on the store as far as anybody knows: it has not said that it stops,
    and was seen within `SEEN` minutes."""
    begin = situation.since(SEEN)
    return {
        name: one
        for name, one in latest(look).items()
        if one.at + situation.minute >= begin and STOPPED not in one.notes
    }


def is_fresh(situation: Situation, minute: Minute) -> bool:
    """Whether a replica's last minute is so recent that it lives."""
    return situation.now - (minute.at + situation.minute) <= FRESH * situation.minute


@dataclass(frozen=True, slots=True)
class Rates:
    """What came and left over the last minutes.

    Arguments:
        begin, end: the minutes that were looked at.
        recorded: how many of them somebody has on record.
        entered, left: emails, of all replicas.
        per_minute: the length of a minute goes into it, so that a test's short minutes give true rates.
    """

    begin: datetime
    end: datetime
    recorded: int
    entered: int
    left: int
    seconds: float

    @property
    def entered_per_minute(self) -> float | None:
        """None where nothing is on record."""
        return self.entered * 60.0 / self.seconds if self.recorded else None

    @property
    def left_per_minute(self) -> float | None:
        """None where nothing is on record."""
        return self.left * 60.0 / self.seconds if self.recorded else None

    def empty_in(self, active: int) -> float | None:
        """Seconds until so many emails are gone at this rate; None where they do not become fewer."""
        if active == 0:
            return 0.0
        fewer = self.left - self.entered
        return active * self.seconds / fewer if self.recorded and fewer > 0 else None


def rates(situation: Situation, look: Look) -> Rates:
    """Over the last `WINDOW` minutes that can be on record."""
    minute = situation.minute
    # A replica that ends notes the minute that is under way: it is no whole one yet.
    whole = (one.at for one in look.minutes if one.at + minute <= situation.now)
    last = max(whole, default=situation.now - minute)
    end = max(last + minute, situation.now - FRESH * minute)
    begin = end - WINDOW * minute
    inside = [one for one in look.minutes if begin <= one.at < end]
    recorded = len({one.at for one in inside})
    return Rates(
        begin=begin,
        end=end,
        recorded=recorded,
        entered=sum(one.entered for one in inside),
        left=sum(one.left for one in inside),
        seconds=recorded * minute.total_seconds(),
    )
