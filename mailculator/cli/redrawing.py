"""A picture that is drawn again and again, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence

from mailculator.cli import output

HOME, TO_LINES_END, TO_SCREENS_END, ALL = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"
"""ECMA-48: CUP, EL, ED and ED 2."""

Picture = Callable[[], Awaitable[Sequence[str]]]


async def redraw(picture: Picture, every: float) -> int:
    """Draw it every so many seconds. Returns exit code 0 at Ctrl-C, which is how it is meant to end.

    On a terminal each picture takes the place of the one before, line by line, so that nothing flickers; elsewhere they
    follow each other, with an empty line between.
    """
    try:
        if sys.stdout.isatty():
            sys.stdout.write(ALL)
        while True:
            _draw(await picture())
            await asyncio.sleep(every)
    except asyncio.CancelledError:
        return output.OK


def _draw(lines: Sequence[str]) -> None:
    if sys.stdout.isatty():
        size = shutil.get_terminal_size()
        sys.stdout.write(screenful(lines, size.columns, size.lines))
    else:
        sys.stdout.write("\n".join([*lines, "", ""]))
    sys.stdout.flush()


def screenful(lines: Sequence[str], columns: int, rows: int) -> str:
    """What draws these lines over what was there; those that do not fit are counted, and none is broken in two."""
    room = max(rows - 1, 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more lines"]
    return HOME + "".join(f"{line[:columns]}{TO_LINES_END}\n" for line in lines) + TO_SCREENS_END
