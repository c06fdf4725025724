"""One line for one store: does mail flow, and when will it be empty."""

from __future__ import annotations

from collections.abc import Sequence

from mailculator import fleet, words
from mailculator.insight.problems import Problem, Severity
from mailculator.insight.view import View


def headline(view: View, found: Sequence[Problem]) -> str:
    """The line.

    Arguments:
        found: what `problems` says of this view.
    """
    if view.error is not None:
        return "nothing is known of it"
    if any(one.severity is Severity.CRITICAL for one in found):
        return f"mail stands still; {on_the_way(view)}"
    if any(pause.pipeline == fleet.WHOLE for pause in view.pauses):
        return f"all of it is paused; {on_the_way(view)}"
    if not view.backlog:
        return "nothing waits"
    if view.pauses:
        named = words.some([pause.pipeline for pause in view.pauses])
        return f"mail flows but for {named}, paused; {on_the_way(view)}"
    return f"mail flows; {on_the_way(view)}, {emptying(view)}"


def on_the_way(view: View) -> str:
    """How many emails are yet to end."""
    return f"{words.emails(view.backlog)} on the way"


def emptying(view: View) -> str:
    """When the backlog is gone, as far as the pace of now tells."""
    left = view.seconds_to_empty
    if left is None:
        return "and no fewer at the pace of now"
    return f"empty in {words.span(left)}" if left else "empty"
