"""What the table's operations cost, in request units.

No emulator reports what DynamoDB charges, and the real one would have to be asked at every call; so it is reckoned
from the images that the writes return anyway. The rules, and their sources:

- A write costs 1 unit for each started KB of the larger of the images before and after; in a transaction twice that.
A write whose condition failed costs as the record that refused it. (Developer guide, "DynamoDB read and write
operations", "Transaction APIs".) - An index costs by its own entry, as measured on the real service by others: an
entry that appears costs its size, one that disappears its old size, one whose key changes both, one whose key stays
the larger of the two if anything that the index keeps has changed, and nothing else. Whether a transaction doubles
that too is not documented; it is not doubled here, since an index is brought up after the commit. - A read costs 1
unit for each started 4 KB, half of that where it need not be consistent; GetItem and BatchGetItem round each record,
Query rounds the sum of a page. What finds nothing costs the least. - Sizes: developer guide, "DynamoDB item sizes and
formats".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from mailculator.stores.base import Spent
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item, Raw, Value

WRITE_BYTES = 1024
READ_BYTES = 4096
REFUSED = "_refused"
"""Ends the name of what was spent on writes whose condition failed."""

_WORK_KEY = (layout.WORK_KEY, layout.DUE_AT)
_WORK_ENTRY = (layout.ID, layout.STATUS, *_WORK_KEY, *layout.WORK_INDEX_PROJECTION)


def size_of(item: Item) -> int:
    """Bytes of a record, names included, as DynamoDB counts them."""
    total = 0
    for name, value in item.items():
        # Written out for text, which most of a record is: this runs twice for every write.
        total += len(name) if name.isascii() else len(name.encode())
        total += len(value) if type(value) is str and value.isascii() else _size(value)
    return total


class Meter:
    """Request units by what they were spent on, since it was made."""

    def __init__(self) -> None:
        self._units: defaultdict[tuple[str, str], float] = defaultdict(float)

    def read(self, op: str, sizes: Iterable[int], *, consistent: bool, each: bool) -> None:
        """A read, of one request.

        Arguments:
            op: what it was for.
            sizes: bytes of every record that was looked at, filtered ones included; 0 for one that is not there.
            each: GetItem and BatchGetItem: every record is rounded up by itself.
        """
        blocks = sum(max(1, _started(size, READ_BYTES)) for size in sizes) if each else _started(sum(sizes), READ_BYTES)
        self._units[op, "read"] += max(1, blocks) * (1.0 if consistent else 0.5)

    def written(self, op: str, before: Item | None, after: Item | None, *, transaction: bool = False) -> None:
        """A write: to the table and to both indexes.

        Arguments:
            before, after: the record's images; None where there is none.
            transaction: whether it was part of one.
        """
        old = _started(size_of(before), WRITE_BYTES) if before else 0
        new = _started(size_of(after), WRITE_BYTES) if after else 0
        table = max(old, new, 1) * (2 if transaction else 1)
        # StatusIndex keeps whole records, and neither part of its key ever changes.
        status_index = 0 if before == after else max(old, new)
        self._units[op, "write"] += table + status_index + _work_index(before, after, old, new)

    def refused(self, op: str, item: Item | None, *, transaction: bool = False) -> None:
        """A write whose condition failed, and the record that it failed on. Booked apart: races are no work."""
        units = _started(size_of(item), WRITE_BYTES) if item else 1
        self._units[op + REFUSED, "write"] += units * (2 if transaction else 1)

    def charged(self, op: str, kind: str, units: float) -> None:
        """What the service itself says it charged, where only it can know."""
        self._units[op, kind] += units

    def spent(self) -> list[Spent]:
        """The totals."""
        return [Spent(op, kind, units) for (op, kind), units in self._units.items()]


def _work_index(before: Item | None, after: Item | None, old: int, new: int) -> int:
    """Units for WorkIndex; `old` and `new` are those of the whole records, which no entry exceeds."""
    had, has = _in_work_index(before), _in_work_index(after)
    gone = _entry_units(before, old) if had else 0
    come = _entry_units(after, new) if has else 0
    if before is None or after is None or not had or not has:
        return gone + come
    if any(before[name] != after[name] for name in _WORK_KEY):
        return gone + come
    changed = any(before.get(name) != after.get(name) for name in layout.WORK_INDEX_PROJECTION)
    return max(gone, come) if changed else 0


def _in_work_index(item: Item | None) -> bool:
    """An index keeps no record that lacks a part of its key."""
    return item is not None and layout.WORK_KEY in item and layout.DUE_AT in item


def _entry_units(item: Item | None, whole: int) -> int:
    if item is None or whole <= 1:
        return whole
    return _started(size_of({name: item[name] for name in _WORK_ENTRY if name in item}), WRITE_BYTES)


def _started(size: int, block: int) -> int:
    return -(-size // block)


def _size(value: Value) -> int:
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return _whole(value)
    if kind is bool or value is None:
        return 1
    if kind is dict:
        return 3 + len(value) + size_of(value)
    if kind is list:
        return 3 + len(value) + sum([_size(one) for one in value])
    return _number(value) if kind is Decimal else _raw(value)


def _text(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _whole(number: int) -> int:
    """A byte, one for every two digits counted from the point but for zeros at the end, and one for a minus."""
    if number < 0:
        return 1 + _whole(-number)
    if number == 0:
        return 1
    while number % 100 == 0:
        number //= 100
    return 1 + (len(str(number)) + 1) // 2


def _number(number: Decimal) -> int:
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise TypeError(f"DynamoDB has no {number}")
    # Moving the point by a whole pair of digits changes nothing.
    whole = int("".join(map(str, digits))) * (10 if exponent % 2 else 1)
    return _whole(-whole if sign else whole)


def _raw(value: Raw) -> int:
    ((kind, content),) = value.wire.items()
    return _wire_size(kind, content)


def _wire_size(kind: str, content: Any) -> int:
    if kind.endswith("S") and len(kind) == 2:
        return sum(_wire_size(kind[0], one) for one in content)
    return _number(Decimal(content)) if kind == "N" else len(content) if kind == "B" else _text(str(content))
