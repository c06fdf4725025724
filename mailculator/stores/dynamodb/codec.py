"""DynamoDB's typed JSON to plain Python values and back.

botocore hands out what is on the wire. Its own converters make a Decimal of every number and refuse floats; a queue's
records hold text, whole numbers, a map and a list, and may hold anything where another program has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Raw:
    """A value of a kind that no program of ours writes (binary, a set): kept as it is on the wire."""

    wire: Mapping[str, Any]


Value = Any
"""str, int, Decimal (a number that is not whole), bool, None, dict, list, or Raw."""
Item = dict[str, Value]
Wire = dict[str, Any]


def to_wire(item: Mapping[str, Value]) -> Wire:
    """An item, or a set of named values, as DynamoDB takes it."""
    return {name: wire_value(value) for name, value in item.items()}


def wire_value(value: Value) -> Wire:
    """One value. TypeError for what DynamoDB has no type for; that is a bug."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
        case dict():
            return {"M": to_wire(value)}
        case list() | tuple():
            return {"L": [wire_value(part) for part in value]}
        case Raw(wire=wire):
            return dict(wire)
    raise TypeError(f"no DynamoDB type for {type(value).__name__}")


def from_wire(wire: Mapping[str, Wire]) -> Item:
    """An item as Python values."""
    return {name: plain_value(value) for name, value in wire.items()}


def plain_value(wire: Wire) -> Value:
    """One value; what we have no use for stays Raw."""
    ((kind, value),) = wire.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return _number(value)
        case "NULL":
            return None
        case "M":
            return from_wire(value)
        case "L":
            return [plain_value(part) for part in value]
    return Raw(wire)


def _number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        number = Decimal(text)
        # A whole number may be written as 1E+9 or 5.0.
        return int(number) if number == number.to_integral_value() and abs(number) < 10**30 else number
