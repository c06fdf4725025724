"""The table as it is: whatever the older service has left there is worked, and left so that it still understands it."""

from __future__ import annotations

import os
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    MOVES,
    SENDER,
    SENT_CALLBACK,
    STAGES,
    TERMINAL,
    Acknowledged,
    Failed,
    Invalid,
    Outcome,
    Prepared,
    Retry,
    Sent,
)
from mailculator.model import Status
from mailculator.stores.base import Recorded
from tests.contract.steps import rescue
from tests.support import dynamodb_records
from tests.support.dynamodb_bench import FOREIGN_HOLD, OUTCOMES, Bench, Opened
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import FAR, META, OWN, Item, meta, now, stamp, status_record
from tests.support.older_dynamodb import NIL, OlderProducer, TtlPlace
from tests.support.ttl_deletion import TtlDeletion

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(300)]

THEIRS = frozenset({"Latest", "CreatedAt", "UpdatedAt", "Reason", "PayloadFilePath", "EMLFilePath", "TTL"})
"""All that may stand in `Attributes`: what the older programs know, and nothing of ours."""
WHOLE_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
PREPARED = [status for status in Status if status not in (Status.ACCEPTED, Status.INTAKING, Status.INVALID)]
ROME = timezone(timedelta(hours=2))
EVERY = 1 if ENDPOINT in os.environ else 3
"""Of the kinds of new mail, every third on moto, which is slow: each version, machine and gap is among them."""
TTL = now() + 20 * 86_400


def strange(item: Item, ttl: int | None = TTL) -> list[str]:
    """What the older consumer would not understand of a record that we have written."""
    attributes = item["Attributes"]
    status = attributes.get("Latest")
    found = []
    if status not in list(Status):
        found.append(f"Latest is {status}")
    if not set(attributes) <= THEIRS:
        found.append(f"Attributes has {set(attributes) - THEIRS}")
    # The second is compared as text by the producer, and goes out with the callback.
    times = {name: str(attributes.get(name)) for name in ("CreatedAt", "UpdatedAt")}
    found += [f"{name} is {text}" for name, text in times.items() if not WHOLE_SECONDS.fullmatch(text)]
    wanted = ["Reason", "PayloadFilePath", *(["EMLFilePath"] if status in PREPARED else [])]
    found += [f"{name} is printed as {NIL}" for name in wanted if not isinstance(attributes.get(name), str)]
    ends = status in TERMINAL
    if item.get("TTL") != ((FAR if ttl is None else ttl) if ends else FAR):
        found.append(f"TTL is {item.get('TTL')} at {status}")
    return found


async def assert_understood(bench: Bench, ttl: int | None = TTL, *, but: frozenset[str] = frozenset()) -> None:
    """Every record of an email that we have written, and no status that nobody knows."""
    items = [item for item in await bench.records.all() if not item["Id"].startswith(OWN)]
    assert {item["Status"] for item in items} <= {META, *Status}
    ours = [item for item in items if item["Status"] == META and "State" in item and item["Id"] not in but]
    assert {item["Id"]: words for item in ours if (words := strange(item, ttl))} == {}


async def put_every_kind(bench: Bench) -> list[str]:
    """New emails as every version of the producer, and every machine that it runs on, writes them."""
    ids = []
    places: list[TtlPlace] = ["root", "attributes"]
    lacking = [set(), {"Reason"}, {"CreatedAt"}, {"UpdatedAt"}, {"Reason", "CreatedAt", "UpdatedAt"}]
    kinds = list(product([True, False], places, lacking, [UTC, ROME]))
    for together, place, without, zone in kinds[::EVERY]:
        email_id = str(uuid.uuid4())
        producer = OlderProducer(bench.records, together, place, frozenset(without), zone)
        await producer.put(email_id, f"/payloads/{email_id}.json", TTL)
        ids.append(email_id)
    return ids


async def test_new_mail_of_every_kind_goes_its_way(bench: Bench) -> None:
    ids = await put_every_kind(bench)
    opened = await bench.open()
    for stage, status in ((INTAKE, Status.READY), (SENDER, Status.SENT), (SENT_CALLBACK, Status.SENT_ACKNOWLEDGED)):
        claimed = await opened.claim_all(stage, len(ids))
        assert {email.id for email in claimed} == set(ids)
        assert {email.payload_file_path for email in claimed} == {f"/payloads/{email_id}.json" for email_id in ids}
        assert {round(email.expires_in or 0) // 86_400 for email in claimed} <= {19, 20}
        # Made a moment ago, wherever: a local time is no other time.
        assert {abs(email.created_at.timestamp() - now()) < 300 for email in claimed} == {True}
        if stage is not INTAKE:
            await assert_understood(bench)
        assert await opened.record(*((email, OUTCOMES[stage.name]) for email in claimed)) == [Recorded.DONE] * len(ids)
        assert set((await bench.statuses(ids)).values()) == {status}
        await assert_understood(bench)
    assert opened.notices("poisoned") == opened.notices("foreign_write") == []
    # The producer's ACCEPTED records are gone, and the time of its writing is not.
    assert not [item for item in await bench.records.all() if item["Status"] == Status.ACCEPTED]
    for email_id in ids[:3]:
        born, *_ = await opened.store.history(email_id)
        assert (born.status, abs(born.created_at.timestamp() - now()) < 300) == (Status.ACCEPTED, True)


async def test_the_date_of_a_mail_without_a_time_does_not_move(bench: Bench) -> None:
    email_id = str(uuid.uuid4())
    await OlderProducer(bench.records, without=frozenset({"CreatedAt"})).put(email_id, "/payload.json")
    at = "2026-11-19T10:00:00+02:00"
    await bench.records.update(email_id, "SET #A.#UpdatedAt = :at", at=at)
    opened = await bench.open()
    for stage in (INTAKE, SENDER, SENT_CALLBACK):
        (email,) = await opened.claim(stage)
        assert email.created_at == datetime.fromisoformat(at)
        await opened.record((email, OUTCOMES[stage.name]))


@pytest.mark.parametrize("outcome", [Failed("expired"), Invalid("address_multiple: to"), Retry("share away", 0.0)])
async def test_what_ends_early_is_understood_as_well(bench: Bench, outcome: Outcome) -> None:
    ids = await put_every_kind(bench)
    opened = await bench.open()
    claimed = await opened.claim_all(INTAKE, len(ids))
    await opened.record(*((email, outcome) for email in claimed))
    items = await bench.records.emails()
    assert [words for item in items if (words := [w for w in strange(item) if "EMLFilePath" not in w])] == []
    if isinstance(outcome, Failed):
        claimed = await opened.claim_all(FAILED_CALLBACK, len(ids))
        await opened.record(*((email, OUTCOMES[FAILED_CALLBACK.name]) for email in claimed))
    await assert_understood(bench)


TTLS: list[tuple[Any, int | None]] = [
    (TTL, TTL),
    (str(TTL), TTL),
    (f"{TTL}.75", TTL),
    (f"{TTL:.1E}", int(float(f"{TTL:.1E}"))),
    (NIL, None),
    (None, None),
    (FAR, None),
]


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.READY, Status.SENT], ids=str)
async def test_a_ttl_is_read_wherever_and_however_it_stands(bench: Bench, status: Status) -> None:
    wanted: dict[str, int | None] = {}
    for (given, meant), place in product(TTLS, ("root", "attributes")):
        item = meta(str(uuid.uuid4()), status, PayloadFilePath="/payload.json", EMLFilePath="/x.eml")
        (item if place == "root" else item["Attributes"])["TTL"] = given
        wanted[item["Id"]] = meant
        await bench.records.put(item)
        await bench.records.put(status_record(item["Id"], Status.ACCEPTED))
    # One that is no number and one that is: what can be read counts.
    both = meta(str(uuid.uuid4()), status, PayloadFilePath="/payload.json", EMLFilePath="/x.eml")
    both |= {"TTL": NIL, "Attributes": {**both["Attributes"], "TTL": TTL}}
    wanted[both["Id"]] = TTL
    await bench.records.put(both)
    await bench.records.put(status_record(both["Id"], Status.ACCEPTED))

    opened = await bench.open()
    if status is not Status.ACCEPTED:
        await opened.store.sweep()
    for stage in (INTAKE, SENDER, SENT_CALLBACK)[[Status.ACCEPTED, Status.READY, Status.SENT].index(status) :]:
        claimed = await opened.claim_all(stage, len(wanted))
        assert {email.id: email.expires_in is None for email in claimed} == {
            email_id: ttl is None for email_id, ttl in wanted.items()
        }
        assert {item["TTL"] for item in await bench.records.emails()} == {FAR}
        await opened.record(*((email, OUTCOMES[stage.name]) for email in claimed))
    for email_id, ttl in wanted.items():
        assert (await bench.meta(email_id))["TTL"] == (FAR if ttl is None else ttl)


@pytest.mark.parametrize("nothing", [NIL, "", None])
async def test_what_the_older_consumer_prints_for_nothing_is_nothing(bench: Bench, nothing: str | None) -> None:
    email_id = str(uuid.uuid4())
    item = meta(email_id, Status.READY, ttl=TTL)
    item["Attributes"] |= dict.fromkeys(("PayloadFilePath", "Reason", "CreatedAt", "UpdatedAt"), nothing)
    item["Attributes"]["EMLFilePath"] = "/x.eml"
    await bench.records.put(item)
    opened = await bench.open()
    await opened.store.sweep()
    await assert_understood(bench)
    (email,) = await opened.claim(SENDER)
    assert (email.payload_file_path, email.eml_file_path, email.reason) == (None, "/x.eml", None)
    assert abs(email.created_at.timestamp() - now()) < 300
    await opened.record((email, OUTCOMES[SENDER.name]))
    await assert_understood(bench)


async def in_mid_life(bench: Bench, status: Status, minutes: int) -> str:
    """An email as the older consumer has left it so many minutes ago, in Rome."""
    email_id = str(uuid.uuid4())
    item = meta(email_id, status, ttl=TTL, PayloadFilePath="/payload.json", EMLFilePath="/x.eml")
    at = datetime.fromtimestamp(now() - 60 * minutes, ROME).isoformat()
    item["Attributes"] |= {"UpdatedAt": at, "Reason": "550 unknown" if "FAILED" in status else ""}
    way = [Status.ACCEPTED, *(one for one in Status if status in _after(one)), status]
    await bench.records.put(item)
    await bench.records.replace([status_record(email_id, one, TTL) for one in dict.fromkeys(way)])
    return email_id


def _after(status: Status) -> set[Status]:
    """Everything that a status leads to, without a step back."""
    order = list(Status)
    further = {one for one in MOVES[status] if order.index(one) > order.index(status)}
    return further.union(*(_after(one) for one in further))


async def test_what_the_older_consumer_has_begun_is_finished(bench: Bench) -> None:
    ids = {
        status: await in_mid_life(bench, status, minutes=5)
        for status in (Status.READY, Status.SENT, Status.FAILED, Status.SENT_ACKNOWLEDGED, Status.INVALID)
    }
    done = {email_id: await bench.meta(email_id) for status, email_id in ids.items() if status in TERMINAL}
    opened = await bench.open()
    await opened.claim(INTAKE)  # the inbox names them all
    worked = {email.id: email for email in await opened.work(OUTCOMES)}
    assert set(worked) == {ids[status] for status in (Status.READY, Status.SENT, Status.FAILED)}
    assert await bench.statuses(list(ids.values())) == {
        ids[Status.READY]: Status.SENT_ACKNOWLEDGED,
        ids[Status.SENT]: Status.SENT_ACKNOWLEDGED,
        ids[Status.FAILED]: Status.FAILED_ACKNOWLEDGED,
        ids[Status.SENT_ACKNOWLEDGED]: Status.SENT_ACKNOWLEDGED,
        ids[Status.INVALID]: Status.INVALID,
    }
    for status in (Status.SENT, Status.FAILED):
        # It was sent, or failed, when the older consumer wrote so.
        reached = worked[ids[status]].reached_at
        assert reached is not None
        assert abs(now() - 300 - reached.timestamp()) < 120
    assert worked[ids[Status.FAILED]].reason == "550 unknown"
    assert {email_id: await bench.meta(email_id) for email_id in done} == done
    await assert_understood(bench)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
async def test_what_the_older_consumer_holds_is_its_for_half_an_hour(bench: Bench, stage: Any) -> None:
    abandoned = await in_mid_life(bench, stage.working, minutes=40)
    held = await in_mid_life(bench, stage.working, minutes=20)
    opened = await bench.open()
    await opened.store.sweep()
    assert await opened.claim(stage) == []
    opened.time.at += 120.0
    rescued = await rescue(opened.store, 10, foreign_hold=FOREIGN_HOLD)
    assert [(one.id, one.origin, one.to, one.holder) for one in rescued] == [
        (abandoned, stage.working, stage.waiting, None)
    ]
    # Whoever takes it next finds no lock in the way, the older consumer neither.
    assert await bench.records.get(abandoned, stage.working) is None
    (email,) = await opened.claim(stage)
    assert email.id == abandoned
    assert await opened.record((email, OUTCOMES[stage.name])) == [Recorded.DONE]
    assert await bench.statuses([held]) == {held: stage.working}
    await assert_understood(bench)


async def test_half_of_a_new_email_waits_for_the_other(bench: Bench) -> None:
    producer = OlderProducer(bench.records)
    opened = await bench.open()
    # The record in the inbox first, and the email's own never or later.
    never, later = str(uuid.uuid4()), str(uuid.uuid4())
    for email_id in (never, later):
        await bench.records.put(producer.records_of(email_id, "/payload.json")[1])
    assert await opened.claim(INTAKE) == []
    await bench.records.put(producer.records_of(later, "/payload.json")[0])
    opened.time.at += 61.0
    assert [email.id for email in await opened.claim(INTAKE)] == [later]
    # The email's own without one in the inbox: no poll shows it, a sweep does.
    alone = str(uuid.uuid4())
    await bench.records.put(producer.records_of(alone, "/payload.json")[0])
    assert await opened.claim(INTAKE) == []
    await opened.store.sweep()
    assert [email.id for email in await opened.claim(INTAKE)] == [alone]
    assert opened.notices("poisoned") == []


async def test_nothing_that_is_unfinished_is_deleted(bench: Bench) -> None:
    deletion = TtlDeletion(bench.records)
    opened = await bench.open()
    expiring = {str(uuid.uuid4()): outcome for outcome in (Sent("250"), Failed("550"), Retry("451", 0.0))}
    for email_id in expiring:
        await OlderProducer(bench.records).put(email_id, "/payload.json", now() + 2)
    await _record_all(opened, await opened.claim_all(INTAKE, 3), dict.fromkeys(expiring, Prepared("example.com")))
    await _record_all(opened, await opened.claim_all(SENDER, 3), expiring)
    # Their time comes.
    await bench.records.replace([_past(item) for item in await bench.records.emails()])
    await deletion.once()
    assert deletion.deleted == []
    later = [email for stage in STAGES for email in await opened.claim(stage)]
    assert {email.id: email.expired for email in later} == dict.fromkeys(expiring, True)
    await deletion.once()
    assert deletion.deleted == []
    ends: dict[Status, Outcome] = {
        Status.PROCESSING: Failed("expired"),
        Status.CALLING_SENT_CALLBACK: Acknowledged("200"),
        Status.CALLING_FAILED_CALLBACK: Acknowledged("200"),
    }
    await _record_all(opened, later, {email.id: ends[email.status] for email in later})
    await deletion.once()
    assert len(deletion.deleted) == 2
    last = await opened.claim(FAILED_CALLBACK)
    assert [email.reason for email in last] == ["expired"]
    await _record_all(opened, last, {email.id: Acknowledged("200") for email in last})
    await deletion.once()
    assert {item["Id"] for item in deletion.deleted} == set(expiring)
    assert await bench.records.emails() == []


async def _record_all(opened: Opened, emails: Any, outcomes: Any) -> None:
    answers = await opened.record(*((email, outcomes[email.id]) for email in emails))
    assert answers == [Recorded.DONE] * len(emails)


def _past(item: Item) -> Item:
    """The same an hour later."""
    older = dynamodb_records.older(item, 3600)
    # Only what decides on deletion: nothing was held for an hour.
    return {**item, **{name: older[name] for name in ("TTL", "Expires") if name in older}}


async def test_the_producer_finds_nothing_stale_that_is_being_worked_on(bench: Bench) -> None:
    producer = OlderProducer(bench.records)
    opened = await bench.open()
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for email_id in ids:
        await producer.put(email_id, "/payload.json")
    for stage in (INTAKE, SENDER, SENT_CALLBACK):
        claimed = await opened.claim_all(stage, 3)
        past = {item["Id"]: item for item in await bench.records.emails()}
        long_ago = stamp(now() - 3600)
        # An hour goes by under the claim, as far as texts tell.
        for email_id in ids:
            attributes = {**past[email_id]["Attributes"], "UpdatedAt": long_ago}
            await bench.records.put({**past[email_id], "Attributes": attributes, "Seen": long_ago})
        half = datetime.fromtimestamp(now() - 1800, UTC)
        assert sorted(await producer.stale(stage.working, half)) == sorted(ids)
        assert (await opened.store.renew(claimed, lease=60.0)).held == set(ids)
        assert await producer.stale(stage.working, half) == []
        await opened.record(*((email, OUTCOMES[stage.name]) for email in claimed))
