"""status and top: is mail flowing, and who works on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator.cli import output
from mailculator.cli.service import Json
from mailculator.cli.stores import StoreName, StoreOption, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailculator.cli.looking import Seen

    Lines = Callable[[Seen, int | None], list[str]]

EVERY = 2.0

Seconds = Annotated[
    float | None,
    typer.Argument(help="Seconds between two looks; 2 unless given.", metavar="[SECONDS]", min=0.1, max=3600),
]


def status(
    seconds: Seconds = None,
    store: StoreOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Count what has ended, too: takes long where there are millions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say whether mail flows, and if not, why.

    What is wrong comes first, then the statuses in the order of the flow, the pace, the replicas and the pauses, of
    every enabled queue. `status --watch 5` looks every five seconds. Exit code 0 while mail flows, 1 when something
    keeps it from doing so, 69 when a queue does not answer, 78 for settings and schema.
    """
    if seconds is not None and not watch:
        raise output.misused("SECONDS", "goes with --watch")
    if watch and as_json:
        raise output.misused("--json", "is one look, and does not go with --watch")
    every = (seconds or EVERY) if watch else None
    raise typer.Exit(output.run(_status(store, every, terminal=terminal, as_json=as_json)))


def top(
    seconds: Seconds = None,
    store: StoreOption = None,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    as_json: Json = False,
) -> None:
    """Watch the work: what each pipeline and replica has in hand.

    With the rates, what is away or paused, and what relay and callback answered last. Looks again and again until
    Ctrl-C on a terminal, once elsewhere. Exit codes as those of `status`.
    """
    live = sys.stdout.isatty() and not once and not as_json
    raise typer.Exit(output.run(_top(store, (seconds or EVERY) if live else None, as_json=as_json)))


async def _status(store: StoreName | None, every: float | None, *, terminal: bool, as_json: bool) -> int:
    from mailculator.cli import status_lines

    document = status_lines.document if as_json else None
    return await _show(store, every, status_lines.lines, document, terminal=terminal)


async def _top(store: StoreName | None, every: float | None, *, as_json: bool) -> int:
    from mailculator.cli import top_lines

    return await _show(store, every, top_lines.lines, top_lines.document if as_json else None)


async def _show(
    store: StoreName | None,
    every: float | None,
    lines: Lines,
    document: Callable[[Seen], object] | None,
    *,
    terminal: bool = False,
) -> int:
    from mailculator.cli.looking import Looker, exit_code
    from mailculator.cli.redrawing import redraw

    settings, names = load(store)
    async with Looker(settings, names) as looker:

        async def picture() -> list[str]:
            return _all(await looker.look(terminal=terminal), lines)

        if every is not None:
            return await redraw(picture, every)
        seen = await looker.look(terminal=terminal)
    if document is not None:
        output.document({one.view.store: document(one) for one in seen})
    else:
        print("\n".join(_all(seen, lines)))
    return exit_code(seen)


def _all(seen: Sequence[Seen], lines: Lines) -> list[str]:
    """One queue beneath the other, with an empty line between."""
    found: list[str] = []
    for one in seen:
        found += [*([""] if found else []), *lines(one, output.width())]
    return found
