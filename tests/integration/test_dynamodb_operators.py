"""What operators do to a DynamoDB queue: marks on single records, beside whoever else writes there, and the lists."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from mailculator.lifecycle import INTAKE, SENDER, STAGE_BY_WAITING, Prepared, Retry, withdrawn
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Recorded, Steered
from mailculator.stores.dynamodb import reads
from mailculator.stores.dynamodb.clock import ServerClock
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.expression import Update
from tests.contract.steps import new_id
from tests.support.dynamodb_bench import OUTCOMES, Bench, Opened
from tests.support.dynamodb_records import FAR, OWN, meta, now, stamp, status_record
from tests.support.older_dynamodb import OlderProducer

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(300)]

VERBS = ["park", "hasten", "cancel"]
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
WHO = {"who": "anna", "why": "wrong list"}


async def mark(opened: Opened, verb: str, *ids: str, **words: str) -> list[Steered]:
    answers: list[Steered] = await getattr(opened.store, verb)(ids, **{**WHO, **words})
    return answers


async def put_off(opened: Opened) -> str:
    """An email of ours that is READY, and to be tried in an hour."""
    email_id = new_id()
    await opened.store.enqueue([NewEmail(email_id, "/payload.json", now() + 86_400)])
    for stage, outcome in ((INTAKE, OUTCOMES[INTAKE.name]), (SENDER, Retry("450 later", 3600.0))):
        (email,) = await opened.claim(stage)
        assert await opened.record((email, outcome)) == [Recorded.DONE]
    return email_id


@pytest.mark.parametrize("verb", VERBS)
async def test_a_mark_changes_nothing_that_a_holder_or_an_older_program_goes_by(bench: Bench, verb: str) -> None:
    opened = await bench.open()
    email_id = await put_off(opened)
    before = await bench.meta(email_id)

    assert await mark(opened, verb, email_id) == [Steered.DONE]

    after = await bench.meta(email_id)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    places = {"park": {"Parked", "WorkKey"}, "hasten": {"DueAt"}, "cancel": {"Cancelled", "DueAt"}}
    assert changed == {"Hist", *places[verb]}


@pytest.mark.parametrize("verb", ["park", "cancel"])
async def test_new_mail_that_nobody_has_taken_up_is_marked_as_well(bench: Bench, verb: str) -> None:
    email_id = new_id()
    await OlderProducer(bench.records).put(email_id, "/payload.json")
    opened = await bench.open()

    assert await mark(opened, verb, email_id) == [Steered.DONE]

    assert (await opened.store.counts())[Status.ACCEPTED].parked == (verb == "park")
    claimed = await opened.claim(INTAKE)
    assert [email.cancelled for email in claimed] == ([] if verb == "park" else ["wrong list"])
    # Its record in the inbox is no second way in, and goes.
    assert await bench.records.get(email_id, Status.ACCEPTED) is None
    assert (await bench.meta(email_id))["TTL"] == FAR


@pytest.mark.parametrize("verb", VERBS)
async def test_a_mark_rests_on_the_record_as_it_stands_and_not_as_it_was_read(bench: Bench, verb: str) -> None:
    opened, other = await bench.open(), await bench.open()
    email_id = await put_off(opened)
    meanwhile: list[Callable[[], Awaitable[Any]]] = [lambda: mark(other, "hasten", email_id, why="first")]
    update = opened.store._session.table.update

    async def late(op: str, what: Update) -> tuple[Item, Item]:
        if meanwhile:
            await meanwhile.pop()()
        return await update(op, what)

    with mock.patch.object(opened.store._session.table, "update", late):
        answer = await mark(opened, verb, email_id)

    # The other operator's mark stands, and ours is set upon it, where there is still anything to set.
    assert answer == [Steered.NOT_APPLICABLE if verb == "hasten" else Steered.DONE]
    told = [line.reason for line in await opened.store.history(email_id) if line.version is None]
    assert "hastened by anna: first" in told
    assert len(told) == (2 if verb == "hasten" else 3)


@pytest.mark.parametrize("verb", [*VERBS, "release"])
async def test_a_mark_whose_reply_was_lost_is_done_and_told_once(bench: Bench, verb: str) -> None:
    opened = await bench.open()
    email_id = await put_off(opened)
    if verb == "release":
        await mark(opened, "park", email_id)
    lines = len((await bench.meta(email_id))["Hist"])
    update = opened.store._session.table.update

    async def twice(op: str, what: Update) -> tuple[Item, Item]:
        await update(op, what)
        return await update(op, what)

    with mock.patch.object(opened.store._session.table, "update", twice):
        assert await mark(opened, verb, email_id) == [Steered.DONE]

    assert len((await bench.meta(email_id))["Hist"]) == lines + 1


async def test_beside_an_older_consumer_what_it_prepared_is_cancelled(bench: Bench) -> None:
    email_id, ttl = new_id(), now() + 86_400
    item = meta(email_id, Status.READY, ttl=ttl, PayloadFilePath="/payload.json", EMLFilePath="/x.eml")
    steps = [status_record(email_id, step, ttl) for step in (Status.ACCEPTED, Status.INTAKING, Status.READY)]
    await bench.records.replace([item, *steps])
    opened = await bench.open(peer_consumer=True)

    assert await mark(opened, "cancel", email_id) == [Steered.DONE]

    (email,) = await opened.claim(SENDER)
    assert (email.id, email.cancelled) == (email_id, "wrong list")
    assert opened.notices("foreign_write") == []


async def test_a_producers_requeue_leaves_the_mark_and_ends_parking(bench: Bench) -> None:
    opened = await bench.open()
    email_id = await put_off(opened)
    await mark(opened, "cancel", email_id)
    (email,) = await opened.claim(SENDER)
    assert await OlderProducer(bench.records).requeue(email_id, Status.PROCESSING)

    await opened.store.sweep()

    (again,) = await opened.claim(SENDER)
    assert (again.id, again.version > email.version, again.cancelled) == (email_id, True, "wrong list")


@pytest.mark.parametrize("status", [Status.READY, Status.ACCEPTED])
async def test_what_was_cancelled_and_is_put_back_by_its_producer_is_sent(bench: Bench, status: Status) -> None:
    opened = await bench.open()
    email_id = await put_off(opened)
    await mark(opened, "cancel", email_id)
    (email,) = await opened.claim(SENDER)
    ending = withdrawn(email)
    assert ending is not None
    await opened.record((email, ending))
    # As an operator's requeue does it, but by the producer itself: it writes what it wants to be so.
    await bench.records.update(
        email_id,
        "SET #A.#Latest = :status, #A.#UpdatedAt = :at, #A.#Reason = :none",
        status=str(status),
        at=stamp(now() + 1),
        none="",
    )

    await opened.store.sweep()

    row = await opened.store.get(email_id)
    assert row is not None
    assert (row.status, row.cancelled) == (status, None)
    (again,) = await opened.claim(STAGE_BY_WAITING[status])
    assert withdrawn(again) is None


async def test_why_stands_in_the_history_in_full_however_long(bench: Bench) -> None:
    opened = await bench.open()
    email_id = await put_off(opened)
    why = "the list was wrong: " + "wörter " * 30

    await mark(opened, "cancel", email_id, why=why)

    last = (await opened.store.history(email_id))[-1]
    assert last.reason == f"cancelled by anna: {why.strip()}"
    found = await bench.meta(email_id)
    assert len(found["Cancelled"].encode()) <= 200
    assert all(len(line.encode()) < 150 for line in found["Hist"])


async def test_a_page_of_a_domain_is_filled_from_beyond_what_was_read_first(bench: Bench) -> None:
    opened = await bench.open()
    ids = sorted(str(uuid.uuid4()) for _ in range(7))
    await opened.store.enqueue([NewEmail(email_id, "/payload.json", None) for email_id in ids])
    emails = {email.id: email for email in await opened.claim_all(INTAKE, len(ids))}
    domains = ["b.example"] * 4 + ["a.example"] * 3
    await opened.record(*((emails[one], Prepared(domain)) for one, domain in zip(ids, domains, strict=True)))

    with mock.patch.object(reads, "BATCH_KEYS", 2):
        first = await opened.store.page(Status.READY, domain="a.example", limit=2)
        rest = await opened.store.page(Status.READY, domain="a.example", after=first[-1].id, limit=2)
        active = await opened.store.page(domain="a.example")

    assert [row.id for row in first] == ids[4:6]
    assert [row.id for row in rest] == ids[6:]
    assert [row.id for row in active] == ids[4:]


async def test_of_a_domain_alone_only_what_is_active_is_told(bench: Bench) -> None:
    opened = await bench.open()
    ids = sorted(str(uuid.uuid4()) for _ in range(2))
    for email_id in ids:
        await opened.store.enqueue([NewEmail(email_id, "/payload.json", None)])
        if email_id == ids[0]:
            await opened.work(OUTCOMES, rounds=1)
    (email,) = await opened.claim(INTAKE)
    await opened.record((email, Prepared("example.com")))

    assert [row.id for row in await opened.store.page(domain="example.com")] == ids[1:]
    assert [row.id for row in await opened.store.page(Status.SENT_ACKNOWLEDGED, domain="example.com")] == ids[:1]
    assert await opened.store.page(Status.SENT_ACKNOWLEDGED, domain="other.example") == []


# What concerns the queue as a whole.


def at(moment: datetime) -> Any:
    """The service's time, as a store takes it to be."""
    return mock.patch.object(ServerClock, "now", return_value=moment.timestamp())


async def test_the_audit_list_goes_back_over_months_and_in_pages(bench: Bench) -> None:
    opened = await bench.open()
    today = datetime(2026, 3, 1, 0, 0, 10, tzinfo=UTC)
    days = [today - timedelta(days=days) for days in (360, 90, 89, 1, 0)]
    for day in days:
        with at(day):
            await opened.store.control.note(who="anna", what=f"{day:%Y-%m-%d}", why="to have some")
    # Another replica's clock is a little ahead, across the month's border.
    with at(today):
        pages = [await opened.store.control.audit(limit=2)]
        while pages[-1]:
            pages.append(await opened.store.control.audit(after=pages[-1][-1].key, limit=2))

    told = [deed for page in pages for deed in page]
    assert [deed.at for deed in told] == days[::-1]
    assert [deed.what for deed in told] == [f"{day:%Y-%m-%d}" for day in days[::-1]]
    assert [len(page) for page in pages] == [2, 2, 1, 0]


async def test_a_deed_of_a_replica_whose_clock_is_ahead_is_told_across_the_months_border(bench: Bench) -> None:
    opened = await bench.open()
    border = datetime(2026, 3, 1, tzinfo=UTC)
    with at(border + timedelta(milliseconds=300)):
        await opened.store.control.note(who="anna", what="did", why="because")
    with at(border - timedelta(milliseconds=300)):
        assert [deed.what for deed in await opened.store.control.audit()] == ["did"]


async def test_deeds_of_one_moment_stand_in_their_order(bench: Bench) -> None:
    opened = await bench.open()
    with at(datetime(2026, 3, 1, tzinfo=UTC)):
        for number in range(5):
            await opened.store.control.note(who="anna", what=str(number), why="quick")
        assert [deed.what for deed in await opened.store.control.audit()] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    "began", [datetime(2026, 3, 9, tzinfo=UTC), MARCH, MARCH - timedelta(seconds=0.5)], ids=["", "border", "before it"]
)
async def test_deeds_of_two_commands_stand_in_their_order_though_their_clocks_differ(
    bench: Bench, began: datetime
) -> None:
    # A command has heard the service's time in whole seconds once or twice, and may be off by half of one.
    for number, ahead in enumerate((0.4, -0.4, 0.0)):
        opened = await bench.open()
        with at(began + timedelta(seconds=ahead)):
            if number == 1:
                await opened.store.control.pause("sender", seconds=None, who="anna", why="quick")
            else:
                await opened.store.control.note(who="anna", what=str(number), why="quick")
    with at(began - timedelta(seconds=0.4)):
        assert [deed.what for deed in await opened.store.control.audit()] == ["2", "paused sender", "0"]


async def test_a_deed_that_is_far_ahead_puts_off_no_other(bench: Bench) -> None:
    opened = await bench.open()
    today = datetime(2026, 3, 9, tzinfo=UTC)
    for moment in (today + timedelta(days=7), today):
        with at(moment):
            # Each by a command of its own.
            await (await bench.open()).store.control.note(who="anna", what=f"{moment:%d}", why="a clock was set")
    with at(today + timedelta(days=8)):
        assert [deed.at for deed in await opened.store.control.audit()] == [today + timedelta(days=7), today]


async def test_a_pause_and_its_line_on_the_audit_list_are_written_together(bench: Bench) -> None:
    opened = await bench.open()
    transact = opened.store._session.table.transact

    with mock.patch.object(opened.store._session.table, "put", side_effect=AssertionError("a write of its own")):
        await opened.store.control.pause("sender", seconds=None, who="anna", why="because")

    # A reply was lost: what is sent again is recognised, and told once.
    async def twice(*arguments: Any, **more: Any) -> None:
        await transact(*arguments, **more)
        await transact(*arguments, **more)

    with mock.patch.object(opened.store._session.table, "transact", twice):
        assert await opened.store.control.resume("sender", who="anna", why="over") is True
    assert await opened.store.control.pauses() == []
    assert [deed.what for deed in await opened.store.control.audit()] == ["resumed sender", "paused sender"]


async def test_what_stands_there_goes_in_its_time_and_no_sooner(bench: Bench) -> None:
    opened = await bench.open()
    await opened.store.control.pause("sender", seconds=600.0, who="anna", why="because")
    await opened.store.control.pause("intake", seconds=None, who="anna", why="because")
    await opened.store.control.report("replica-1", service="1.0.0", facts={})

    ttls = {item["Status"]: item["TTL"] - now() for item in await bench.records.all() if item["Id"] != OWN}

    day = 86_400
    assert ttls.pop("pause#intake") == pytest.approx(FAR - now(), abs=60)
    assert ttls.pop("pause#sender") == pytest.approx(600 + day, abs=60)
    assert ttls.pop("replica#replica-1") == pytest.approx(2 * day, abs=60)
    assert list(ttls.values()) == [pytest.approx(365 * day, abs=60)] * 2


async def test_a_record_there_that_is_not_ours_is_passed_over(bench: Bench) -> None:
    opened = await bench.open()
    for place in ("pauses", "replicas", f"audit#{datetime.now(UTC):%Y-%m}"):
        for number, odd in enumerate(({}, {"Since": "x", "Seen": "y", "Pipeline": "sender", "Who": "", "Why": ""})):
            await bench.records.put({"Id": f"{OWN}.{place}", "Status": f"2026-odd-{number}", "TTL": FAR, **odd})

    control = opened.store.control
    assert (await control.pauses(), await control.replicas(), await control.audit()) == ([], [], [])
