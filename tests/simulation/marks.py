"""What operators set on a row of the simulated queue without moving it, by how its history tells of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mailculator.lifecycle import UNSENT, WAITING, clean
from tests.simulation.rows import Entry


def _release(entry: Entry, at: float, _why: str) -> bool:
    if not entry.parked:
        return False
    entry.parked, entry.due, entry.attempts, entry.failing, entry.crashes = False, at, 0, None, 0
    return True


def _park(entry: Entry, _at: float, _why: str) -> bool:
    if entry.parked or entry.status not in WAITING:
        return False
    entry.parked = True
    return True


def _hasten(entry: Entry, at: float, _why: str) -> bool:
    if entry.parked or entry.status not in WAITING or entry.due <= at:
        return False
    entry.due = at
    return True


def _cancel(entry: Entry, at: float, why: str) -> bool:
    if entry.cancelled is not None or entry.status not in UNSENT:
        return False
    entry.cancelled, entry.parked, entry.due = clean(why), False, at
    return True


MARKS: Mapping[str, Callable[[Entry, float, str], bool]] = MappingProxyType(
    {"released": _release, "parked": _park, "hastened": _hasten, "cancelled": _cancel}
)
"""Each says whether it concerned the row, at a time in epoch seconds, and why."""
