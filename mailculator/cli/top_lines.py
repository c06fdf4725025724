"""What `top` tells of one queue: the work, by pipeline and by replica."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailculator import facts, words
from mailculator.cli import output, status_lines
from mailculator.cli.looking import Seen
from mailculator.facts import Said
from mailculator.insight.view import Member, View
from mailculator.lifecycle import STAGES, Stage

_PIPELINE = ("pipeline", "waits", "oldest due for", "in hand", "")
_REPLICA = ("replica", "in hand", "in/s", "sent/s", "failed/s", "ack/s", "again/s", "")


def lines(seen: Seen, width: int | None) -> list[str]:
    """For people.

    Arguments:
        width: columns of the terminal; None = lines stay whole.
    """
    view = seen.view
    found = status_lines.top_line(seen, width)
    if view.error is not None:
        return [*found, *output.paragraph(view.error, "  ", "  ", width)]
    found += ["", *output.columns(_PIPELINE, [_pipeline(view, stage) for stage in STAGES]), ""]
    found += output.columns(_REPLICA, [_replica(one) for one in view.members])
    said = [text for one in view.working for text in _said(view, one)]
    for text in said:
        found += output.paragraph(text, "", "  ", width)
    return found


def _pipeline(view: View, stage: Stage) -> tuple[object, ...]:
    waiting = view.counts.get(stage.waiting)
    waits = waiting.count - waiting.parked if waiting else 0
    oldest = words.span(waiting.oldest_age) if waiting and waiting.oldest_age else ""
    paused = "paused" if any(pause.stops(stage.name) for pause in view.pauses) else ""
    return (stage.name, waits, oldest, in_hand(view, stage.name), paused)


def in_hand(view: View, pipeline: str) -> int:
    """Emails that the replicas which are there have in hand at a pipeline."""
    return sum(one.facts.in_flight.get(pipeline, 0) for one in view.working)


def _replica(one: Member) -> tuple[object, ...]:
    if not one.works:
        return (one.name, "", "", "", "", "", "", f"{status_lines.state(one)}, said {words.span(one.age)} ago")
    names = (facts.ENTERED, facts.SENT, facts.FAILED, facts.ACKNOWLEDGED, facts.RETRIED)
    rates = [f"{one.facts.rates.get(name, 0.0):.1f}" for name in names]
    notes = [f"{name} away" for name in one.facts.away]
    notes += [f"{one.facts.rate:.3g} mails/s at the most"] if one.facts.rate_reason else []
    notes += ["draining"] if one.facts.draining else []
    return (one.name, sum(one.facts.in_flight.values()), *rates, ", ".join(notes))


def _said(view: View, one: Member) -> Iterator[str]:
    for who, answer in (("relay", one.facts.relay), ("callback", one.facts.callback)):
        if answer is not None:
            yield f"{one.name}: the {who} said {_ago(view, answer)} ago: {answer.text}"


def _ago(view: View, answer: Said) -> str:
    return words.span(max(0.0, view.at.timestamp() - answer.at))


def document(seen: Seen) -> dict[str, Any]:
    """For programs."""
    view = seen.view
    waiting = {stage.name: view.counts.get(stage.waiting) for stage in STAGES}
    return {
        "at": view.at,
        "error": view.error,
        "pipelines": {
            name: {
                "waits": found.count - found.parked if found else 0,
                "oldest_age_s": round(found.oldest_age, 1) if found else 0.0,
                "in_hand": in_hand(view, name),
                "paused": any(pause.stops(name) for pause in view.pauses),
            }
            for name, found in waiting.items()
        },
        "replicas": [status_lines.member(one) for one in view.members],
    }
