"""The two mappings of a minute as JSON text: what a column of SQL, or an attribute of a record, holds of them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mailculator.model import Status, StatusCount


def counts_text(counts: Mapping[Status, StatusCount]) -> str:
    """`{"READY": [3, 0, 12.5]}`: emails, those of them that are parked, and the oldest age in seconds."""
    return _dump({status.value: [one.count, one.parked, one.oldest_age] for status, one in counts.items()})


def counts_of(text: str) -> dict[Status, StatusCount]:
    """The counts again. What cannot be read counts as not counted: a cutover must not rest on a guess."""
    try:
        return {
            Status(name): StatusCount(int(count), int(parked), float(age))
            for name, (count, parked, age) in json.loads(text).items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def notes_text(notes: Mapping[str, str]) -> str:
    """A JSON object of texts."""
    return _dump(dict(notes))


def notes_of(text: str) -> dict[str, str]:
    """The notes again; none where they cannot be read."""
    try:
        return {str(name): str(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        return {}


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
