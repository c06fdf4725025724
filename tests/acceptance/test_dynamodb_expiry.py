"""Mail whose ttl is near, on a table from which DynamoDB deletes what is past its ttl, whatever the status is.

The ttl is a time of day, so that this test takes as long as the ttl is away.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from mailculator.clock import SystemClock
from mailculator.lifecycle import TERMINAL
from tests.support.counting_sink import CountingCallback, CountingSink, Step
from tests.support.dynamodb_bench import Bench
from tests.support.dynamodb_local import ENDPOINT
from tests.support.dynamodb_records import META, now
from tests.support.older_dynamodb import OlderProducer
from tests.support.producer import recipient, write_many
from tests.support.scenario import delivery
from tests.support.service import ServiceProcess
from tests.support.ttl_deletion import TtlDeletion

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(600)]

EMAILS = 200 if ENDPOINT in os.environ else 40
AWAY = 60
"""Seconds until the ttl."""
LATER = "451 4.3.0 later"


async def test_mail_whose_ttl_is_near_is_sent_or_told_of(
    bench: Bench, callback: CountingCallback, tmp_path: Path
) -> None:
    emails = await asyncio.to_thread(write_many, tmp_path, EMAILS)
    everyone = list(emails)
    # The relay takes some at their second try, where they come to have one in time, and puts the others off for ever.
    unlucky = set(everyone[::3])
    never = {recipient(email_id) for email_id in unlucky}
    tried: Counter[str] = Counter()

    def refuse(step: Step) -> str | None:
        if step.phase != "rcpt":
            return None
        tried[step.recipient] += 1
        return LATER if step.recipient in never or tried[step.recipient] == 1 else None

    deletion = TtlDeletion(bench.records, pause=1.0)
    # The producer does not listen until every ttl has passed: what is sent by then waits for its callback under it.
    callback.status = 503
    async with CountingSink(refuse=refuse) as sink, deletion.running():
        variables = {
            **bench.variables,
            **delivery(callback, sink.port),
            "MAILCULATOR_DYNAMODB_INTERVAL": 0.2,
            "MAILCULATOR_CALLBACK_TIMEOUT": 300,
        }
        # A lease of a minute; the tries of what the relay puts off are seconds apart, then half a minute.
        async with ServiceProcess({**variables, "MAILCULATOR_TIME_SCALE": 0.1, "MAILCULATOR_LEASE": 600}) as service:
            ttl = now() + AWAY
            await OlderProducer(bench.records).put_many(emails.items(), ttl)
            await SystemClock().wait(asyncio.Event(), ttl + 5.0 - now())
            assert [item for item in deletion.deleted if item["Status"] == META] == []
            callback.status = 200
            await until_told(callback, EMAILS)
            assert await service.stop() == 0
        await deletion.once()

    told = [json.loads(call.body) for call, answer in zip(callback.calls, callback.answers, strict=True)
            if answer.status == 200]  # fmt: skip
    reasons = {body["message_ids"][0]: (body["code"], body["reason"]) for body in told}
    assert len(told) == len(reasons) == EMAILS
    sent = {email_id for email_id, (code, _) in reasons.items() if code == "TRAVELING"}
    expired = {email_id for email_id, why in reasons.items() if why == ("DISPATCH-ERROR", "expired")}
    assert (sent | expired, sent & expired) == (set(everyone), set())
    assert expired >= unlucky
    assert len(sent) >= EMAILS / 20, "this machine is too slow for the test to mean much"
    assert Counter(mail.email_id for mail in sink.accepted) == dict.fromkeys(sent, 1)
    # All were deleted in the end, and none before its end.
    gone = {item["Id"]: item["Attributes"]["Latest"] for item in deletion.deleted if item["Status"] == META}
    assert set(gone) == set(everyone)
    assert set(gone.values()) <= TERMINAL
    assert await bench.records.emails() == []


async def until_told(callback: CountingCallback, count: int) -> None:
    """Until so many emails' callbacks were taken."""
    while len({one.email_id for one in callback.answers if one.status == 200}) < count:
        await SystemClock().wait(asyncio.Event(), 0.1)
