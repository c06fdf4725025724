"""Records that nobody can work on: each is shown, and none holds up another email."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest

from mailculator.lifecycle import (
    INTAKE,
    SENT_CALLBACK,
)
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Recorded
from mailculator.stores.dynamodb.codec import Raw
from tests.contract.steps import rescue
from tests.support.dynamodb_bench import FOREIGN_HOLD, OUTCOMES, Bench
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import Item, meta, now, stamp, status_record
from tests.support.older_dynamodb import OlderProducer

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(300)]

ABSENT: Any = object()
BINARY = Raw({"B": b"x"})

# What stands in `Attributes` of a record that we have not taken up yet.
OTHERS_ATTRIBUTES = [
    ("Latest", ABSENT),
    ("Latest", "EXPLODED"),
    ("Latest", 7),
    ("Latest", ["ACCEPTED"]),
    ("CreatedAt", 1_700_000_000),
    ("UpdatedAt", True),
    ("Reason", {"text": "no"}),
    ("PayloadFilePath", ["/payload.json"]),
    ("EMLFilePath", BINARY),
]
# What stands at the root, where only we write.
OUR_ATTRIBUTES = [
    ("DueAt", Decimal("1.5")),
    ("DueAt", 10**30),
    ("WorkKey", "nowhere#9"),
    ("State", 7),
    ("Seen", ["now"]),
    ("Generation", True),
    ("Generation", None),
    ("ReachedAt", 10**20),
    ("Hist", ["2|READY|99999999999999999999|", "x|y"]),
    ("Version", "2"),
    ("Version", Decimal("1.5")),
    ("Version", 0),
    ("Version", 2_147_483_647),
    ("LeaseSeq", "1"),
    ("LeaseFor", "60"),
    ("LeaseUntil", "soon"),
    ("LeaseBy", 7),
    ("Token", 7),
    ("Attempts", "2"),
    ("Attempts", 2_147_483_647),
    ("Generation", "x"),
    ("FailingSince", "today"),
    ("LastError", 5),
    ("ReachedAt", "now"),
    ("Domain", {"a": "b"}),
    ("Parked", "yes"),
    ("Cancelled", True),
    ("Expires", "never"),
    ("Hist", "1|ACCEPTED|0|"),
    ("Hist", [7, {"a": 1}]),
    ("HistVersion", "3"),
    ("HistVersion", 99),
    ("HistFolded", "many"),
]
if ENDPOINT not in os.environ:
    # moto answers a comparison of text with a number by an HTTP 500, for ever.
    OUR_ATTRIBUTES = [one for one in OUR_ATTRIBUTES if one not in (("Attempts", "2"), ("HistVersion", "3"))]
WRITTEN_ANEW = [
    ("WorkKey", "nowhere#9"),
    ("State", 7),
    ("Seen", ["now"]),
    ("LeaseFor", "60"),
    ("LeaseUntil", "soon"),
    ("LeaseBy", 7),
    ("Token", 7),
    ("Hist", [7, {"a": 1}]),
    ("Hist", ["2|READY|99999999999999999999|", "x|y"]),
]
"""What a claim or a sweep puts right on its way: no reason to leave the email."""


def _name(attribute: str, value: Any) -> str:
    """An id that says what is wrong."""
    return f"{attribute}-{'absent' if value is ABSENT else type(value).__name__}-{str(value)[:20]}".replace(" ", "")


def altered(item: Item, name: str, value: Any) -> Item:
    kept = {key: there for key, there in item.items() if key != name}
    return kept if value is ABSENT else {**kept, name: value}


async def assert_all_else_goes_on(bench: Bench) -> None:
    """A good email beside the odd ones goes its whole way, though every claim meets them all."""
    opened = await bench.open()
    good = str(uuid.uuid4())
    await OlderProducer(bench.records).put(good, "/good.json")
    worked = await opened.work(OUTCOMES)
    await opened.store.sweep()
    worked += await opened.work(OUTCOMES)
    assert await bench.statuses([good]) == {good: Status.SENT_ACKNOWLEDGED}
    assert [email.status for email in worked if email.id == good] == [
        Status.INTAKING,
        Status.PROCESSING,
        Status.CALLING_SENT_CALLBACK,
    ]
    # Nor do they hold up who looks at the queue, or puts back what dead holders left.
    await opened.store.counts(terminal=True)
    await opened.store.page(None)
    opened.time.at += 3600.0
    await rescue(opened.store, 100, foreign_hold=FOREIGN_HOLD)
    await opened.work(OUTCOMES)


async def assert_shown(bench: Bench, ids: Collection[str]) -> None:
    """Every replica, and `cutover status`, are told of these and of no other."""
    assert {one for opened in bench.opened for one in opened.notices("poisoned")} == set(ids)
    survey = await (await bench.open()).store.survey()
    assert (set(survey.poisoned) <= set(ids), survey.poisoned_count) == (True, len(ids))
    assert len(survey.poisoned) == min(len(ids), 20)


async def test_new_records_with_an_odd_attribute(bench: Bench) -> None:
    odd = {}
    for name, value in OTHERS_ATTRIBUTES:
        item = meta(_name(name, value), Status.ACCEPTED, ttl=now() + 3600, PayloadFilePath="/odd.json")
        odd[item["Id"]] = {**item, "Attributes": altered(item["Attributes"], name, value)}
    for value in (ABSENT, "text", ["a", "list"], 7, None, BINARY):
        item = meta(_name("Attributes", value), Status.ACCEPTED, ttl=now() + 3600)
        odd[item["Id"]] = altered(item, "Attributes", value)
    await bench.records.replace(list(odd.values()))
    await bench.records.replace([status_record(email_id, Status.ACCEPTED) for email_id in odd])
    await assert_all_else_goes_on(bench)
    await assert_shown(bench, odd)
    assert {email_id: await bench.meta(email_id) for email_id in odd} == odd


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.READY, Status.INTAKING], ids=str)
async def test_records_of_ours_that_somebody_has_spoilt(bench: Bench, status: Status) -> None:
    opened = await bench.open()
    kinds = {_name(name, value): (name, value) for name, value in OUR_ATTRIBUTES}
    await opened.store.enqueue([NewEmail(email_id, "/odd.json", now() + 3600) for email_id in kinds])
    held = await opened.claim_all(INTAKE, len(kinds)) if status is not Status.ACCEPTED else []
    if status is Status.READY:
        await opened.record(*((email, OUTCOMES[INTAKE.name]) for email in held))
    for email_id, (name, value) in kinds.items():
        await bench.records.put(altered(await bench.meta(email_id), name, value))
    if status is Status.INTAKING:
        assert len((await opened.store.renew(held, lease=60.0)).held) < len(held)
        answers = await opened.record(*((email, OUTCOMES[INTAKE.name]) for email in held))
        assert Recorded.LOST in answers
    await assert_all_else_goes_on(bench)
    standing = await bench.statuses(list(kinds))
    left = {email_id for email_id, latest in standing.items() if latest != Status.SENT_ACKNOWLEDGED}
    if status is Status.INTAKING:
        # To us these two are held by another program, which has half an hour.
        foreign = {email_id for email_id, (name, _) in kinds.items() if name in ("State", "Seen")}
        assert foreign <= left
        await assert_shown(bench, left - foreign)
    else:
        await assert_shown(bench, left)
        assert left == {email_id for email_id, one in kinds.items() if one not in WRITTEN_ANEW}


async def test_an_odd_ttl_is_no_reason_to_leave_a_mail(bench: Bench) -> None:
    ids = []
    for value in ("1e400", "9" * 41, "nan", "soon", "", True, None, [1], BINARY, Decimal("1e40")):
        for place in ("root", "attributes"):
            item = meta(f"{place}-{_name('TTL', value)}", Status.ACCEPTED, PayloadFilePath="/odd.json")
            (item if place == "root" else item["Attributes"])["TTL"] = value
            ids.append(item["Id"])
            await bench.records.put(item)
            await bench.records.put(status_record(item["Id"], Status.ACCEPTED))
    opened = await bench.open()
    await opened.work(OUTCOMES)
    assert set((await bench.statuses(ids)).values()) == {Status.SENT_ACKNOWLEDGED}
    assert opened.notices("poisoned") == []


async def test_many_at_once_are_all_shown(bench: Bench) -> None:
    ids = [str(uuid.uuid4()) for _ in range(30)]
    await bench.records.replace([meta(email_id, "EXPLODED", ttl=now() + 3600) for email_id in ids])
    await bench.records.replace([status_record(email_id, Status.ACCEPTED) for email_id in ids])
    opened = await bench.open()
    for _ in range(3):
        assert await opened.claim(INTAKE) == []
        opened.time.at += 61.0
    survey = await opened.store.survey()
    assert len(survey.poisoned) == 20
    assert set(survey.poisoned) <= set(ids)
    assert survey.poisoned_count == 30
    assert (await opened.store.sweep()).poisoned_count == 30


async def test_what_has_been_put_right_is_worked_and_shown_no_more(bench: Bench) -> None:
    email_id = str(uuid.uuid4())
    await bench.records.put(meta(email_id, "EXPLODED", ttl=now() + 3600, PayloadFilePath="/odd.json"))
    await bench.records.put(status_record(email_id, Status.ACCEPTED))
    opened = await bench.open()
    assert await opened.claim(INTAKE) == []
    await bench.records.update(email_id, "SET #A.#Latest = :latest", latest="ACCEPTED")
    opened.time.at += 61.0
    (email,) = await opened.claim(INTAKE)
    assert email.id == email_id
    survey = await opened.store.sweep()
    assert (survey.poisoned, survey.poisoned_count) == ((), 0)


async def test_a_bad_time_is_taken_for_now(bench: Bench) -> None:
    email_id = str(uuid.uuid4())
    item = meta(email_id, Status.SENT, ttl=now() + 3600, PayloadFilePath="/odd.json", EMLFilePath="/odd.eml")
    item["Attributes"] |= {"UpdatedAt": "<nil>", "CreatedAt": "yesterday"}
    await bench.records.put(item)
    opened = await bench.open()
    await opened.store.sweep()
    (email,) = await opened.claim(SENT_CALLBACK)
    assert email.reached_at is not None
    assert abs(email.reached_at.timestamp() - now()) < 120
    assert stamp(email.created_at.timestamp()) >= stamp(now() - 120)
