"""Sweeps: who may begin one, and what they say of a table that others write to meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest

from mailculator.lifecycle import INTAKE
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.client import Client
from mailculator.stores.dynamodb.control import PRODUCED_EVERY, SWEEP
from tests.support.dynamodb_bench import Bench
from tests.support.dynamodb_records import Item, now
from tests.support.older_dynamodb import OlderProducer

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(120)]


def hold_sweeps(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Lets no page of a sweep come; set once one is asked for."""
    reached, never, call = asyncio.Event(), asyncio.Event(), Client.call

    async def held(client: Client, operation: str, op: str, **request: Any) -> dict[str, Any]:
        if (operation, op) == ("query", SWEEP):
            reached.set()
            await never.wait()
        return await call(client, operation, op, **request)

    monkeypatch.setattr(Client, "call", held)
    return reached


async def sweep_record(bench: Bench) -> Item:
    found = await bench.records.get(layout.OWN_ID, SWEEP)
    assert found is not None
    return found


async def test_a_sweep_that_is_stopped_lets_others_begin_theirs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await bench.open()
    reached = hold_sweeps(monkeypatch)
    await opened.store.upkeep("one")
    await reached.wait()
    assert (await sweep_record(bench))["Lease"] > (now() + 60) * 1000
    await opened.store.close()
    record = await sweep_record(bench)
    assert record["Lease"] <= (now() + 1) * 1000
    assert "Until" not in record


async def test_a_sweep_that_began_before_the_producers_last_email_was_seen_is_none_after_it(bench: Bench) -> None:
    """A time is kept for a while ahead, so that not every email costs a write. Never may it be too early."""
    opened = await bench.open()
    producer = OlderProducer(bench.records)
    seen = []
    for _ in range(2):
        await producer.put(str(uuid.uuid4()), "/payload.json")
        opened.time.at += 6.0  # past what is believed of the control record
        assert len(await opened.claim(INTAKE)) == 1
        survey = await opened.store.survey()
        assert survey.foreign_write is not None
        seen.append(survey.foreign_write)
        swept = await opened.store.sweep()
        assert swept.swept_from is not None
        assert swept.foreign_write is not None
        assert swept.foreign_write >= swept.swept_from, "within the span that the note covers"
    control = await bench.records.get(layout.OWN_ID, "control")
    assert control is not None
    assert seen[0] <= seen[1] < seen[0] + timedelta(seconds=2 * PRODUCED_EVERY)
    assert control["Revision"] == 1, "both emails are covered by one note"
