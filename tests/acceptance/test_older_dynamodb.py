"""The running service and an older consumer on one DynamoDB table: side by side when told so, stopped when not."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailculator.clock import SystemClock
from mailculator.model import Status
from tests.support.counting_sink import CountingCallback, CountingSink
from tests.support.dynamodb_bench import Bench
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import META, OWN
from tests.support.older_dynamodb import OlderConsumer, OlderProducer, Wire
from tests.support.producer import write_many
from tests.support.scenario import SENDER, Variables, delivery
from tests.support.service import Line, ServiceProcess, command, environment

pytestmark = [pytest.mark.long, pytest.mark.dynamodb, pytest.mark.timeout(900)]

OURS, OLDER = "ours.test", "older.test"
"""The names that the two give in EHLO."""
ROUNDS = 20
IN_A_ROUND = 25 if ENDPOINT in os.environ else 2
LOOKS = 5.0
"""Seconds between two looks of ours at what the older consumer has prepared. It sends one mail after the other, so slow
that a round takes it as long as that."""
SCALE = 0.1
OF_MAIL = frozenset(str(status) for status in Status)


def variables(bench: Bench, callback: CountingCallback, sink: CountingSink, folder: Path, **more: object) -> Variables:
    return {
        **bench.variables,
        **delivery(callback, sink.port),
        "EML_STORAGE_PATH": folder,
        "MAILCULATOR_SMTP_HELO": OURS,
        "MAILCULATOR_DYNAMODB_INTERVAL": 0.2,
        "MAILCULATOR_TIME_SCALE": SCALE,
        # Scaled as everything is: a busy machine must not cost us the lease.
        "MAILCULATOR_LEASE": 600,
        "MAILCULATOR_CALLBACK_TIMEOUT": 300,
        **more,
    }


async def emails_in(bench: Bench) -> Counter[str]:
    return Counter(item["Attributes"]["Latest"] for item in await bench.records.emails())


async def until_ended(bench: Bench, count: int, *services: ServiceProcess) -> None:
    """Until that many emails stand in a terminal status, and nothing else."""
    for _ in range(1200):
        found = await emails_in(bench)
        ended = {Status.SENT_ACKNOWLEDGED, Status.FAILED_ACKNOWLEDGED, Status.INVALID}
        if sum(found[status] for status in ended) == count == found.total():
            return
        for service in services:
            assert service.process.returncode is None, "a process has ended"
        await SystemClock().wait(asyncio.Event(), 0.1)
    raise AssertionError(f"after two minutes: {found}")


def seen(service: ServiceProcess, event: str) -> list[Line]:
    return [line for line in service.lines if line["event"] == event]


async def test_side_by_side_none_is_sent_twice(bench: Bench, callback: CountingCallback, tmp_path: Path) -> None:
    producer = OlderProducer(bench.records)
    everyone: list[str] = []
    async with CountingSink(delay=lambda step: _slow(step.client, step.phase)) as sink:
        older = OlderConsumer(bench.records, tmp_path, Wire(sink.port, callback.url, SENDER, OLDER))
        peer = variables(bench, callback, sink, tmp_path, MAILCULATOR_DYNAMODB_PEER_CONSUMER="true")
        async with ServiceProcess(peer) as service, older.running(pause=0.2):
            for _ in range(ROUNDS):
                emails = await asyncio.to_thread(write_many, tmp_path, IN_A_ROUND)
                everyone += emails
                for email_id, path in emails.items():
                    await producer.put(email_id, path)
                await until_ended(bench, len(everyone), service)
            assert await service.stop() == 0

    assert Counter(mail.email_id for mail in sink.accepted) == dict.fromkeys(everyone, 1)
    senders = Counter(mail.client for mail in sink.accepted)
    assert min(senders[OURS], senders[OLDER]) >= len(everyone) / 10, senders
    assert Counter((one.email_id, one.kind, one.status) for one in callback.answers) == {
        (email_id, "sent", 200): 1 for email_id in everyone
    }
    assert set(older.claimed.values()) == {1}
    # Our claims and its claims are different ones, at every stage.
    sent = sum(working is Status.PROCESSING for _, working in older.claimed)
    assert sent == senders[OLDER]
    told = sum(working is Status.CALLING_SENT_CALLBACK for _, working in older.claimed)
    assert len(seen(service, "mail.acknowledged")) == len(everyone) - told
    assert sum(working is Status.INTAKING for _, working in older.claimed) == len(everyone)
    assert older.stuck == []
    for event in ("store.foreign_write", "store.stopped", "store.poisoned", "mail.claim_lost", "mail.rescued"):
        assert seen(service, event) == []
    assert await emails_in(bench) == {Status.SENT_ACKNOWLEDGED: len(everyone)}
    await assert_left_as_it_was_found(bench)


def _slow(client: str, phase: str) -> float:
    return LOOKS / IN_A_ROUND if (client, phase) == (OLDER, "dot") else 0.0


async def assert_left_as_it_was_found(bench: Bench) -> None:
    """No record but of emails, their statuses, and our own; the ttl where DynamoDB looks for it."""
    items = await bench.records.all()
    assert {item["Status"] for item in items if not item["Id"].startswith(OWN)} <= {META, *OF_MAIL}
    ours = [item for item in items if item["Id"].startswith(OWN) or item["Status"] == META]
    assert [item for item in ours if not isinstance(item.get("TTL"), int)] == []


async def test_a_consumer_that_nobody_told_us_of_stops_us_until_an_operator_says_so(
    bench: Bench, callback: CountingCallback, tmp_path: Path
) -> None:
    producer = OlderProducer(bench.records)
    emails = await asyncio.to_thread(write_many, tmp_path, 10)
    first, later = list(emails.items())[:6], list(emails.items())[6:]
    # Mail waits for the relay, and stands READY meanwhile.
    refusing = True
    async with CountingSink(
        refuse=lambda step: "451 4.3.0 later" if refusing and step.phase == "rcpt" else None
    ) as sink:
        older = OlderConsumer(bench.records, tmp_path, Wire(sink.port, callback.url, SENDER, OLDER))
        names = [variables(bench, callback, sink, tmp_path, MAILCULATOR_REPLICA=f"replica-{n}") for n in (1, 2)]
        async with ServiceProcess(names[0]) as one, ServiceProcess(names[1]) as other:
            for email in first:
                await producer.put(*email)
            await until_ready(bench, 6)
            for item in (await older.find(Status.READY))[:4]:
                await older.send(item)
            for service in (one, other):
                (line,) = await service.expect("store.stopped")
                assert "writes of another consumer within a minute" in line["detail"]
            foreign = [*seen(one, "store.foreign_write"), *seen(other, "store.foreign_write")]
            assert len(foreign) >= 3
            refusing = False
            for email in later:
                await producer.put(*email)
            status = await run("cutover", "status", "--json", variables=names[0], code=3)
            assert "another consumer" in json.dumps(status)
            # Either asks again and again, and gets nothing.
            for service in (one, other):
                before = len(service.lines)
                await until_asked(service, times=40)
                assert [line for line in service.lines[before:] if line["event"].startswith("mail.")] == []
            assert (await emails_in(bench))[Status.ACCEPTED] == len(later)

            assert await run("dynamodb", "resume", "--why", "it is off now", "--json", variables=names[0]) == {
                "resumed": True
            }
            await one.expect("store.resumed")
            await other.expect("store.resumed")
            await until_ended(bench, len(emails), one, other)
            assert (await one.stop(), await other.stop()) == (0, 0)

    # What the older one failed for want of a file is told to its producer; all else is sent, and once.
    kinds = Counter(one.kind for one in callback.answers)
    assert kinds == {"failed": 4, "sent": 6}
    assert Counter(mail.email_id for mail in sink.accepted) == {
        one.email_id: 1 for one in callback.answers if one.kind == "sent"
    }


async def until_ready(bench: Bench, count: int) -> None:
    """Until so many stand READY, tried once and waiting for another try."""
    for _ in range(600):
        items = [item for item in await bench.records.emails() if item["Attributes"]["Latest"] == Status.READY]
        if len(items) == count and all(item.get("LastError") for item in items):
            return
        await SystemClock().wait(asyncio.Event(), 0.1)
    raise AssertionError(f"{len(items)} of {count} are READY")


async def until_asked(service: ServiceProcess, times: int) -> None:
    """Until its pipelines have asked for mail so many times more."""
    async with aiohttp.ClientSession() as client:

        async def asked() -> float:
            async with client.get(f"http://127.0.0.1:{service.port}/metrics") as answer:
                text = await answer.text()
            families = {one.name: one for one in text_string_to_metric_families(text)}
            return sum(
                sample.value for sample in families["mailculator_claims"].samples if sample.name.endswith("_total")
            )

        wanted = await asked() + times
        while await asked() < wanted:
            await SystemClock().wait(asyncio.Event(), 0.1)


async def run(*words: str, variables: Variables, code: int = 0) -> dict[str, Any]:
    """A command that answers with one document."""
    found, out, err = await command(*words, environ=environment(**variables))
    assert found == code, out + err
    document: dict[str, Any] = json.loads(out)
    return document
