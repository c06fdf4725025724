"""A relay that takes only so many mails a second: it is offered fewer, and no mail pays for it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailculator.model import Status
from tests.support.counting_sink import CountingCallback, CountingSink, Step
from tests.support.invariants import Books
from tests.support.producer import write_many
from tests.support.scenario import Queue, assert_holds, delivery
from tests.support.service import ServiceProcess

EMAILS = 300
TAKES = 40
"""Mails a second: less than the service offers of itself, so that the limit is met again and again."""


@dataclass
class SendingRate:
    """Amazon SES's answer to more than TAKES mails within a second."""

    taken: deque[float] = field(default_factory=deque)
    refused: int = 0

    def __call__(self, step: Step) -> str | None:
        if step.phase != "data":
            return None
        now = time.monotonic()
        while self.taken and self.taken[0] < now - 1.0:
            self.taken.popleft()
        if len(self.taken) >= TAKES:
            self.refused += 1
            return "454 Throttling failure: Maximum sending rate exceeded."
        self.taken.append(now)
        return None


@pytest.mark.timeout(240)
async def test_a_relay_with_a_sending_rate_gets_all_mail_and_none_uses_up_a_try(
    sqlite_queue: Queue, callback: CountingCallback, tmp_path: Path
) -> None:
    emails = await asyncio.to_thread(write_many, tmp_path, EMAILS)
    limit = SendingRate()
    async with CountingSink(refuse=limit) as sink:
        # The delays scaled, so that what has to wait half a minute waits for a second.
        variables = sqlite_queue.variables | delivery(callback, sink.port) | {"MAILCULATOR_TIME_SCALE": 0.05}
        async with ServiceProcess(variables) as service:
            await asyncio.to_thread(sqlite_queue.producer.put_many, emails.items())
            await sqlite_queue.until_finished(service, tries=2000)
            slowed = await service.expect("smtp.slowed", 1)
            assert await service.stop() == 0

    assert limit.refused > 0
    assert {line["reason"] for line in slowed} == {"454"}
    standings = await sqlite_queue.standings()
    assert Counter(email.status for email in standings) == {Status.SENT_ACKNOWLEDGED: EMAILS}
    assert_holds(Books(frozenset(emails), standings, sink.accepted, callback.answers))
    # A refusal for the rate leads to fewer offers, not to the same ones again: most mail is never refused at all.
    assert limit.refused < EMAILS // 2
