"""The shape of the table: what it must be, and what a description of it lacks, in words.

What the older programs rely on is not changed, only named: the table's key and StatusIndex are theirs. WorkIndex and
TTL on the attribute `TTL` are what `schema apply` adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailculator.stores.dynamodb import layout
from mailculator.stores.schema_files import APPLY

Key = tuple[tuple[str, str], ...]
"""Names and types of the attributes of a key: the partition's, then the sort key's."""

TABLE_KEY: Key = ((layout.ID, "S"), (layout.STATUS, "S"))
_ROLES = ("HASH", "RANGE")
_USABLE = frozenset({"ACTIVE", "UPDATING"})


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index, wanted or found.

    Arguments:
        projected: the attributes beside keys that stand in it; None = all.
        status: as DynamoDB names it (CREATING, ACTIVE, UPDATING, DELETING).
        filling: it is being made, and what stood in the table before is not in it yet: it refuses to be read.
    """

    name: str
    key: Key
    projected: frozenset[str] | None
    status: str = "ACTIVE"
    filling: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be read."""
        return self.status in _USABLE and not self.filling


STATUS_INDEX = Index(layout.STATUS_INDEX, ((layout.STATUS, "S"), (layout.ID, "S")), None)
WORK_INDEX = Index(
    layout.WORK_INDEX, ((layout.WORK_KEY, "S"), (layout.DUE_AT, "N")), frozenset(layout.WORK_INDEX_PROJECTION)
)
INDEXES = (STATUS_INDEX, WORK_INDEX)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as DescribeTable tells of it.

    Arguments:
        provisioned: units a second for reads and for writes; None when it is on demand.
    """

    key: Key
    status: str
    indexes: Mapping[str, Index]
    provisioned: tuple[int, int] | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be read and written."""
        return self.status in _USABLE


def described(answer: Mapping[str, Any]) -> Table:
    """A table from the `Table` of DescribeTable's answer."""
    types = {one["AttributeName"]: one["AttributeType"] for one in answer.get("AttributeDefinitions", ())}
    found = (_index(one, types) for one in answer.get("GlobalSecondaryIndexes") or ())
    units = answer.get("ProvisionedThroughput") or {}
    reads, writes = int(units.get("ReadCapacityUnits") or 0), int(units.get("WriteCapacityUnits") or 0)
    return Table(
        key=_key(answer.get("KeySchema", ()), types),
        status=str(answer.get("TableStatus")),
        indexes={index.name: index for index in found},
        provisioned=(reads, writes) if writes else None,
    )


def _index(one: Mapping[str, Any], types: Mapping[str, str]) -> Index:
    projection = one.get("Projection") or {}
    everything = projection.get("ProjectionType") == "ALL"
    return Index(
        name=one["IndexName"],
        key=_key(one.get("KeySchema", ()), types),
        projected=None if everything else frozenset(projection.get("NonKeyAttributes") or ()),
        # Some emulators leave it out.
        status=str(one.get("IndexStatus") or "ACTIVE"),
        filling=bool(one.get("Backfilling")),
    )


def _key(schema: Any, types: Mapping[str, str]) -> Key:
    ordered = sorted(schema, key=lambda part: _ROLES.index(part["KeyType"]))
    return tuple((part["AttributeName"], types.get(part["AttributeName"], "?")) for part in ordered)


def wrong_key(table: Table) -> str | None:
    """What is wrong with the table's key, which can never be changed; None when it is right."""
    if table.key == TABLE_KEY:
        return None
    return f"its key is {_words(table.key)}, and a queue's is {_words(TABLE_KEY)}: name another table"


def refusal(table: Table) -> str | None:
    """Why nothing can be worked on in a table of this shape, and what to do; None when it can."""
    wrong = wrong_key(table)
    if wrong is not None:
        return wrong
    if not table.usable:
        return f"the table is {table.status}" + (f"; {APPLY}" if table.status == "CREATING" else "")
    for wanted in INDEXES:
        found = table.indexes.get(wanted.name)
        if found is None:
            return f"{wanted.name} is missing; {APPLY}"
        if not found.usable:
            return f"{_state(found)}; {APPLY}, which waits for it"
        if found.key != wanted.key:
            return _other_key(found, wanted)
    lacking = _lacking(table.indexes[layout.WORK_INDEX], WORK_INDEX)
    return f"{lacking}: delete that index, then {APPLY}" if lacking else None


def differences(table: Table) -> Iterator[str]:
    """What does not match, one line each, whether or not it can be worked with."""
    wrong = wrong_key(table)
    if wrong is not None:
        yield wrong
        return
    if not table.usable:
        yield f"the table is {table.status}"
    for wanted in INDEXES:
        found = table.indexes.get(wanted.name)
        if found is None:
            yield f"{wanted.name} is missing"
            continue
        if found.key != wanted.key:
            yield _other_key(found, wanted)
        if found.status != "ACTIVE" or found.filling:
            yield _state(found)
        if found.projected != wanted.projected:
            yield _lacking(found, wanted) or f"{found.name} projects more than is needed, which every write pays for"


def _state(index: Index) -> str:
    return f"{index.name} is {index.status}" + (", and being filled" if index.filling else "")


def _other_key(found: Index, wanted: Index) -> str:
    return f"the key of {found.name} is {_words(found.key)}, not {_words(wanted.key)}"


def _lacking(found: Index, wanted: Index) -> str:
    """What an index projects too little; empty where it has all that is wanted."""
    if found.projected is None:
        return ""
    if wanted.projected is None:
        return f"{found.name} does not project all attributes"
    missing = wanted.projected - found.projected
    return f"{found.name} does not project {', '.join(sorted(missing))}" if missing else ""


def _words(key: Key) -> str:
    return " and ".join(f"{name} ({kind})" for name, kind in key)


def create_request(name: str) -> dict[str, Any]:
    """What CreateTable is asked for."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": _definitions(TABLE_KEY, *(index.key for index in INDEXES)),
        "KeySchema": _schema(TABLE_KEY),
        "GlobalSecondaryIndexes": [_wanted(index) for index in INDEXES],
    }


def add_request(name: str, index: Index, provisioned: tuple[int, int] | None) -> dict[str, Any]:
    """What UpdateTable is asked for, to add an index to a live table.

    Arguments:
        provisioned: the table's, where it is not on demand; the index gets the same.
    """
    wanted = _wanted(index)
    if provisioned is not None:
        reads, writes = provisioned
        wanted["ProvisionedThroughput"] = {"ReadCapacityUnits": reads, "WriteCapacityUnits": writes}
    return {
        "TableName": name,
        "AttributeDefinitions": _definitions(TABLE_KEY, index.key),
        "GlobalSecondaryIndexUpdates": [{"Create": wanted}],
    }


def _wanted(index: Index) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": "ALL"}
    if index.projected is not None:
        projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": sorted(index.projected)}
    return {"IndexName": index.name, "KeySchema": _schema(index.key), "Projection": projection}


def _schema(key: Key) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": role} for (name, _), role in zip(key, _ROLES, strict=True)]


def _definitions(*keys: Key) -> list[dict[str, str]]:
    types = {name: kind for key in keys for name, kind in key}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]
