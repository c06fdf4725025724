"""What a line of the log looks like, what it is cleaned of, and how it leaves.

A line is JSON when the output is no terminal, so that collectors need no parser of ours, and readable when it is one.
Whatever passes through here, also from libraries, leaves without control characters (CWE-117) and, unless the operator
asked for them, without full mail addresses.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

from mailculator.address_mask import mask

_MULTILINE = frozenset({"traceback", "exception"})
_NO_TEXT = (int, float, type(None))


def escape(text: str, *, keep: str = "") -> str:
    """The text with every character that is not printable written as an escape, those in `keep` excepted."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() or ch in keep else ch.encode("unicode_escape").decode("ascii") for ch in text)


def processors(*, as_json: bool, addresses: bool, colors: bool) -> list[Processor]:
    """What structlog does with each line. Of JSON as little as can be: several lines are written for each email.

    Arguments:
        addresses: leave mail addresses as they are.
        colors: for a terminal that shows them.
    """
    cleaner = _Cleaner(addresses=addresses, keep="\n\t" if as_json else "")
    chain: list[Processor] = [structlog.processors.format_exc_info, cleaner]
    if as_json:
        return [*chain, _json]
    return [
        *chain,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _below,
        structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False),
    ]


def _json(_logger: Any, level: str, fields: EventDict) -> str:
    """The line. When, how bad and what come first, for those who read JSON with their eyes."""
    line = {"timestamp": datetime.now(UTC), "level": level, "event": fields.pop("event", None), **fields}
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode("utf-8")


class Output:
    """Where lines go, as structlog's last step. What one turn of the event loop writes leaves together: under load that
    is a line for each of hundreds of emails. Where no loop runs, in a command or a thread, a line leaves at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._leaves_with: asyncio.AbstractEventLoop | None = None

    def msg(self, line: str) -> None:
        """Write one line. Errors: OSError, ValueError, those of the stream."""
        self._stream.write(line + "\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._stream.flush()
            return
        if self._leaves_with is not loop:
            self._leaves_with = loop
            loop.call_soon(self._leave)

    debug = info = warning = error = critical = msg

    def _leave(self) -> None:
        self._leaves_with = None
        with suppress(OSError, ValueError):  # a log that cannot be written to stops no mail
            self._stream.flush()


def _below(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """A traceback goes where the console renderer writes text as it is: beneath the line."""
    if "traceback" in fields:
        fields["exception"] = fields.pop("traceback")
    return fields


@dataclass(frozen=True, slots=True)
class _Cleaner:
    """Makes every text of a line safe to write.

    Arguments:
        addresses: leave mail addresses as they are.
        keep: control characters that the renderer escapes itself.
    """

    addresses: bool
    keep: str

    def __call__(self, _logger: Any, _method: str, fields: EventDict) -> EventDict:
        for key, value in fields.items():
            if type(value) is str:
                if "@" not in value and value.isprintable():  # nearly all are: no address, nothing to escape
                    continue
            elif isinstance(value, _NO_TEXT):
                continue
            fields[key] = self._clean(key, str(value))  # whatever else it is, its text is cleaned as well
        return fields

    def _clean(self, key: str, text: str) -> str:
        text = text if self.addresses else mask(text)
        return self._lines(text) if key in _MULTILINE else escape(text, keep=self.keep)

    def _lines(self, text: str) -> str:
        """A traceback keeps its lines; on a terminal they are indented, so that none can pass for a line of the log."""
        if self.keep:
            return escape(text, keep=self.keep)
        return "\n".join(f"    {escape(line)}" for line in text.splitlines())
