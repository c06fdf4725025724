"""Why an email stands where it stands, in sentences: the first is the reason, what follows belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from mailculator import fleet, words
from mailculator.insight.view import View
from mailculator.lifecycle import (
    REQUEUES,
    SENDER,
    STAGE_BY_WAITING,
    STAGE_BY_WORKING,
    TERMINAL,
    UNSENT,
    WAITING,
    Stage,
    is_of_unknown_outcome,
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
    reason = words.sentence(row.reason or "no reason on record")
    if row.status is Status.SENT_ACKNOWLEDGED:
        yield "It is done: the relay took it, and its producer was told."
    elif row.status is Status.FAILED_ACKNOWLEDGED:
        yield f"It is done: it was not sent, and its producer was told why: {reason}"
    else:
        yield f"It cannot be sent as it is: {reason}"
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
    blocks = list(_blocks(stage, view))
    yield from (f"It waits, because {words.sentence(one)}" for one in blocks)
    wait = (row.due_at - now).total_seconds()
    if wait > 0:
        after = f", after try {row.attempts}" if row.attempts else ""
        yield f"Its next try at {stage.name} is due in {words.span(wait)}{after}."
        return
    due = f"It has been due at {stage.name} for {words.span(-wait)}"
    if blocks:
        yield f"{due}."
        return
    before = view.counts.get(row.status)
    among = f", one of {words.emails(before.count - before.parked)} that wait there" if before else ""
    yield f"{due}{among}, and will be taken in its turn."
    if stage is SENDER and any(one.facts.rate_reason for one in view.working):
        yield "The relay slows us down meanwhile."


def _blocks(stage: Stage, view: View) -> Iterator[str]:
    """What keeps every replica from claiming at a stage, each as what follows `because`."""
    title = words.title(view.store)
    for pause in view.pauses:
        if pause.stops(stage.name):
            until = "" if pause.until is None else f" until {words.at(pause.until)}"
            yield f"{pause.who} has paused {fleet.named(pause.pipeline)}{until}: {pause.why}"
    if view.stopped is not None:
        yield f"nothing is claimed from {title}: {view.stopped}"
    if not view.working:
        yield f"no replica works on {title}"
    elif all(one.facts.draining for one in view.working):
        yield f"every replica of {title} is being stopped"
    for name in _NEEDS[stage.name]:
        away = [one.facts.away[name] for one in view.working if name in one.facts.away]
        if away and len(away) == len(view.working):
            yield f"{_AWAY[name]}: {away[0].reason or 'no reason given'}"


def _held(row: Row, stage: Stage, view: View, now: datetime) -> Iterator[str]:
    if row.lease_until is None:
        yield f"Another program works on it, at {stage.name}; if it says nothing for long, it is taken up again."
        return
    holder = row.claimed_by or "another program"
    known = {one.name: one for one in view.members}.get(holder)
    left = (row.lease_until - now).total_seconds()
    if left > 0:
        yield f"It is in the hands of {holder} ({stage.name}), whose lease lasts for {words.span(left)} more."
        if known is not None and known.silent:
            silent = words.span(known.age)
            yield f"That replica has been silent for {silent}: when the lease is over, the email is taken up again."
        return
    then = "the next scan takes it up again" if view.working else "it is taken up again when a replica is there"
    yield f"It was in the hands of {holder} ({stage.name}), whose lease ended {words.span(-left)} ago: {then}."


def _besides(row: Row) -> Iterator[str]:
    if row.cancelled is not None and row.status in UNSENT:
        yield f"It is cancelled ({row.cancelled}): whoever takes it up next makes it FAILED, and its producer is told."
    if row.status in (Status.FAILED, Status.CALLING_FAILED_CALLBACK):
        yield f"It was not sent: {words.sentence(row.reason or 'no reason on record')}"
    if row.last_error and row.status not in TERMINAL:
        yield f"Its last error: {words.sentence(row.last_error)}"
    if is_of_unknown_outcome(row):
        yield "The relay may have it: the reply to an earlier try was lost."
    if row.crashes:
        times = "once" if row.crashes == 1 else f"{row.crashes} times in a row"
        yield f"A process that worked on it has died {times}; it is tried alone."


def _last_note(history: Sequence[HistoryEntry]) -> str:
    return next((entry.reason for entry in reversed(history) if entry.reason), "")
