"""What a write changes, and what it rests on, as data.

A Change is turned into an update expression, and can be applied to the image that DynamoDB returns of the record as
it was before: so the record as it is now is known without reading it again. Every name is aliased, since DynamoDB
reserves `Status`, `TTL` and some five hundred more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailculator.stores.dynamodb.codec import Item, Value, wire_value

_PATH = re.compile(r"\{([A-Za-z_.]+)\}")


class Names:
    """The aliases of one request."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def path(self, path: str) -> str:
        """An attribute, or one inside a map (`Attributes.Latest`)."""
        parts = []
        for part in path.split("."):
            self.names[f"#{part}"] = part
            parts.append(f"#{part}")
        return ".".join(parts)

    def value(self, value: Value) -> str:
        """A placeholder for a value."""
        name = f":v{len(self.values)}"
        self.values[name] = wire_value(value)
        return name


@dataclass(frozen=True, slots=True)
class Where:
    """A condition: text with `{Path}` for attributes and `:name` for values.

    Arguments:
        values: by the names used in the text, without the colon.
    """

    text: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __and__(self, other: Where) -> Where:
        return Where(f"({self.text}) AND ({other.text})", {**self.values, **other.values})

    def render(self, names: Names) -> str:
        """The expression, its names and values added to `names`."""
        for name, value in self.values.items():
            names.values[f":{name}"] = wire_value(value)
        return _PATH.sub(lambda found: names.path(found[1]), self.text)


@dataclass(frozen=True, slots=True)
class Change:
    """What an update does to a record.

    Arguments:
        sets: paths and their new values.
        keeps: as `sets`, but a path that has a value keeps it.
        copies: path -> (path, fallback path): takes the value of the first that is there.
        adds: path -> (start, step): what is there, or `start`, plus `step`.
        appends: list paths and the elements to add at their ends.
        removes: root attributes to take away.
    """

    sets: Mapping[str, Value] = field(default_factory=dict)
    keeps: Mapping[str, Value] = field(default_factory=dict)
    copies: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    adds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    appends: Mapping[str, list[Value]] = field(default_factory=dict)
    removes: tuple[str, ...] = ()

    def render(self, names: Names) -> str:
        """The update expression, its names and values added to `names`."""
        clauses = [f"{names.path(path)} = {names.value(value)}" for path, value in self.sets.items()]
        clauses += [
            f"{names.path(path)} = if_not_exists({names.path(path)}, {names.value(value)})"
            for path, value in self.keeps.items()
        ]
        clauses += [
            f"{names.path(path)} = if_not_exists({names.path(first)}, {names.path(second)})"
            for path, (first, second) in self.copies.items()
        ]
        clauses += [
            f"{names.path(path)} = if_not_exists({names.path(path)}, {names.value(start)}) + {names.value(step)}"
            for path, (start, step) in self.adds.items()
        ]
        for path, new in self.appends.items():
            there = f"if_not_exists({names.path(path)}, {names.value([])})"
            clauses.append(f"{names.path(path)} = list_append({there}, {names.value(new)})")
        text = "SET " + ", ".join(clauses) if clauses else ""
        if self.removes:
            text += " REMOVE " + ", ".join(names.path(path) for path in self.removes)
        return text.strip()

    def apply(self, before: Item) -> Item:
        """The record after this change. As in DynamoDB, every expression reads the record as it was before."""
        after = {name: dict(value) if isinstance(value, dict) else value for name, value in before.items()}
        for path, value in self.sets.items():
            _put(after, path, value)
        for path, value in self.keeps.items():
            if _get(before, path) is _ABSENT:
                _put(after, path, value)
        for path, sources in self.copies.items():
            found = [value for source in sources if (value := _get(before, source)) is not _ABSENT]
            _put(after, path, found[0])
        for path, (start, step) in self.adds.items():
            there = _get(before, path)
            _put(after, path, (start if there is _ABSENT else there) + step)
        for path, new in self.appends.items():
            there = _get(before, path)
            _put(after, path, [*([] if there is _ABSENT else there), *new])
        for name in self.removes:
            after.pop(name, None)
        return after


@dataclass(frozen=True, slots=True)
class Update:
    """A change of the record under `key`. The condition must name an attribute: an update would else create it anew."""

    key: Mapping[str, str]
    change: Change
    where: Where


_ABSENT = object()


def _get(item: Item, path: str) -> Value:
    value: Value = item
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _put(item: Item, path: str, value: Value) -> None:
    *parents, last = path.split(".")
    for part in parents:
        item = item[part]
    item[last] = value
