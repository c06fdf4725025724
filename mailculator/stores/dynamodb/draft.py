"""A change of an email's record as it comes together, and the condition that it stands as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailculator.lifecycle import Stage
from mailculator.model import Status
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.expression import Change, Update, Where
from mailculator.stores.dynamodb.record import Record, stamp

_ABSENT = object()
LEASE = (layout.LEASE_UNTIL, layout.LEASE_FOR)
TRIES = (layout.ATTEMPTS, layout.FAILING_SINCE, layout.LAST_ERROR, layout.CRASHES)
WORK = (layout.WORK_KEY, layout.DUE_AT)


@dataclass(slots=True)
class Draft:
    """A Change as it comes together."""

    sets: dict[str, Any] = field(default_factory=dict)
    keeps: dict[str, Any] = field(default_factory=dict)
    copies: dict[str, tuple[str, str]] = field(default_factory=dict)
    adds: dict[str, tuple[int, int]] = field(default_factory=dict)
    appends: dict[str, list[Any]] = field(default_factory=dict)
    removes: set[str] = field(default_factory=set)

    def move(self, status: Status, at: float) -> None:
        """The status and its time, and our copies of both."""
        self.sets |= {"Attributes.Latest": str(status), layout.STATE: str(status)}
        self.touch(at)

    def touch(self, at: float) -> None:
        """The time of the last write, and our copy of it."""
        self.sets |= {"Attributes.UpdatedAt": stamp(at), layout.SEEN: stamp(at)}

    def log(self, version: int | None, status: Status, at: float, note: str | None, image: Record | None) -> None:
        """A line of history: at the list's end, or, where the record is known, with the oldest lines folded away."""
        line = history.line(version, status, at, note)
        if version is not None:
            self.sets[layout.HISTORY_VERSION] = version
        if image is None:
            self.appends[layout.HISTORY] = [line]
            return
        there = image.item.get(layout.HISTORY)
        kept, folded = history.fold([*(there if isinstance(there, list) else []), line])
        self.sets[layout.HISTORY] = kept
        if folded:
            self.adds[layout.HISTORY_FOLDED] = (0, folded)

    def stage(self, stage: Stage, email_id: str, due: float) -> None:
        """Its place in the work index."""
        self.sets |= {layout.WORK_KEY: layout.work_key(stage, email_id), layout.DUE_AT: due_at(due)}

    def keep_alive(self, image: Record) -> None:
        """Put the true ttl aside, so that DynamoDB does not delete what is still to be worked on."""
        self.sets[layout.TTL] = layout.FAR
        if image.expires is not None:
            self.sets[layout.EXPIRES] = image.expires

    def done(self) -> Change:
        """The change; what is set anew is not removed as well, which DynamoDB refuses."""
        removes = tuple(sorted(self.removes - set(self.sets) - set(self.adds) - set(self.keeps)))
        return Change(self.sets, self.keeps, self.copies, self.adds, self.appends, removes)


def due_at(at: float) -> int:
    """When what is due at once is due: by the latest of all replicas' clocks, so that none of them has to wait."""
    return milliseconds(at - layout.CLOCKS_DIFFER)


def milliseconds(at: float) -> int:
    """Epoch seconds as the record keeps a time."""
    return round(at * 1000)


def as_read(image: Record) -> Where:
    """The record stands as it was read, whoever may have written it."""
    facts: Mapping[str, Any] = {
        "Attributes.Latest": image.item[layout.ATTRIBUTES].get(layout.LATEST, _ABSENT),
        "Attributes.UpdatedAt": image.item[layout.ATTRIBUTES].get(layout.UPDATED_AT, _ABSENT),
        **{
            name: image.item.get(name, _ABSENT)
            for name in (layout.STATE, layout.SEEN, layout.VERSION, layout.TOKEN, layout.LEASE_SEQ, layout.HISTORY)
        },
    }
    clauses: list[str] = []
    values: dict[str, Any] = {}
    for number, (path, value) in enumerate(facts.items()):
        if value is _ABSENT:
            clauses.append(f"attribute_not_exists({{{path}}})")
        else:
            clauses.append(f"{{{path}}} = :read{number}")
            values[f"read{number}"] = value
    return Where(" AND ".join(clauses), values)


def by_image(image: Record, draft: Draft) -> Update:
    """A write upon the record as it was read."""
    return Update(layout.meta_key(image.id), draft.done(), as_read(image))
