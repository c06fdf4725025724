"""What operations cost: sizes measured against DynamoDB Local, costs reckoned by hand from the documented rules."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from mailculator.stores.base import Spent
from mailculator.stores.dynamodb.codec import Item, Raw
from mailculator.stores.dynamodb.units import Meter, size_of

ID = "550e8400-e29b-41d4-a716-446655440000"
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("", 0),
        ("abc", 3),
        ("é" * 3, 6),
        (0, 1),
        (1, 2),
        (12, 2),
        (123, 3),
        (1234, 3),
        (100, 2),
        (120, 3),
        (1200, 2),
        (-1, 3),
        (-123, 4),
        (10**12, 2),
        (1_763_600_000_123, 8),
        (4_102_444_800, 5),
        (12345678901234567890, 11),
        (Decimal("1.5"), 3),
        (Decimal("0.001"), 2),
        (Decimal("-12.34"), 4),
        (Decimal("100.5"), 4),
        (Decimal("12E+3"), 3),
        (True, 1),
        (None, 1),
        ({}, 3),
        ({"a": "b"}, 6),
        ({"a": 1, "b": "c"}, 10),
        ({"m": {"x": "y"}}, 11),
        ([], 3),
        (["a", "b"], 7),
        ([1, True, None, {"a": []}], 19),
        (Raw({"B": b"abcd"}), 4),
        (Raw({"SS": ["ab", "c"]}), 3),
        (Raw({"NS": ["1", "22"]}), 4),
        (Raw({"BS": [b"ab"]}), 2),
    ],
    ids=repr,
)
def test_the_size_of_a_value(value: Any, size: int) -> None:
    assert size_of({"Id": "kkk", "v": value}) == 2 + 3 + 1 + size


def meta(**changes: Any) -> Item:
    """An email's record as `enqueue` writes it; None takes an attribute away."""
    item: Item = {
        "Id": ID,
        "Status": "_META",
        "TTL": 4_102_444_800,
        "Expires": 1_797_768_000,
        "Version": 1,
        "State": "ACCEPTED",
        "WorkKey": "intake#1",
        "DueAt": 1_795_176_000_123,
        "Attributes": {"Latest": "ACCEPTED", "Reason": "", "PayloadFilePath": f"/mnt/outbox/{ID}.json"},
        "Hist": ["|ACCEPTED|1795176000123|"],
    }
    item |= changes
    return {name: value for name, value in item.items() if value is not None}


def claimed(before: Item, state: str, version: int) -> Item:
    held = {"Token": TOKEN, "LeaseSeq": version, "LeaseUntil": 1_795_176_090_000 + version, "LeaseFor": 90_000}
    return {**before, **held, "State": state, "Version": version}


def moved(before: Item, state: str, version: int, work_key: str | None) -> Item:
    after = {**before, "State": state, "Version": version, "WorkKey": work_key, "DueAt": 1_795_176_000_123 + version}
    if work_key is None:
        after["DueAt"] = None
    return {name: value for name, value in after.items() if value is not None and not name.startswith("Lease")}


def cost(work: Callable[[Meter], None]) -> float:
    meter = Meter()
    work(meter)
    return sum(one.units for one in meter.spent())


def write(before: Item | None, after: Item | None, *, transaction: bool = False) -> float:
    return cost(lambda meter: meter.written("x", before, after, transaction=transaction))


def test_an_email_of_our_own_costs_23_units() -> None:
    """Table, StatusIndex, WorkIndex of each step."""
    life: list[tuple[Item | None, Item, int]] = []

    def step(after: Item, units: int) -> None:
        life.append((life[-1][1] if life else None, after, units))

    step(meta(), 1 + 1 + 1)
    step(claimed(life[-1][1], "INTAKING", 2), 1 + 1 + 1)
    step(moved(life[-1][1], "READY", 3, "send#1"), 1 + 1 + 2)
    step(claimed(life[-1][1], "PROCESSING", 4), 1 + 1 + 1)
    step(moved(life[-1][1], "SENT", 5, "sent#1"), 1 + 1 + 2)
    step(claimed(life[-1][1], "CALLING-SENT-CALLBACK", 6), 1 + 1 + 1)
    step(moved(life[-1][1], "SENT-ACKNOWLEDGED", 7, None), 1 + 1 + 1)
    assert [write(before, after) for before, after, _ in life] == [units for _, _, units in life]
    assert sum(write(before, after) for before, after, _ in life) == 23


def test_a_status_record_stands_in_one_index() -> None:
    record: Item = {"Id": ID, "Status": "ACCEPTED", "TTL": 1_797_768_000, "Attributes": {}}
    assert write(None, record) == 1 + 1
    assert write(record, None) == 1 + 1
    assert write(record, {**record, "TTL": 4_102_444_800}) == 1 + 1


def test_a_claim_beside_an_older_consumer_doubles_the_table_alone() -> None:
    before = meta()
    record: Item = {"Id": ID, "Status": "INTAKING", "TTL": 1_797_768_000, "Attributes": {}}
    claim = write(before, claimed(before, "INTAKING", 2), transaction=True)
    assert claim + write(None, record, transaction=True) == (2 + 1 + 1) + (2 + 1)


def test_a_write_that_changes_nothing_costs_the_table() -> None:
    assert write(meta(), meta()) == 1
    assert write(None, None) == 1


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (meta(), meta(LeaseUntil=1), 1),
        (meta(), meta(Reason="no index keeps it"), 0),
        (meta(), meta(WorkKey="send#1"), 2),
        (meta(), meta(DueAt=1), 2),
        (meta(), meta(DueAt=1, State="READY"), 2),
        (meta(), meta(WorkKey=None, DueAt=None), 1),
        (meta(), meta(WorkKey=None), 1),
        (meta(WorkKey=None), meta(), 1),
        (meta(WorkKey=None), meta(WorkKey=None, State="READY"), 0),
    ],
)
def test_the_work_index_is_paid_by_its_entries(before: Item, after: Item, units: int) -> None:
    assert write(before, after) == 1 + 1 + units


def test_every_started_kilobyte_of_the_larger_image_is_paid_for() -> None:
    small = meta()
    room = 1024 - size_of(small) - len("Pad")
    full, over = meta(Pad="x" * room), meta(Pad="x" * (room + 1))
    assert write(None, full) == 1 + 1 + 1
    assert write(None, over) == 2 + 2 + 1
    assert write(over, full) == 2 + 2
    assert write(full, over) == 2 + 2
    assert write(over, {**over, "State": "READY"}) == 2 + 2 + 1


def test_an_entry_of_the_work_index_may_be_large_itself() -> None:
    before, after = meta(State="x" * 2000), meta(State="y" * 1100)
    assert write(before, after) == 3 + 3 + 3
    assert write(after, {**after, "DueAt": 1}) == 2 + 2 + (2 + 2)


def test_a_refused_write_costs_by_the_record_that_stands() -> None:
    assert cost(lambda meter: meter.refused("x", None)) == 1
    assert cost(lambda meter: meter.refused("x", meta())) == 1
    assert cost(lambda meter: meter.refused("x", meta(Pad="x" * 1500))) == 2
    assert cost(lambda meter: meter.refused("x", None, transaction=True)) == 2
    assert cost(lambda meter: meter.refused("x", meta(Pad="x" * 1500), transaction=True)) == 4


@pytest.mark.parametrize(
    ("sizes", "consistent", "each", "units"),
    [
        ([600], True, True, 1.0),
        ([600], False, True, 0.5),
        ([0], True, True, 1.0),
        ([0], False, True, 0.5),
        ([4096], True, True, 1.0),
        ([4097], True, True, 2.0),
        ([4097], False, True, 1.0),
        ([600, 600, 0], False, True, 1.5),
        ([], False, False, 0.5),
        ([], True, False, 1.0),
        ([600] * 6, False, False, 0.5),
        ([600] * 7, False, False, 1.0),
        ([600] * 7, True, False, 2.0),
    ],
)
def test_a_read(sizes: list[int], consistent: bool, each: bool, units: float) -> None:
    assert cost(lambda meter: meter.read("x", sizes, consistent=consistent, each=each)) == units


def test_units_are_kept_by_what_they_were_spent_on() -> None:
    meter = Meter()
    assert meter.spent() == []
    meter.read("poll", [], consistent=False, each=False)
    meter.read("poll", iter([200, 200]), consistent=False, each=False)
    meter.written("claim", meta(), claimed(meta(), "INTAKING", 2))
    meter.refused("claim", meta())
    meter.read("claim", [600], consistent=True, each=True)
    assert sorted(meter.spent()) == [
        Spent("claim", "read", 1.0),
        Spent("claim", "write", 3.0),
        Spent("claim_refused", "write", 1.0),
        Spent("poll", "read", 1.0),
    ]
