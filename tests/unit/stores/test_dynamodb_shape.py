"""What a description of the table is found to lack, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from mailculator.stores.dynamodb import shape

Description = dict[str, Any]
Change = Callable[[Description], None]


def description(change: Change = lambda _: None) -> Description:
    """DescribeTable's `Table` of a table as it has to be, changed."""
    wanted = shape.create_request("Outbox")
    indexes = [{**one, "IndexStatus": "ACTIVE"} for one in wanted["GlobalSecondaryIndexes"]]
    units = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
    answer = {**wanted, "GlobalSecondaryIndexes": indexes, "TableStatus": "ACTIVE", "ProvisionedThroughput": units}
    found = deepcopy(answer)
    change(found)
    return found


def index(name: str, **parts: object) -> Change:
    def change(found: Description) -> None:
        next(one for one in found["GlobalSecondaryIndexes"] if one["IndexName"] == name).update(parts)

    return change


def without(name: str) -> Change:
    def change(found: Description) -> None:
        found["GlobalSecondaryIndexes"] = [one for one in found["GlobalSecondaryIndexes"] if one["IndexName"] != name]

    return change


def status(word: str) -> Change:
    return lambda found: found.update(TableStatus=word)


def typed(name: str, kind: str) -> Change:
    def change(found: Description) -> None:
        next(one for one in found["AttributeDefinitions"] if one["AttributeName"] == name)["AttributeType"] = kind

    return change


def told(change: Change) -> tuple[str | None, list[str]]:
    table = shape.described(description(change))
    return shape.refusal(table), list(shape.differences(table))


KEYS_ONLY = {"ProjectionType": "KEYS_ONLY"}
SWAPPED = [{"AttributeName": "Id", "KeyType": "HASH"}, {"AttributeName": "Status", "KeyType": "RANGE"}]
APPLY = "run: mailculator schema apply"


def test_a_table_as_it_has_to_be_lacks_nothing() -> None:
    assert told(lambda _: None) == (None, [])


def test_the_order_of_a_keys_parts_is_their_roles() -> None:
    assert told(lambda found: found["KeySchema"].reverse()) == (None, [])


@pytest.mark.parametrize(
    ("change", "refusal", "difference"),
    [
        (without("StatusIndex"), f"StatusIndex is missing; {APPLY}", "StatusIndex is missing"),
        (without("WorkIndex"), f"WorkIndex is missing; {APPLY}", "WorkIndex is missing"),
        (
            index("WorkIndex", IndexStatus="CREATING", Backfilling=True),
            f"WorkIndex is CREATING, and being filled; {APPLY}, which waits for it",
            "WorkIndex is CREATING, and being filled",
        ),
        (
            index("WorkIndex", Backfilling=True),
            f"WorkIndex is ACTIVE, and being filled; {APPLY}, which waits for it",
            "WorkIndex is ACTIVE, and being filled",
        ),
        (
            index("WorkIndex", IndexStatus="DELETING"),
            f"WorkIndex is DELETING; {APPLY}, which waits for it",
            "WorkIndex is DELETING",
        ),
        (
            index("StatusIndex", KeySchema=SWAPPED),
            "the key of StatusIndex is Id (S) and Status (S), not Status (S) and Id (S)",
            "the key of StatusIndex is Id (S) and Status (S), not Status (S) and Id (S)",
        ),
        (
            typed("DueAt", "S"),
            "the key of WorkIndex is WorkKey (S) and DueAt (S), not WorkKey (S) and DueAt (N)",
            "the key of WorkIndex is WorkKey (S) and DueAt (S), not WorkKey (S) and DueAt (N)",
        ),
        (status("CREATING"), f"the table is CREATING; {APPLY}", "the table is CREATING"),
        (status("DELETING"), "the table is DELETING", "the table is DELETING"),
        (
            index("WorkIndex", Projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": ["State", "Version"]}),
            f"WorkIndex does not project LeaseFor, LeaseSeq, LeaseUntil, Token: delete that index, then {APPLY}",
            "WorkIndex does not project LeaseFor, LeaseSeq, LeaseUntil, Token",
        ),
    ],
)
def test_what_cannot_be_worked_with_is_refused_and_named(change: Change, refusal: str, difference: str) -> None:
    assert told(change) == (refusal, [difference])


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (index("StatusIndex", Projection=KEYS_ONLY), "StatusIndex does not project all attributes"),
        (
            index("WorkIndex", Projection={"ProjectionType": "ALL"}),
            "WorkIndex projects more than is needed, which every write pays for",
        ),
        (index("WorkIndex", IndexStatus="UPDATING"), "WorkIndex is UPDATING"),
    ],
)
def test_what_can_be_worked_with_is_named_only(change: Change, difference: str) -> None:
    assert told(change) == (None, [difference])


def test_a_table_that_is_changed_otherwise_can_be_worked_with() -> None:
    assert told(status("UPDATING")) == (None, [])


@pytest.mark.parametrize("change", [typed("Id", "N"), lambda found: found["KeySchema"].pop()])
def test_another_programs_table_is_told_as_such_and_nothing_else_of_it(change: Change) -> None:
    refusal, differences = told(change)
    assert refusal is not None
    assert refusal.endswith("and a queue's is Id (S) and Status (S): name another table")
    assert differences == [refusal]


def test_an_index_of_a_provisioned_table_gets_the_tables_units() -> None:
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    table = shape.described(description(lambda found: found.update(ProvisionedThroughput=units)))
    [update] = shape.add_request("Outbox", shape.WORK_INDEX, table.provisioned)["GlobalSecondaryIndexUpdates"]
    assert update["Create"]["ProvisionedThroughput"] == units
    [on_demand] = shape.add_request("Outbox", shape.WORK_INDEX, None)["GlobalSecondaryIndexUpdates"]
    assert "ProvisionedThroughput" not in on_demand["Create"]
