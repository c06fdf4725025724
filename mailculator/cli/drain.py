"""drain: new mail waits, and what was taken in goes on to its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator.cli import output
from mailculator.cli.service import Json
from mailculator.cli.signing import Who, Why, signed
from mailculator.cli.stores import StoreName, StoreOption, load_one, opened

if TYPE_CHECKING:
    from mailculator.insight.view import View
    from mailculator.stores.base import Store

LOOK_EVERY = 2.0
"""Seconds between two looks."""


def drain(
    why: Why,
    who: Who = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done, and tell how far it is.")] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", help="Wait no longer than this: 90s, 30m, 2h.", metavar="LENGTH")
    ] = "",
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Bring what was taken in to its end; take in no more.

    Pauses intake of every replica: new mail waits as ACCEPTED, nothing of it is lost, and `mailculator resume intake`
    takes it in again. With --wait, exit code 0 when nothing is left but ACCEPTED, parked and ended mail and every
    replica has said that it takes in no more; 1 at the timeout.
    """
    from mailculator.cli import spans

    if timeout and not wait:
        raise output.misused("--timeout", "goes with --wait")
    seconds = spans.seconds(timeout, "--timeout") if timeout else None
    asker, reason = signed(who, why)
    raise typer.Exit(output.run(_drain(store, asker, reason, seconds, wait=wait, as_json=as_json)))


async def _drain(
    store: StoreName | None, who: str, why: str, seconds: float | None, *, wait: bool, as_json: bool
) -> int:
    from mailculator.lifecycle import INTAKE

    settings, name = load_one(store)
    async with opened(settings, name) as queue:
        await queue.control.pause(INTAKE.name, seconds=None, who=who, why=why)
        print(f"{name}: intake is paused; undo: mailculator resume intake --store {name} --why …", file=sys.stderr)
        rest = await _wait(queue, seconds) if wait else None
    if as_json:
        output.document({"store": name, "drained": None if rest is None else not rest, "left": rest})
    else:
        print(output.clean(f"{name}: {_told(rest)}"))
    return output.FAILURE if rest else output.OK


def _told(rest: str | None) -> str:
    if rest is None:
        return "intake is paused"
    return f"not drained within the time, and intake stays paused: {rest}" if rest else "drained"


async def _wait(queue: Store, seconds: float | None) -> str:
    """What is left at the end of the time; "" once nothing is. Errors: StoreUnavailable, where the store goes away."""
    import asyncio

    from mailculator.cli.progress import Progress
    from mailculator.errors import StoreUnavailable
    from mailculator.insight.view import look

    loop, progress = asyncio.get_running_loop(), Progress()
    until = None if seconds is None else loop.time() + seconds
    while True:
        view = await look(queue)
        if view.error is not None:
            raise StoreUnavailable(queue.name, "drain", view.error)
        text = left(view)
        rest = LOOK_EVERY if until is None else until - loop.time()
        if not text or rest <= 0:
            return text
        progress(lambda text=text: text)  # type: ignore[misc]
        await asyncio.sleep(min(LOOK_EVERY, rest))


def left(view: View) -> str:
    """What is yet to end, and what stands in the way of it; "" where nothing is left.

    A replica that has not said yet that it obeys the pause may be taking in mail just now.
    """
    from mailculator.insight.problems import Severity, problems
    from mailculator.lifecycle import INTAKE, TERMINAL
    from mailculator.model import Status

    counts = {
        status: found.count - found.parked
        for status, found in view.counts.items()
        if status not in TERMINAL and status is not Status.ACCEPTED
    }
    parts = [", ".join(f"{count} {status}" for status, count in counts.items() if count)]
    takes_in = [one.name for one in view.working if INTAKE.name not in one.facts.paused]
    if takes_in:
        parts.append(f"waiting for {', '.join(takes_in)} to obey the pause")
    parts = [part for part in parts if part]
    if parts:
        parts += [one.text for one in problems(view) if one.severity is Severity.CRITICAL or one.kind == "paused"]
    return "; ".join(parts)
