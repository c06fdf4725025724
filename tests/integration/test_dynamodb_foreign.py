"""Other programs that write on the same table: beside an older consumer, and against one that nobody told us of."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections import Counter
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    STAGE_BY_WORKING,
    STAGES,
    Acknowledged,
    Failed,
    Retry,
    Sent,
    Stage,
)
from mailculator.model import Email, NewEmail, Status
from mailculator.stores.base import Recorded, Steered
from mailculator.stores.dynamodb.control import CONTROL
from tests.contract.steps import rescue
from tests.support.dynamodb_bench import FOREIGN_HOLD, OUTCOMES, Bench, Opened
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import OWN, meta, now, status_record
from tests.support.older_dynamodb import NO_FILE, OlderConsumer, OlderProducer, Shelf

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(600)]

ROUNDS = 20
IN_A_ROUND = 25 if ENDPOINT in os.environ else 2
TASKS = 2
LOOKS = 1 if ENDPOINT in os.environ else 10
"""Fewer than this are made by the older consumer before it claims. moto serves one call at a time, whatever it costs:
without them it would always be first there."""
ROME = timezone(timedelta(hours=2))
REFRESHED = 6.0
"""Seconds after which every replica has looked anew at what all must know."""


@pytest.fixture
def older(bench: Bench, tmp_path: Path) -> OlderConsumer:
    return OlderConsumer(bench.records, tmp_path, Shelf())


async def prepare(bench: Bench, folder: Path, count: int) -> list[str]:
    """READY emails as the older consumer's intake leaves them."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for email_id in ids:
        path = folder / f"{email_id}.eml"
        path.write_bytes(b"To: recipient@example.com\r\n\r\nHello\r\n")
        ttl = now() + 86_400
        item = meta(email_id, Status.READY, ttl=ttl, PayloadFilePath="/payload.json", EMLFilePath=str(path))
        steps = [status_record(email_id, step, ttl) for step in (Status.ACCEPTED, Status.INTAKING, Status.READY)]
        await bench.records.replace([item, *steps])
    return ids


async def bring_to(opened: Opened, stage: Stage, count: int) -> list[str]:
    """Emails of our own that wait at a stage."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    await opened.store.enqueue([NewEmail(email_id, "/payload.json", now() + 86_400) for email_id in ids])
    failing = {**OUTCOMES, SENDER.name: Failed("550 no")} if stage is FAILED_CALLBACK else OUTCOMES
    for step in STAGES[: STAGES.index(stage)]:
        if (step, stage) != (SENT_CALLBACK, FAILED_CALLBACK):
            claimed = await opened.claim_all(step, count)
            await opened.record(*((email, failing[step.name]) for email in claimed))
    return ids


async def test_no_email_is_claimed_by_both_sides(bench: Bench, older: OlderConsumer, tmp_path: Path) -> None:
    ours: Counter[tuple[str, Status]] = Counter()
    opened = await bench.open(peer_consumer=True)
    rng = random.Random(7)

    async def claims_of_ours(stage: Stage, ids: list[str]) -> list[Email]:
        taken = await opened.claim(stage, len(ids))
        ours.update((email.id, email.status) for email in taken)
        return taken

    async def claims_of_theirs(working: Status, ids: list[str]) -> list[str]:
        async def task() -> list[str]:
            for _ in range(rng.randrange(LOOKS)):
                await older.find(STAGE_BY_WORKING[working].waiting)
            return [email_id for email_id in rng.sample(ids, len(ids)) if await older.claim(email_id, working)]

        # Several of its tasks run at once, as in production.
        parts = await asyncio.gather(*(task() for _ in range(TASKS)))
        return [email_id for part in parts for email_id in part]

    everyone: list[str] = []
    for _ in range(ROUNDS):
        ids = await prepare(bench, tmp_path, IN_A_ROUND)
        everyone += ids
        opened.time.at += REFRESHED
        await opened.claim(INTAKE)  # which takes in what the other side has prepared, and claims nothing
        taken, won = await asyncio.gather(claims_of_ours(SENDER, ids), claims_of_theirs(Status.PROCESSING, ids))
        assert await opened.record(*((email, Sent("250 ok")) for email in taken)) == [Recorded.DONE] * len(taken)
        for email_id in won:
            await older.advance(email_id, Status.SENT)
        # Each side looks for what is SENT, whoever has sent it.
        told, called = await asyncio.gather(
            claims_of_ours(SENT_CALLBACK, ids), claims_of_theirs(Status.CALLING_SENT_CALLBACK, ids)
        )
        await opened.record(*((email, Acknowledged("200")) for email in told))
        for email_id in called:
            await older.advance(email_id, Status.SENT_ACKNOWLEDGED)
        # What both had to let go in the very same moment.
        for item in await older.find(Status.READY):
            assert await older.send(item)
        for item in await older.find(Status.SENT):
            assert await older.tell(item)

    assert [claim for claim in ours if claim in older.claimed] == []
    assert set(ours.values()) | set(older.claimed.values()) == {1}
    for working in (Status.PROCESSING, Status.CALLING_SENT_CALLBACK):
        mine = sum(status is working for _, status in ours)
        theirs = sum(status is working for _, status in older.claimed)
        assert mine + theirs == len(everyone)
        if working is Status.PROCESSING:
            assert min(mine, theirs) >= len(everyone) / 10, (mine, theirs)
    # They did meet: each has lost some to the other.
    assert len(opened.notices("race_lost")) + older.lost > len(everyone) / 10
    assert older.stuck == []
    assert set((await bench.statuses(everyone)).values()) == {Status.SENT_ACKNOWLEDGED}
    assert opened.notices("foreign_write") == []


async def test_what_one_side_gives_back_the_other_can_take(bench: Bench, older: OlderConsumer, tmp_path: Path) -> None:
    (email_id,) = await prepare(bench, tmp_path, 1)
    opened = await bench.open(peer_consumer=True)
    producer = OlderProducer(bench.records)
    await opened.claim(INTAKE)

    (email,) = await opened.claim(SENDER)
    assert not await older.claim(email_id, Status.PROCESSING)
    assert await opened.record((email, Retry("450 later", 0.0))) == [Recorded.DONE]
    assert await older.claim(email_id, Status.PROCESSING)
    opened.time.at += REFRESHED
    assert await opened.claim(SENDER) == []
    assert await producer.requeue(email_id, Status.PROCESSING)
    opened.time.at += 3600.0
    await rescue(opened.store, 10, foreign_hold=FOREIGN_HOLD)
    (email,) = await opened.claim(SENDER)
    assert await opened.record((email, Sent("250 ok"))) == [Recorded.DONE]
    assert await older.claim(email_id, Status.CALLING_SENT_CALLBACK)
    assert await opened.claim(SENT_CALLBACK) == []
    await older.advance(email_id, Status.SENT_ACKNOWLEDGED)
    assert (older.lost, older.stuck) == (1, [])


async def test_an_operators_requeue_opens_the_way_for_both(bench: Bench, older: OlderConsumer, tmp_path: Path) -> None:
    for email_id in await prepare(bench, tmp_path, 1):
        (item,) = await older.find(Status.READY)
        await older.send(item)
        (item,) = await older.find(Status.SENT)
        await older.tell(item)
        opened = await bench.open(peer_consumer=True)
        for _ in range(2):
            answer = await opened.store.requeue([email_id], who="anna", why="once more", ttl_extension=3600.0)
            assert answer == [Steered.DONE]
            (item,) = await older.find(Status.SENT)
            assert await older.tell(item)
        assert older.stuck == []
        assert await bench.statuses([email_id]) == {email_id: Status.SENT_ACKNOWLEDGED}


async def test_the_third_foreign_write_within_a_minute_stops_every_replica(bench: Bench, older: OlderConsumer) -> None:
    one, other = await bench.open(), await bench.open()
    for stage in (FAILED_CALLBACK, SENT_CALLBACK, SENDER, INTAKE):
        await bring_to(one, stage, 4)
    ready = [item["Id"] for item in await older.find(Status.READY)][:3]
    for number, email_id in enumerate(ready, start=1):
        # It finds mail of ours without an EML file, and fails it.
        await older.send(await bench.meta(email_id))
        one.time.at += REFRESHED
        claimed = await one.claim(SENDER)
        assert email_id not in {email.id for email in claimed}
        await one.record(*((email, Retry("451 later", 0.0)) for email in claimed))
        assert one.notices("foreign_write") == ready[:number]
    for replica in (one, other):
        replica.time.at += REFRESHED
        for stage in STAGES:
            assert await replica.claim(stage) == []
        assert replica.notices("stopped") == [None]
    # A replica that starts later is not to begin anew either, and whoever looks is told why.
    late = await bench.open()
    assert await late.claim(INTAKE) == []
    assert "3 writes of another consumer within a minute" in ((await late.store.survey()).stopped or "")
    assert (await late.store.survey()).foreign_write is not None

    operator = await bench.open()
    assert await operator.store.resume("anna", "it is switched off now")
    assert not await operator.store.resume("anna", "once more")
    for replica in (one, other, late):
        replica.time.at += REFRESHED
    # Failed by the older one for want of a file: that is for us to tell its producer.
    assert {email.id for email in await other.claim(FAILED_CALLBACK)} >= set(ready)
    assert len(await one.claim(INTAKE)) == 4
    assert [email.reason for email in await late.claim(FAILED_CALLBACK)] == []
    assert one.notices("resumed") == [None]
    assert {(await bench.meta(email_id))["Attributes"]["Reason"] for email_id in ready} == {NO_FILE}


async def test_foreign_writes_further_apart_stop_nothing(bench: Bench, older: OlderConsumer) -> None:
    opened = await bench.open()
    ready = await bring_to(opened, SENDER, 5)
    for email_id in ready[:4]:
        await older.claim(email_id, Status.PROCESSING)
        opened.time.at += REFRESHED
        claimed = await opened.claim(SENDER)
        await opened.record(*((email, Retry("451 later", 0.0)) for email in claimed))
        # Half a minute later.
        control = await bench.records.get(OWN, CONTROL)
        assert control is not None
        await bench.records.put({**control, "Foreign": [at - 31_000 for at in control["Foreign"]]})
    assert len(opened.notices("foreign_write")) == 4
    opened.time.at += REFRESHED
    assert [email.id for email in await opened.claim(SENDER)] == ready[4:]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
async def test_a_write_on_what_we_hold_is_seen_and_not_overwritten(
    bench: Bench, older: OlderConsumer, stage: Stage
) -> None:
    opened = await bench.open()
    (email_id,) = await bring_to(opened, stage, 1)
    (email,) = await opened.claim(stage)
    await older.advance(email_id, Status.INVALID, "by the older one")
    assert (await opened.store.renew([email], lease=60.0)).lost == {email_id}
    assert await opened.record((email, OUTCOMES[stage.name])) == [Recorded.LOST]
    await rescue(opened.store, 10, foreign_hold=FOREIGN_HOLD)
    assert opened.notices("foreign_write") == [email_id]
    found = await bench.meta(email_id)
    assert (found["Attributes"]["Latest"], found["Attributes"]["Reason"]) == (Status.INVALID, "by the older one")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
async def test_what_came_back_to_the_same_status_is_another_claim(
    bench: Bench, older: OlderConsumer, stage: Stage
) -> None:
    opened = await bench.open()
    (email_id,) = await bring_to(opened, stage, 1)
    (email,) = await opened.claim(stage)
    # Neither raises the version or touches the token: after both, only the time tells. It is a machine in Rome, so that
    # its text differs even within the second.
    older.zone = ROME
    assert await OlderProducer(bench.records).requeue(email_id, stage.working)
    assert await older.claim(email_id, stage.working)
    before = await bench.meta(email_id)
    assert (before["Attributes"]["Latest"], before["Version"]) == (stage.working, email.version)
    assert (await opened.store.renew([email], lease=60.0)).lost == {email_id}
    assert await opened.record((email, OUTCOMES[stage.name])) == [Recorded.LOST]
    assert await bench.meta(email_id) == before


async def test_mail_that_went_and_came_back_is_not_claimed_as_it_was(bench: Bench, older: OlderConsumer) -> None:
    opened = await bench.open()
    (email_id,) = await bring_to(opened, SENDER, 1)
    producer = OlderProducer(bench.records, zone=ROME)
    assert await older.claim(email_id, Status.PROCESSING)
    assert await producer.requeue(email_id, Status.PROCESSING)
    opened.time.at += REFRESHED
    await opened.claim(SENDER)
    assert opened.notices("foreign_write") == [email_id]


async def test_our_own_work_and_the_producers_requeue_stop_nothing(bench: Bench) -> None:
    replicas = [await bench.open() for _ in range(3)]
    producer = OlderProducer(bench.records)
    ids = [str(uuid.uuid4()) for _ in range(12 if ENDPOINT in os.environ else 6)]
    for email_id in ids:
        await producer.put(email_id, "/payload.json")
    requeued: Counter[Status] = Counter()
    for stage in (INTAKE, SENDER, SENT_CALLBACK):
        first = await _claims(replicas, stage)
        assert set(first) == set(ids)
        for _ in range(5):
            await _renew(replicas, first)
        # The producer takes half of it for stuck.
        stuck = set(ids[::2])
        for email_id in stuck:
            assert await producer.requeue(email_id, stage.working)
            requeued[stage.working] += 1
        lost = await _renew(replicas, first)
        assert lost == stuck
        for replica in replicas:
            held = [email for one, email in first.values() if one is replica and email.id in stuck]
            assert await replica.record(*((email, OUTCOMES[stage.name]) for email in held)) == [Recorded.LOST] * len(
                held
            )
            await rescue(replica.store, 100, foreign_hold=FOREIGN_HOLD)
        again = await _claims(replicas, stage)
        assert set(again) == stuck
        for email_id, (replica, email) in {**first, **again}.items():
            assert await replica.record((email, OUTCOMES[stage.name])) == [Recorded.DONE], email_id
    assert set((await bench.statuses(ids)).values()) == {Status.SENT_ACKNOWLEDGED}
    noticed = sorted(str(one) for replica in replicas for one in replica.notices("producer_requeue"))
    assert noticed == sorted(ids[::2] * 3)
    assert [one for replica in replicas for one in replica.notices("foreign_write")] == []
    assert (await replicas[0].store.survey()).stopped is None


async def _claims(replicas: list[Opened], stage: Stage) -> dict[str, tuple[Opened, Email]]:
    """What all of them get, each a few at a time, until nothing is left."""
    found: dict[str, tuple[Opened, Email]] = {}
    while True:
        for replica in replicas:
            replica.time.at += REFRESHED
        parts = await asyncio.gather(*(replica.claim(stage, 3) for replica in replicas))
        for replica, part in zip(replicas, parts, strict=True):
            assert not found.keys() & {email.id for email in part}
            found |= {email.id: (replica, email) for email in part}
        if not any(parts):
            return found


async def _renew(replicas: list[Opened], held: dict[str, tuple[Opened, Email]]) -> set[str]:
    """One heartbeat of each. Returns what they have lost."""
    lost: set[str] = set()
    for replica in replicas:
        mine = [email for one, email in held.values() if one is replica]
        lost |= (await replica.store.renew(mine, lease=60.0)).lost
    return lost
