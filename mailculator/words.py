"""Times and amounts as an operator reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

TITLES = {"dynamodb": "DynamoDB", "mysql": "MariaDB", "sqlite": "SQLite"}


def title(store: str) -> str:
    """What people call a store."""
    return TITLES.get(store, store)


def span(length: timedelta | float) -> str:
    """A length of time: `42 s`, `3 min`, `5.1 h`, `2.0 d`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.1f} d"


def at(when: datetime) -> str:
    """A moment, in UTC, to the second."""
    return when.strftime("%Y-%m-%d %H:%M:%SZ")


def some(words: Sequence[str], limit: int = 5) -> str:
    """The first few, and how many more."""
    more = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {more} more" if more > 0 else "")


def emails(count: int) -> str:
    """`1 email`, `2 emails`."""
    return f"{count} email" if count == 1 else f"{count} emails"


def sentence(text: str) -> str:
    """Somebody else's words as the end of a sentence of ours: with one full stop, whether they had one or not."""
    return f"{text.rstrip().rstrip('.')}."
