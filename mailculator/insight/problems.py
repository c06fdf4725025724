"""What is wrong with a queue, in words, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from mailculator import fleet, words
from mailculator.insight.view import Member, View
from mailculator.lifecycle import STAGE_BY_WAITING, STAGES, WAITING
from mailculator.model import Status


class Severity(Enum):
    """How bad it is: mail stands still, some of it does, or an operator wants it so."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an operator should know of.

    Arguments:
        kind: short and stable: store_away, no_replica, draining, relay_away, callback_away, share_away, journal_away,
            stopped, paused, throttled, waiting, parked, unknown, poisoned, silent, read_only, clock_off.
        text: one sentence, for people.
        advice: what to do about it; a command to type, or "".
        status: the list that shows it; None where there is none. `parked` and `unknown` narrow that list.
        since: UTC; None where it is not known.
    """

    kind: str
    store: str
    severity: Severity
    text: str
    advice: str = ""
    status: Status | None = None
    parked: bool = False
    unknown: bool = False
    since: datetime | None = None


DUE_FOR = 120.0
"""Seconds for which mail may be due at a working pipeline before its waiting is told of."""
UNKNOWN_FOR = 3600.0
"""Seconds for which a lost reply is told of."""
CLOCK_OFF = 60.0
"""Seconds by which this machine's clock may differ from the store's."""


def problems(view: View) -> list[Problem]:
    """All of one store, worst first."""
    found = list(_all(view))
    order = list(Severity)
    return sorted(found, key=lambda one: order.index(one.severity))


def _all(view: View) -> Iterator[Problem]:
    if view.error is not None:
        # Away, or not to be used as it is: the error says which.
        text = f"{words.title(view.store)} cannot be looked at: {words.sentence(view.error)}"
        yield Problem("store_away", view.store, Severity.CRITICAL, text)
        return
    yield from _store(view)
    yield from _dependencies(view)
    yield from _pauses(view)
    yield from _members(view)
    yield from _mail(view)


def _store(view: View) -> Iterator[Problem]:
    if view.ping is not None and not view.ping.writable:
        yield Problem("read_only", view.store, Severity.CRITICAL, f"{words.title(view.store)} takes no writes.")
    if view.stopped is not None:
        yield Problem(
            "stopped",
            view.store,
            Severity.CRITICAL,
            f"Nothing is claimed from {words.title(view.store)}: {words.sentence(view.stopped)}",
            advice=f"mailculator {view.store} resume --why …",
        )
    off = view.ping.clock_off if view.ping is not None else None
    if off is not None and abs(off) > CLOCK_OFF:
        way = "ahead of" if off > 0 else "behind"
        text = f"This machine's clock is {abs(off):.0f} s {way} that of {words.title(view.store)}."
        yield Problem("clock_off", view.store, Severity.WARNING, text)


_WORDS = {
    "relay": ("The relay takes no mail", Status.READY),
    "callback": ("Callbacks fail", Status.SENT),
    "share": ("Payload files cannot be read", Status.ACCEPTED),
    "journal": ("The journal cannot be written, so that nothing is sent", Status.READY),
}


def _dependencies(view: View) -> Iterator[Problem]:
    """What open breakers say, once for all replicas that say it."""
    for name, (says, status) in _WORDS.items():
        among = [one for one in view.working if name in one.facts.away]
        if not among:
            continue
        since = min(one.facts.away[name].since for one in among)
        last = max((one.facts.away[name] for one in among), key=lambda one: one.since)
        everywhere = len(among) == len(view.working)
        where = "" if everywhere else f" at {_named(among)}"
        yield Problem(
            f"{name}_away",
            view.store,
            Severity.CRITICAL if everywhere else Severity.WARNING,
            f"{says}{where}, since {_clock(since, view.at)}: {words.sentence(last.reason or 'no reason given')}",
            advice="It goes on by itself when that is there again.",
            status=status,
            since=datetime.fromtimestamp(since, UTC),
        )
    slowed = [one for one in view.working if one.facts.rate_reason]
    if slowed:
        least = min(one.facts.rate for one in slowed)
        reason = slowed[0].facts.rate_reason
        text = f"The relay slows us down ({reason}): {least:.3g} mails a second at the most, at {_named(slowed)}."
        yield Problem("throttled", view.store, Severity.WARNING, text, status=Status.READY)


def _pauses(view: View) -> Iterator[Problem]:
    for pause in view.pauses:
        until = "until somebody resumes it" if pause.until is None else f"until {words.at(pause.until)}"
        name = "" if pause.pipeline == fleet.WHOLE else f" {pause.pipeline}"
        yield Problem(
            "paused",
            view.store,
            Severity.INFO,
            f"{_capital(fleet.named(pause.pipeline))} paused by {pause.who} {until}: {words.sentence(pause.why)}",
            advice=f"mailculator resume{name} --store {view.store} --why …",
            status=next((stage.waiting for stage in STAGES if stage.name == pause.pipeline), None),
            since=pause.since,
        )


def _members(view: View) -> Iterator[Problem]:
    for one in view.members:
        if one.silent:
            text = f"Replica {one.name} has been silent for {words.span(one.age)}."
            yield Problem("silent", view.store, Severity.WARNING, text)
    if not view.working:
        waits = ", though mail waits there." if view.backlog else "."
        text = f"No replica works on {words.title(view.store)}{waits}"
        severity = Severity.CRITICAL if view.backlog else Severity.WARNING
        yield Problem("no_replica", view.store, severity, text, advice="mailculator run, where the service should be.")
    elif all(one.facts.draining for one in view.working):
        text = f"Every replica of {words.title(view.store)} is being stopped: nothing more is claimed."
        yield Problem("draining", view.store, Severity.WARNING, text)


def _mail(view: View) -> Iterator[Problem]:
    for status in sorted(WAITING):
        one = view.counts.get(status)
        if one is None:
            continue
        if one.parked:
            text = f"{words.emails(one.parked)} parked in {status}: nobody works on {_them(one.parked)} until released."
            advice = "mailculator queue list --parked; mailculator release ID --why …"
            yield Problem("parked", view.store, Severity.WARNING, text, advice, status, parked=True)
        stage = STAGE_BY_WAITING[status].name
        paused = any(pause.stops(stage) for pause in view.pauses)
        if one.oldest_age > DUE_FOR and not paused:
            text = (
                f"{words.emails(one.count - one.parked)} in {status}, the oldest due for {words.span(one.oldest_age)}."
            )
            yield Problem("waiting", view.store, Severity.WARNING, text, status=status)
    yield from _unknown(view)
    if view.poisoned_count:
        some = ", ".join(view.poisoned[:3])
        text = f"{view.poisoned_count} records that nobody can work on, among them {some}."
        yield Problem("poisoned", view.store, Severity.WARNING, text)


def _unknown(view: View) -> Iterator[Problem]:
    """Replies that were lost a short while ago; the lists show all of them, however old."""
    lately = view.at.timestamp() - UNKNOWN_FOR
    among = [one.facts for one in view.members if one.facts.unknown is not None and one.facts.unknown.at >= lately]
    last = max((one.unknown.at for one in among if one.unknown is not None), default=None)
    if last is None:
        return
    count = sum(one.unknown_count for one in among)
    text = f"The relay may have {words.emails(count)} whose reply was lost, the last at {_clock(last, view.at)}."
    advice = "mailculator queue list --unknown"
    since = datetime.fromtimestamp(last, UTC)
    yield Problem("unknown", view.store, Severity.WARNING, text, advice, unknown=True, since=since)


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _named(members: Sequence[Member]) -> str:
    return words.some([one.name for one in members], 3)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _clock(epoch: float, now: datetime) -> str:
    """The time of day; with the date, where that is not today's."""
    when = datetime.fromtimestamp(epoch, UTC)
    return f"{when:%H:%M:%SZ}" if when.date() == now.date() else words.at(when)
