"""A domain that gets only so much mail a second: its mail waits, and nobody else's does."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from mailculator.model import Status
from mailculator.pipelines.sender import ENOUGH
from tests.support.counting_sink import CountingCallback, CountingSink
from tests.support.invariants import Books
from tests.support.producer import recipient, write_many, write_payload
from tests.support.scenario import Queue, assert_holds, delivery
from tests.support.service import ServiceProcess

MANY, OTHERS = 60, 40
"""Mails for one domain, which are first in the queue, and for one domain each."""
RATE = 10
"""Mails a second for a domain."""
SCALE = 0.05
"""Of delays: who is told to come again, is so after a quarter of a second at the least."""


@pytest.mark.timeout(240)
async def test_mail_of_one_domain_waits_its_turn_and_no_others_does(
    sqlite_queue: Queue, callback: CountingCallback, tmp_path: Path
) -> None:
    many = await asyncio.to_thread(write_many, tmp_path, MANY)
    others = await asyncio.to_thread(_one_for_each_domain, tmp_path)
    async with CountingSink() as sink:
        variables = sqlite_queue.variables | delivery(callback, sink.port)
        variables |= {"MAILCULATOR_TIME_SCALE": SCALE, "MAILCULATOR_SMTP_DOMAIN_RATE": RATE}
        await asyncio.to_thread(sqlite_queue.producer.put_many, [*many.items(), *others.items()])
        begun = time.monotonic()
        async with ServiceProcess(variables) as service:
            await sink.received(MANY + OTHERS)
            took = time.monotonic() - begun
            await sqlite_queue.until_finished(service, tries=2000)
            assert await service.stop() == 0

    standings = await sqlite_queue.standings()
    assert Counter(email.status for email in standings) == {Status.SENT_ACKNOWLEDGED: MANY + OTHERS}
    assert_holds(Books(frozenset(many | others), standings, sink.accepted, callback.answers))
    domains = [mail.recipient.rpartition("@")[2] for mail in sink.accepted]
    domain = recipient("").rpartition("@")[2]
    assert took > (MANY - 1) / RATE
    assert domains[-MANY // 3 :] == [domain] * (MANY // 3), "the others were through long before"
    given_back = await sqlite_queue.run(
        "SELECT email_id, COUNT(*) FROM email_status_history WHERE status = 'READY' AND reason = ? GROUP BY 1", ENOUGH
    )
    counts = {str(email_id): int(count) for email_id, count in given_back}
    assert counts, "nobody had to wait: nothing is shown"
    assert counts.keys() <= many.keys()
    # Each comes back for its own turn. A machine that is busy elsewhere may come too late for it, and wait once more.
    assert sum(counts.values()) < 2 * MANY


def _one_for_each_domain(folder: Path) -> dict[str, Path]:
    emails = {}
    for number in range(OTHERS):
        email_id = str(uuid.uuid4())
        to = recipient(email_id).replace("@", f"@{number}.")
        emails[email_id] = write_payload(folder / f"{email_id}.json", to=to)
    return emails
