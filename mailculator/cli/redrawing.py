"""A picture that is drawn again and again, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shutil
import signal
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
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    # A signal of our own, and no cancellation: that may meet a look at a moment when whoever is looking swallows it.
    loop.add_signal_handler(signal.SIGINT, ended.set)
    end = asyncio.create_task(ended.wait())
    try:
        if sys.stdout.isatty():
            sys.stdout.write(ALL)
        while not ended.is_set():
            await _draw_unless(end, picture)
            await asyncio.wait([end], timeout=every)
        return output.OK
    finally:
        end.cancel()
        loop.remove_signal_handler(signal.SIGINT)


async def _draw_unless(end: asyncio.Task[bool], picture: Picture) -> None:
    """A look may take long where a queue does not answer; who ends it does not wait for that."""
    drawing = asyncio.ensure_future(picture())
    await asyncio.wait([end, drawing], return_when=asyncio.FIRST_COMPLETED)
    if drawing.done():
        _draw(drawing.result())
    else:
        drawing.cancel()


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
