"""Lengths of time and moments, as operators type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from mailculator.cli import output

LONGEST = 365 * 86400.0
"""Seconds; what is to last longer lasts until somebody ends it."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])")


def seconds(text: str, option: str) -> float:
    """`90s`, `30m`, `2h`, `1d`, in seconds. Errors: BadParameter."""
    found = _SPAN.fullmatch(text.strip().lower())
    length = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < length <= LONGEST:
        raise output.misused(option, f"must be like 90s, 30m, 2h or 1d, and at most 365d (got {text!r})")
    return length


def moment(text: str, option: str) -> datetime:
    """An ISO 8601 time (`2026-11-28T06:00`), UTC unless it says otherwise. Errors: BadParameter."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise output.misused(option, f"must be like 2026-11-28T06:00, in UTC (got {text!r})") from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
