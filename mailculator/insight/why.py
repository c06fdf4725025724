"""Why an email stands where it stands, in sentences: the first is the reason, what follows belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from mailculator import words
from mailculator.insight.view import View
from mailculator.lifecycle import (
    REQUEUES,
    STAGE_BY_WAITING,
    STAGE_BY_WORKING,
    TERMINAL,
    UNSENT,
    WAITING,
    Stage,
    says_unknown,
)
from mailculator.model import HistoryEntry, Row, Status

_NEEDS = {
    "intake": ("share",),
    "sender": ("relay", "journal", "share"),
    "sent-callback": ("callback",),
    "failed-callback": ("callback",),
}
"""Whose breakers keep which pipeline from claiming."""

_AWAY = {
    "relay": "the relay takes no mail",
    "journal": "the journal cannot be written",
    "share": "payload files cannot be read",
    "callback": "callbacks fail",
}


def why(row: Row, history: Sequence[HistoryEntry], view: View, now: datetime) -> list[str]:
    """The sentences.

    Arguments:
        view: of the store where the email stands; without counts it will do.
        now: UTC, by the store's clock or one near it.
    """
    return [*_standing(row, history, view, now), *_besides(row)]


def _standing(row: Row, history: Sequence[HistoryEntry], view: View, now: datetime) -> Iterator[str]:
    if row.status in TERMINAL:
        yield from _ended(row)
    elif row.status in WAITING:
        yield from _waiting(row, STAGE_BY_WAITING[row.status], history, view, now)
    else:
        yield from _held(row, STAGE_BY_WORKING[row.status], view, now)


def _ended(row: Row) -> Iterator[str]:
    if row.status is Status.SENT_ACKNOWLEDGED:
        yield "It is done: the relay took it, and its producer was told."
    elif row.status is Status.FAILED_ACKNOWLEDGED:
        yield f"It is done: it was not sent ({row.reason or 'no reason on record'}), and its producer was told."
    else:
        yield f"It cannot be sent as it is: {row.reason or 'no reason on record'}."
    # Honest about what would follow: only these send mail.
    if REQUEUES[row.status] in UNSENT:
        yield "A requeue would send it anew."
    else:
        yield "A requeue would repeat the callback, and send no mail."


def _waiting(row: Row, stage: Stage, history: Sequence[HistoryEntry], view: View, now: datetime) -> Iterator[str]:
    if row.parked:
        last = _last_note(history)
        yield f"It is parked, and nobody works on it until it is released{f' ({last})' if last else ''}."
        return
    pauses = [pause for pause in view.pauses if pause.stops(stage.name)]
    for pause in pauses:
        until = "" if pause.until is None else f" until {words.at(pause.until)}"
        yield f"It waits, because {pause.who} has paused {stage.name}{until}: {pause.why}."
    if view.stopped is not None:
        yield f"It waits, because nothing is claimed from {words.title(view.store)}: {view.stopped}."
    if not view.working:
        yield f"It waits, because no replica works on {words.title(view.store)}."
    for name in _NEEDS[stage.name]:
        away = [one.facts.away[name] for one in view.working if name in one.facts.away]
        if away and len(away) == len(view.working):
            yield f"It waits, because {_AWAY[name]}: {away[0].reason}."
    wait = (row.due_at - now).total_seconds()
    if wait > 0:
        after = f", after try {row.attempts}" if row.attempts else ""
        yield f"Its next try at {stage.name} is due in {words.span(wait)}{after}."
    elif not pauses and view.working:
        before = view.counts.get(row.status)
        among = f" among {words.emails(before.count - before.parked)} there" if before else ""
        yield f"It is due at {stage.name} since {words.span(-wait)}{among}, and will be taken in its turn."


def _held(row: Row, stage: Stage, view: View, now: datetime) -> Iterator[str]:
    holder = row.claimed_by or "another program"
    known = {one.name: one for one in view.members}.get(holder)
    if row.lease_until is None:
        yield f"{stage.name} of another program works on it; it is taken up again if that stays silent."
        return
    left = (row.lease_until - now).total_seconds()
    if left > 0:
        yield f"{stage.name} of {holder} is working on it; its lease lasts for {words.span(left)} more."
        if known is not None and known.silent:
            yield f"{holder} has been silent for {words.span(known.age)}: when the lease is over, it is taken up again."
    else:
        yield f"{holder} held it, and its lease ended {words.span(-left)} ago: the next scan takes it up again."


def _besides(row: Row) -> Iterator[str]:
    if row.cancelled is not None and row.status in UNSENT:
        yield f"It is cancelled ({row.cancelled}), and will be FAILED when it is next taken up."
    if row.last_error and row.status not in TERMINAL:
        yield f"Its last error: {row.last_error}."
    if says_unknown(row.last_error) or says_unknown(row.reason):
        yield "The relay may have it: the reply to an earlier try was lost."
    if row.crashes:
        times = "once" if row.crashes == 1 else f"{row.crashes} times in a row"
        yield f"A process that worked on it has died {times}; it is tried alone."


def _last_note(history: Sequence[HistoryEntry]) -> str:
    return next((entry.reason for entry in reversed(history) if entry.reason), "")
