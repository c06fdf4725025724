"""What is known of a queue, as JSON. Whatever anybody wrote is text, and has its mail addresses masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mailculator import words
from mailculator.cutover.assessment import Assessment, Phase
from mailculator.facts import Said
from mailculator.fleet import Deed, Pause
from mailculator.insight.attempts import attempts
from mailculator.insight.problems import Problem, problems
from mailculator.insight.view import Member
from mailculator.lifecycle import STAGES, TERMINAL
from mailculator.model import HistoryEntry, Row, Status
from mailculator.web.admin.looks import Sight

Text = Callable[[str], str]
"""What becomes of a text that others wrote: masked, or left as it is."""

FLOW = (
    Status.ACCEPTED,
    Status.INTAKING,
    Status.READY,
    Status.PROCESSING,
    Status.SENT,
    Status.CALLING_SENT_CALLBACK,
    Status.SENT_ACKNOWLEDGED,
    Status.FAILED,
    Status.CALLING_FAILED_CALLBACK,
    Status.FAILED_ACKNOWLEDGED,
    Status.INVALID,
)
"""The statuses in the order in which mail goes through them."""


def overview(sights: Sequence[Sight], assessment: Assessment | None, text: Text) -> dict[str, Any]:
    """All of it: the stores side by side, what is wrong, and how far a cutover is."""
    found = [one for sight in sights for one in problems(sight.view)]
    order = ["critical", "warning", "info"]
    found.sort(key=lambda one: order.index(one.severity.value))
    return {
        "at": moment(datetime.now(UTC)),
        "stores": [_store(sight, text) for sight in sights],
        "problems": [_problem(one, text) for one in found],
        "cutover": _cutover(assessment),
    }


def moment(at: datetime) -> str:
    """A time, in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def row(found: Row, text: Text) -> dict[str, Any]:
    """An email in a list."""
    return {
        "id": found.id,
        "status": found.status,
        "version": found.version,
        "attempts": found.attempts,
        "parked": found.parked,
        "cancelled": _maybe(found.cancelled, text),
        "recipient_domain": found.recipient_domain,
        "last_error": _maybe(found.last_error, text),
        "reason": _maybe(found.reason, text),
        "created_at": moment(found.created_at),
        "updated_at": moment(found.updated_at),
        "due_at": moment(found.due_at),
        "crashes": found.crashes,
        "claimed_by": found.claimed_by,
        "generation": found.generation,
    }


def email(
    found: Row,
    history: Sequence[HistoryEntry],
    why: Sequence[str],
    actions: Sequence[Mapping[str, Any]],
    text: Text,
) -> dict[str, Any]:
    """An email's own page."""
    return {
        **row(found, text),
        "payload_file_path": found.payload_file_path,
        "eml_file_path": found.eml_file_path,
        "ttl": found.ttl,
        "lease_until": _maybe(found.lease_until, moment),
        "reached_at": _maybe(found.reached_at, moment),
        "history": [
            {
                "at": moment(one.created_at),
                "status": one.status,
                "version": one.version,
                "attempt": attempt,
                "note": _maybe(one.reason, text),
            }
            for one, attempt in zip(history, attempts(history), strict=True)
        ],
        "why": [text(one) for one in why],
        "actions": list(actions),
    }


def deed(found: Deed, text: Text) -> dict[str, Any]:
    """A line of the audit list."""
    return {"at": moment(found.at), "who": found.who, "what": found.what, "why": text(found.why)}


def _store(sight: Sight, text: Text) -> dict[str, Any]:
    view = sight.view
    return {
        "store": view.store,
        "title": words.title(view.store),
        "error": _maybe(view.error, text),
        "latency_ms": None if view.ping is None else round(view.ping.seconds * 1000.0, 1),
        "writable": None if view.ping is None else view.ping.writable,
        "statuses": [_status(status, sight) for status in FLOW],
        "backlog": view.backlog,
        "parked": view.parked,
        "rates": {name: round(rate, 3) for name, rate in view.rates.items()},
        "seconds_to_empty": view.seconds_to_empty,
        "pauses": [_pause(one, text) for one in view.pauses],
        "replicas": [_replica(one, text) for one in view.members],
        "pipelines": [stage.name for stage in STAGES],
        "can": {"search_domain": not sight.paid, "list_terminal": not sight.paid},
    }


def _status(status: Status, sight: Sight) -> dict[str, Any]:
    if status in TERMINAL:
        counted = _maybe(sight.ended.at, moment)
        count = sight.ended.counts.get(status)
        return {"status": status, "count": count, "parked": 0, "oldest_age_s": None, "counted_at": counted}
    one = sight.view.counts.get(status)
    return {
        "status": status,
        "count": None if one is None else one.count,
        "parked": 0 if one is None else one.parked,
        "oldest_age_s": None if one is None else round(one.oldest_age, 1),
        "counted_at": None if one is None else _maybe(sight.counted, moment),
    }


def _pause(one: Pause, text: Text) -> dict[str, Any]:
    return {
        "pipeline": one.pipeline,
        "who": one.who,
        "why": text(one.why),
        "since": moment(one.since),
        "until": _maybe(one.until, moment),
    }


def _replica(one: Member, text: Text) -> dict[str, Any]:
    facts = one.facts
    return {
        "name": one.name,
        "version": one.service,
        "age_s": round(one.age, 1),
        "silent": one.silent,
        "stopped": facts.stopped,
        "draining": facts.draining,
        "in_flight": dict(facts.in_flight),
        "rates": {name: round(rate, 3) for name, rate in facts.rates.items()},
        "away": {name: {"since": _epoch(away.since), "reason": text(away.reason)} for name, away in facts.away.items()},
        "relay": _said(facts.relay, text),
        "callback": _said(facts.callback, text),
        "rate": facts.rate,
        "rate_reason": text(facts.rate_reason),
    }


def _said(said: Said | None, text: Text) -> dict[str, Any] | None:
    return None if said is None else {"at": _epoch(said.at), "text": text(said.text)}


def _problem(one: Problem, text: Text) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "store": one.store,
        "severity": one.severity.value,
        "text": text(one.text),
        "advice": one.advice,
        "status": one.status,
        "parked": one.parked,
        "unknown": one.unknown,
        "since": _maybe(one.since, moment),
    }


def _cutover(found: Assessment | None) -> dict[str, Any] | None:
    """None where there is none to show: before anything is known of it, and long after."""
    if found is None or found.phase in (Phase.NONE, Phase.DONE):
        return None
    return {
        "phase": found.phase.value,
        "title": found.title,
        "next_step": found.step,
        "ready": found.safe,
        "hindrances": [
            f"{one.evidence}: {one.todo}" if one.todo else one.evidence for one in found.prerequisites if not one.met
        ],
    }


def _epoch(seconds: float) -> str:
    """Another replica's clock said so, perhaps of another version: it may be anything."""
    try:
        return moment(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, ValueError, OSError):
        return moment(datetime.fromtimestamp(0, UTC))


def _maybe(value: Any, shown: Callable[[Any], str]) -> str | None:
    return None if value is None else shown(value)
