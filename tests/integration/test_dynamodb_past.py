"""A table that the older service has worked on for a month: new mail is found at once, the past is left alone."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailculator.lifecycle import INTAKE, SENDER
from mailculator.model import Email, Status
from mailculator.stores.dynamodb.client import Client
from mailculator.stores.dynamodb.sweep import Adoption
from tests.support.dynamodb_bench import Bench, Opened
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import meta, now, status_record
from tests.support.older_dynamodb import OlderProducer

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(600)]

MANY = 1500 if ENDPOINT in os.environ else 300
PAST = 250
CALLS = 260
"""Calls of a first start until new mail is found: a look at the inbox, of which a page is tried, and one pass."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Every call to DynamoDB from here on, by operation."""
    counted: Counter[str] = Counter()
    call = Client.call

    async def counting(self: Client, operation: str, op: str, **request: Any) -> dict[str, Any]:
        counted[operation] += 1
        return await call(self, operation, op, **request)

    monkeypatch.setattr(Client, "call", counting)
    return counted


async def fill(bench: Bench, count: int = PAST) -> None:
    """Finished emails, each with the records that the older service leaves of it."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    ttl = now() + 20 * 86_400
    finished = [
        meta(email_id, Status.SENT_ACKNOWLEDGED, ttl=ttl, PayloadFilePath="/old.json", EMLFilePath="/old.eml")
        for email_id in ids
    ]
    accepted = [status_record(email_id, Status.ACCEPTED, ttl) for email_id in ids]
    await bench.records.replace([*finished, *accepted])


async def put_fresh(bench: Bench, count: int = 3) -> set[str]:
    ids = {str(uuid.uuid4()) for _ in range(count)}
    await OlderProducer(bench.records).put_many([(email_id, Path("/new.json")) for email_id in sorted(ids)])
    return ids


async def accepted(bench: Bench) -> int:
    return sum(item["Status"] == Status.ACCEPTED for item in await bench.records.all())


async def take_in(opened: Opened, wanted: int, turns: int) -> list[Email]:
    """Intake's claims, one after the other, until it has what is wanted; the clock stands still."""
    taken: list[Email] = []
    for _ in range(turns):
        taken += await opened.claim(INTAKE)
        if len(taken) >= wanted:
            return taken
        # What the store does beside this gets its turn; nothing here waits for time.
        await opened.store.ping()
    raise AssertionError(f"{len(taken)} of {wanted} after {turns} turns")


async def test_the_first_start_finds_what_is_new(bench: Bench, calls: Counter[str]) -> None:
    await fill(bench, MANY)
    ids = await put_fresh(bench)
    opened = await bench.open(service=True, sweep_every=604_800.0)
    calls.clear()
    taken = await take_in(opened, 3, turns=40)
    assert {email.id for email in taken} == ids
    assert calls.total() <= CALLS, calls
    assert opened.notices("past") == [None]
    # It has tried one look's records, and leaves the others to whoever decides to go through them.
    left = await accepted(bench)
    assert left >= MANY - 100
    for _ in range(5):
        assert await opened.claim(INTAKE) == []
    assert await accepted(bench) == left


async def test_mail_that_comes_later_is_found_within_a_minute(bench: Bench) -> None:
    await fill(bench)
    opened = await bench.open(sweep_every=604_800.0)
    await put_fresh(bench, 1)
    await take_in(opened, 1, turns=40)
    ids = await put_fresh(bench)
    assert await opened.claim(INTAKE) == []
    opened.time.at += 60.0
    assert {email.id for email in await take_in(opened, 3, turns=40)} == ids


async def test_a_pass_that_is_cut_short_goes_on_where_it_was(bench: Bench) -> None:
    await fill(bench)
    # Unfinished mail of the past stands anywhere in it.
    ready = [str(uuid.uuid4()) for _ in range(5)]
    for email_id in ready:
        await bench.records.put(meta(email_id, Status.READY, ttl=now() + 3600, EMLFilePath=f"/{email_id}.eml"))
        await bench.records.put(status_record(email_id, Status.ACCEPTED))
    service = await bench.open(sweep_every=604_800.0)
    assert await service.claim(INTAKE) == []
    before = await accepted(bench)
    operator = await bench.open()
    with pytest.raises(asyncio.CancelledError):
        await operator.store.adopt(rate=10_000.0, progress=stopping_after(before // 2))
    halfway = await accepted(bench)
    assert 0 < halfway < before
    fresh = await put_fresh(bench)
    again: list[int] = []
    done = await (await bench.open()).store.adopt(rate=10_000.0, progress=lambda found: again.append(found.seen))
    assert done.done
    # The producer's new ones may stand before or behind where it went on.
    assert halfway <= done.seen <= halfway + len(fresh)
    assert await accepted(bench) <= len(fresh)
    assert again == sorted(again)

    # From now on the inbox is the feed, for a service that runs as for one that starts.
    starting = await bench.open(sweep_every=604_800.0)
    taken = [*await service.claim(INTAKE), *await starting.claim(INTAKE)]
    assert {email.id for email in taken} == fresh
    ids = await put_fresh(bench)
    assert {email.id for email in await service.claim(INTAKE)} == ids
    assert {email.id for email in await starting.claim(SENDER)} == set(ready)
    assert await accepted(bench) == 0
    assert service.notices("poisoned") == operator.notices("poisoned") == []


@pytest.mark.parametrize("peer", [False, True], ids=["alone", "beside an older consumer"])
async def test_records_that_are_to_be_kept_are_kept(bench: Bench, peer: bool) -> None:
    await fill(bench)
    ids = await put_fresh(bench)
    if peer:
        for email_id in ids:
            await bench.records.update(
                email_id, "SET #A.#Latest = :ready, #A.#EMLFilePath = :path", ready=str(Status.READY), path="/x.eml"
            )
    before = await accepted(bench)
    opened = await bench.open(keep_accepted=True, peer_consumer=peer, sweep_every=604_800.0)
    await opened.store.upkeep("replica-1")
    found = await opened.claim(SENDER if peer else INTAKE)
    assert {email.id for email in found} == ids
    for _ in range(3):
        assert await opened.claim(INTAKE) == []
    assert await accepted(bench) == before
    await opened.store.adopt(rate=10_000.0, progress=lambda _: None)
    assert await accepted(bench) == before


async def test_beside_an_older_consumer_the_past_is_left_alone_as_well(bench: Bench) -> None:
    await fill(bench)
    (email_id,) = await put_fresh(bench, 1)
    await bench.records.update(
        email_id, "SET #A.#Latest = :ready, #A.#EMLFilePath = :path", ready=str(Status.READY), path="/x.eml"
    )
    opened = await bench.open(peer_consumer=True, sweep_every=604_800.0)
    for _ in range(10):
        opened.time.at += 6.0
        assert await opened.claim(INTAKE) == []
        await opened.store.upkeep("replica-1")
    assert [email.id for email in await opened.claim(SENDER)] == [email_id]
    assert await accepted(bench) >= PAST - 100


def stopping_after(seen: int) -> Callable[[Adoption], None]:
    """An operator who presses Ctrl-C when so many were seen."""

    def progress(found: Adoption) -> None:
        if found.seen >= seen:
            raise asyncio.CancelledError

    return progress
