"""What every command shares: exit codes, errors as sentences, JSON documents and tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from mailculator.errors import ConfigError, MailculatorError, StoreUnavailable

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

OK = 0
FAILURE = 1
USAGE = 2
UNAVAILABLE = 69
"""EX_UNAVAILABLE of sysexits.h: a dependency is down."""
CONFIG = 78
"""EX_CONFIG of sysexits.h."""
INTERRUPTED = 130
"""As a shell says it of a command that SIGINT has ended."""

T = TypeVar("T")


def fail(message: str, code: int = FAILURE) -> NoReturn:
    """Say why on standard error, and end."""
    print("\n".join(clean(line) for line in message.splitlines()), file=sys.stderr)
    raise typer.Exit(code)


def misused(option: str, message: str) -> typer.BadParameter:
    """The error to raise for an option's or argument's value; typer adds how the command is used, exit code 2."""
    return typer.BadParameter(clean(message), param_hint=f"'{option}'")


def run(work: Coroutine[Any, Any, T], *, loop_factory: Callable[[], AbstractEventLoop] | None = None) -> T:
    """Run a command's work; what goes wrong is told in words and an exit code, never by a traceback.

    Arguments:
        loop_factory: makes the event loop; asyncio's own where it is not given.
    """
    import asyncio  # --help and version do without it, and are there sooner

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work)
    except ConfigError as error:
        fail(str(error), CONFIG)
    except StoreUnavailable as error:
        fail(str(error), UNAVAILABLE)
    except MailculatorError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def document(value: object) -> None:
    """Print one JSON document on standard output."""
    text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
    # JSON escapes the controls below U+0020 only. The others stand within strings alone, so they can be escaped too.
    print("".join(ch if ch.isprintable() or ch == "\n" else json.dumps(ch)[1:-1] for ch in text))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers to the right, the last column as long as it is."""
    for line in columns(headings, rows):
        print(line)


def columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table's lines."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [all(row[n].replace(".", "").isdigit() for row in cells if row[n]) for n in range(len(headings))]
    widths = [max([len(heading), *(len(row[n]) for row in cells)]) for n, heading in enumerate(headings)]
    lines = []
    for row in [list(headings), *cells]:
        padded = [
            cell.rjust(width) if right and cells else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def paragraph(text: str, first: str = "", then: str = "", width: int | None = None) -> list[str]:
    """A sentence's lines, made harmless: broken at `width` columns, and one line where there is no width.

    Arguments:
        first, then: what the first line and those after it begin with.
    """
    import textwrap  # re is not needed for --help

    if width is None:
        return [first + clean(text)]
    narrow = max(width, len(then) + 20)
    return textwrap.wrap(clean(text), narrow, initial_indent=first, subsequent_indent=then) or [first]


def width() -> int | None:
    """Columns of the terminal that standard output goes to; None where it goes elsewhere, so that lines stay whole."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3 min`, `5.1 h`, `2.0 d`."""
    for limit, unit, size in ((90.0, "s", 1.0), (5400.0, "min", 60.0), (129600.0, "h", 3600.0)):
        if seconds < limit:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit == "h" else f"{value:.0f} {unit}"
    return f"{seconds / 86400.0:.1f} d"


def moment(when: datetime | None) -> str:
    """A time for people: UTC, to the second."""
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M:%SZ")


def operator() -> str:
    """Who is at the keyboard, for the history."""
    import getpass

    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return f"uid {os.getuid()}"


def clean(text: str) -> str:
    """The text on one line, without what would steer a terminal: escapes, line ends, turns of direction."""
    return text if text.isprintable() else "".join(ch if ch.isprintable() else "�" for ch in text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    return clean(str(value))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    return str(value)
