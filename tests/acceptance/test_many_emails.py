"""Ten thousand emails: each is received once, called back once, and its history has no gap."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mailculator.model import Status
from tests.support.counting_sink import CountingCallback, CountingSink
from tests.support.invariants import Books
from tests.support.producer import recipient, write_many
from tests.support.scenario import SENDER, Queue, Variables, assert_holds, delivery
from tests.support.service import ServiceProcess

EMAILS = 10_000


@pytest.fixture
async def emails(tmp_path: Path) -> Mapping[str, Path]:
    """Each with a payload file of its own: whoever takes one email's content for another's is found out."""
    return await asyncio.to_thread(write_many, tmp_path, EMAILS)


@pytest.mark.timeout(900)
async def test_three_processes_on_one_mariadb(
    mariadb_queue: Queue, callback: CountingCallback, emails: Mapping[str, Path]
) -> None:
    names = ("first", "second", "third")
    await send_all(mariadb_queue, callback, emails, [{"MAILCULATOR_REPLICA": name} for name in names])
    shares = await mariadb_queue.run(
        "SELECT SUBSTRING_INDEX(reason, ' ', -1), COUNT(*) FROM email_status_history"
        " WHERE status = 'PROCESSING' GROUP BY 1"
    )
    claims = {str(name): int(count) for name, count in shares}
    assert set(claims) == set(names)
    assert sum(claims.values()) >= EMAILS


@pytest.mark.timeout(900)
async def test_one_process_on_sqlite(
    sqlite_queue: Queue, callback: CountingCallback, emails: Mapping[str, Path]
) -> None:
    await send_all(sqlite_queue, callback, emails, [{}])


async def send_all(
    queue: Queue, callback: CountingCallback, emails: Mapping[str, Path], replicas: list[Variables]
) -> None:
    """While the processes run, put the emails on the queue; wait for the end, and hold the books against each other."""
    async with CountingSink() as sink, AsyncExitStack() as running:
        variables = queue.variables | delivery(callback, sink.port)
        services = [await running.enter_async_context(ServiceProcess(variables | replica)) for replica in replicas]
        await asyncio.to_thread(queue.producer.put_many, emails.items())
        await queue.until_finished(*services, tries=4000)
        assert await asyncio.gather(*(service.stop() for service in services)) == [0] * len(services)

    standings = await queue.standings()
    assert Counter(email.status for email in standings) == {Status.SENT_ACKNOWLEDGED: EMAILS}
    assert_holds(Books(frozenset(emails), standings, sink.accepted, callback.answers))
    assert {(mail.sender, mail.recipient) for mail in sink.accepted} == {(SENDER, recipient(id_)) for id_ in emails}
    assert all(mail.recipient == recipient(mail.email_id) for mail in sink.accepted)
    assert len({mail.sha256 for mail in sink.accepted}) == EMAILS
