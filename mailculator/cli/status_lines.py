"""What `status` tells of one queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mailculator import facts, fleet, words
from mailculator.cli import output
from mailculator.cli.looking import Seen
from mailculator.insight.headline import headline
from mailculator.insight.problems import Problem
from mailculator.insight.view import Member, View
from mailculator.model import Status

PACE = (
    (facts.ENTERED, "in"),
    (facts.SENT, "sent"),
    (facts.FAILED, "failed"),
    (facts.INVALID, "invalid"),
    (facts.ACKNOWLEDGED, "acknowledged"),
    (facts.RETRIED, "to be tried again"),
)


def lines(seen: Seen, width: int | None) -> list[str]:
    """For people: whether mail flows, what is wrong, and then the figures.

    Arguments:
        width: columns of the terminal; None = lines stay whole.
    """
    view = seen.view
    found = top_line(seen, width)
    for problem in seen.problems:
        found += _problem(problem, width)
    if view.error is not None:
        return found
    return [*found, "", *_counts(view), "", *output.paragraph(pace(view), "", "  ", width), "", *_members(view, width)]


def top_line(seen: Seen, width: int | None) -> list[str]:
    """Which queue, when, and whether mail flows."""
    text = f"{words.title(seen.view.store)} at {words.at(seen.view.at)}: {headline(seen.view, seen.problems)}"
    return output.paragraph(text, "", "  ", width)


def _problem(problem: Problem, width: int | None) -> Iterator[str]:
    yield from output.paragraph(problem.text, f"  {problem.severity.value.upper():<9} ", " " * 12, width)
    if problem.advice:
        yield from output.paragraph(problem.advice, " " * 12, " " * 14, width)


def _counts(view: View) -> list[str]:
    rows = [
        (status, found.count, found.parked or "", words.span(found.oldest_age) if found.oldest_age else "")
        for status, found in _in_order(view)
    ]
    return output.columns(("status", "emails", "parked", "oldest due for"), rows)


def _in_order(view: View) -> list[tuple[Status, Any]]:
    """As the flow goes; Status itself has that order."""
    return [(status, view.counts[status]) for status in Status if status in view.counts]


def pace(view: View) -> str:
    """What is done in a second, by all replicas together."""
    rates = view.rates
    return "a second: " + ", ".join(f"{rates[name]:.3g} {word}" for name, word in PACE)


def _members(view: View, width: int | None) -> list[str]:
    found: list[str] = []
    for one in view.members:
        at_hand = sum(one.facts.in_flight.values())
        up = words.span(max(0.0, view.at.timestamp() - one.facts.started)) if one.facts.started else "?"
        text = f"replica {one.name} {one.service}: {state(one)}, said {words.span(one.age)} ago"
        if one.works:
            text += f", up {up}, {at_hand} in hand"
        found += output.paragraph(text, "", "  ", width)
    if not view.members:
        found.append("no replica has said anything within the last day")
    for pause in view.pauses:
        until = "" if pause.until is None else f" until {words.at(pause.until)}"
        text = (
            f"paused since {words.at(pause.since)}{until}: {fleet.named(pause.pipeline)}, by {pause.who}: {pause.why}"
        )
        found += output.paragraph(text, "", "  ", width)
    return found


def state(member: Member) -> str:
    """A replica in a word."""
    if member.facts.stopped:
        return "stopped"
    if member.silent:
        return "silent"
    return "draining" if member.facts.draining else "at work"


def document(seen: Seen) -> dict[str, Any]:
    """For programs."""
    view = seen.view
    empties = view.seconds_to_empty if view.error is None else None
    return {
        "at": view.at,
        "headline": headline(view, seen.problems),
        "error": view.error,
        "problems": [asdict(problem) for problem in seen.problems],
        "statuses": {
            status: {"count": one.count, "parked": one.parked, "oldest_age_s": round(one.oldest_age, 1)}
            for status, one in _in_order(view)
        },
        "backlog": view.backlog,
        "per_second": dict(view.rates),
        "seconds_to_empty": None if empties is None else round(empties, 1),
        "replicas": [member(one) for one in view.members],
        "pauses": [asdict(pause) for pause in view.pauses],
    }


def member(one: Member) -> dict[str, Any]:
    """A replica, for programs."""
    return {"name": one.name, "service": one.service, "age_s": round(one.age, 1), "state": state(one)} | asdict(
        one.facts
    )
