"""Beside the older consumer on the same MariaDB: it moves rows by id and status, and puts back what looks forgotten.

Its half hour, and ours before a row without a lease counts as abandoned, are scaled by the same factor.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import aiosmtplib
import pytest

from mailculator.clock import SystemClock
from mailculator.model import Status
from tests.support.counting_sink import CountingCallback, CountingSink, Step
from tests.support.invariants import Books
from tests.support.older_service import OlderConsumer, Session
from tests.support.producer import recipient, write_many
from tests.support.scenario import DOMAIN, SENDER, Queue, Variables, assert_holds, delivery
from tests.support.service import ServiceProcess

EMAILS = 1000
OLDER_SHARE = 400
"""Mails that the older consumer sends; it goes on putting back what looks forgotten after that."""

OURS, OLDER = "ours.test", "older.test"
"""The names that the two give in EHLO."""

HALF_HOUR = 1800.0
SCALE = 0.015
HOLD = HALF_HOUR * SCALE

SLOW = {"mail": 240 * SCALE, "rcpt": 240 * SCALE, "data": 80 * SCALE, "dot": 480 * SCALE}
"""Seconds before the relay's reply; each is within our time-out for it (300, 300, 120 and 600, scaled)."""
CONNECTIONS = 20
"""As many mails of ours go out at once, and as many wait behind them, held: those take two rounds of SLOW."""
OLDER_SLOW = 0.6 * HOLD
OLDER_SLOW_MAILS = 4


@dataclass
class OlderService:
    """The older consumer's pipelines: each worker has a connection of its own and takes one email after another.

    Arguments:
        share: how many mails it will send.
        hold: what it takes for half an hour.
    """

    port: int
    database: str
    smtp_port: int
    callback_url: str
    share: int
    hold: float
    sent: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    consumers: list[OlderConsumer] = field(default_factory=list)
    _taken: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All its workers, until the block ends; each finishes the email in its hands."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for turn in (self.take_in, *[self.send] * 6, self.call_back, self.call_back, self.restore):
                group.create_task(self._repeat(await self.consumer(stack), turn))
            try:
                yield
            finally:
                self._stop.set()

    async def consumer(self, stack: AsyncExitStack) -> OlderConsumer:
        """One more connection, in UTC as its driver sets it."""
        session = await Session.open(port=self.port, database=self.database)
        stack.callback(session.close)
        await session.run("SET time_zone = '+00:00'")
        consumer = OlderConsumer(session)
        # Its half hour, for this instance.
        consumer.HOLD = timedelta(seconds=self.hold)
        self.consumers.append(consumer)
        return consumer

    async def take_in(self, consumer: OlderConsumer) -> bool:
        """Some of the new emails; the others are left for us."""
        found = await consumer.find(Status.ACCEPTED, 3)
        for email_id in found:
            if await consumer.move(email_id, Status.ACCEPTED, Status.INTAKING):
                assert await consumer.move(email_id, Status.INTAKING, Status.READY)
        return bool(found)

    async def send(self, consumer: OlderConsumer) -> bool:
        """One email, over a connection of its own."""
        if self._taken >= self.share:
            return False
        for email_id in await consumer.find(Status.READY, 5):
            if self._taken >= self.share:
                return False
            # Counted before anybody else may look; given back when another was faster.
            self._taken += 1
            if await consumer.move(email_id, Status.READY, Status.PROCESSING):
                await self.deliver(email_id)
                self.sent.append(email_id)
                assert await consumer.move(email_id, Status.PROCESSING, Status.SENT), "somebody took it away"
                return True
            self._taken -= 1
        return False

    async def call_back(self, consumer: OlderConsumer) -> bool:
        """One email of those that are sent, whoever sent it."""
        for email_id in await consumer.find(Status.SENT, 3):
            if await consumer.move(email_id, Status.SENT, Status.CALLING_SENT_CALLBACK):
                body = {"code": "TRAVELING", "reached_at": "2026-11-20T08:00:00Z", "message_ids": [email_id]}
                headers = {"Content-Type": "application/json"}
                async with (
                    aiohttp.ClientSession() as client,
                    client.post(self.callback_url, data=json.dumps(body), headers=headers) as answer,
                ):
                    assert answer.status == 200
                assert await consumer.move(email_id, Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED)
                return True
        return False

    async def restore(self, consumer: OlderConsumer) -> bool:
        """Put back what has stood in a working status for its half hour, with no look at who holds it."""
        for working, waiting in (
            (Status.INTAKING, Status.ACCEPTED),
            (Status.PROCESSING, Status.READY),
            (Status.CALLING_SENT_CALLBACK, Status.SENT),
            (Status.CALLING_FAILED_CALLBACK, Status.FAILED),
        ):
            before = Counter(consumer.moves)
            await consumer.restore(working, waiting)
            self.restored += (consumer.moves - before).elements()
        return False

    async def deliver(self, email_id: str) -> None:
        """Hand one mail to the relay, under the same Message-ID as ours would have."""
        message = (
            f"Message-ID: <{email_id}@{DOMAIN}>\r\nFrom: {SENDER}\r\nTo: {recipient(email_id)}\r\n"
            "Subject: from the older one\r\n\r\nIt is the older one that sends this.\r\n"
        )
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.smtp_port, local_hostname=OLDER, use_tls=False, start_tls=False
        )
        async with client:
            await client.sendmail(SENDER, [recipient(email_id)], message.encode())

    async def _repeat(self, consumer: OlderConsumer, turn: Callable[[OlderConsumer], Awaitable[bool]]) -> None:
        while not self._stop.is_set():
            if not await turn(consumer):
                await SystemClock().wait(self._stop, 0.05)


def slowly(step: Step) -> float:
    """The relay is slow with the first mails of both."""
    if step.client == OURS and step.mail <= 2 * CONNECTIONS:
        return SLOW.get(step.phase, 0.0)
    if step.client == OLDER and step.mail <= OLDER_SLOW_MAILS and step.phase == "dot":
        return OLDER_SLOW
    return 0.0


def older_service(queue: Queue, callback: CountingCallback, sink: CountingSink, hold: float) -> OlderService:
    port, database = queue.variables["MYSQL_PORT"], queue.variables["MYSQL_DATABASE"]
    assert isinstance(port, int)
    return OlderService(port, str(database), sink.port, callback.url, OLDER_SHARE, hold)


def beside_it(queue: Queue, callback: CountingCallback, sink: CountingSink, scale: float) -> Variables:
    return {
        **queue.variables,
        **delivery(callback, sink.port),
        "MAILCULATOR_SMTP_HELO": OURS,
        "MAILCULATOR_SMTP_CONNECTIONS": CONNECTIONS,
        "MAILCULATOR_TIME_SCALE": scale,
        # A third of the half hour, which is scaled as it is: a busy machine must not cost us the lease.
        "MAILCULATOR_LEASE": 600,
        # Nor an answer that has come, but later than the scaled time-out: the producer would be called once more.
        "MAILCULATOR_CALLBACK_TIMEOUT": 300,
    }


@pytest.mark.timeout(600)
async def test_none_of_a_thousand_is_sent_twice(
    mariadb_queue: Queue, callback: CountingCallback, tmp_path: Path
) -> None:
    emails = await asyncio.to_thread(write_many, tmp_path, EMAILS)
    await asyncio.to_thread(mariadb_queue.producer.put_many, emails.items())
    async with CountingSink(delay=slowly) as sink, AsyncExitStack() as stack:
        older = older_service(mariadb_queue, callback, sink, HOLD)
        forgotten = await let_it_forget(mariadb_queue, await older.consumer(stack))
        await older.restore(older.consumers[0])
        # Its clock and its half hour work: what follows would be put back too, if it looked forgotten.
        assert sorted(older.restored) == sorted(forgotten)
        older.restored.clear()

        async with ServiceProcess(beside_it(mariadb_queue, callback, sink, SCALE)) as service, older.running():
            await mariadb_queue.until_finished(service, tries=3000)
            assert await service.stop() == 0

    assert older.restored == []
    assert [line for line in service.lines if line["event"] in ("mail.rescued", "mail.claim_lost")] == []
    senders = Counter(mail.client for mail in sink.accepted)
    assert senders == {OURS: EMAILS - OLDER_SHARE, OLDER: OLDER_SHARE}
    standings = await mariadb_queue.standings()
    assert Counter(email.status for email in standings) == {Status.SENT_ACKNOWLEDGED: EMAILS}
    assert_holds(Books(frozenset(emails), standings, sink.accepted, callback.answers, older=True))
    assert {mail.email_id for mail in sink.accepted if mail.client == OLDER} == set(older.sent)
    # Each move of either raised the version by one.
    theirs = sum((consumer.moves for consumer in older.consumers), Counter[str]())
    assert {email.id: len(email.moves) + theirs[email.id] for email in standings} == {
        email.id: email.version - 1 for email in standings
    }
    # The test had teeth: some of ours were held for longer than its half hour, some of its own for most of it.
    assert await held_for_longer_than(mariadb_queue, HOLD) >= CONNECTIONS // 2
    assert await held_for_longer_than(mariadb_queue, OLDER_SLOW - 1, version="IS NULL") >= OLDER_SLOW_MAILS


@pytest.mark.timeout(300)
async def test_what_it_abandoned_is_taken_up_after_its_half_hour(
    mariadb_queue: Queue, callback: CountingCallback, tmp_path: Path
) -> None:
    scale = 0.005
    hold = HALF_HOUR * scale
    abandoned = {Status.INTAKING: 2, Status.PROCESSING: 3, Status.CALLING_SENT_CALLBACK: 2}
    emails = await asyncio.to_thread(write_many, tmp_path, sum(abandoned.values()))
    waiting = iter(emails)
    await asyncio.to_thread(mariadb_queue.producer.put_many, emails.items())
    async with CountingSink() as sink, AsyncExitStack() as stack:
        older = older_service(mariadb_queue, callback, sink, hold)
        consumer = await older.consumer(stack)
        for status, count in abandoned.items():
            for _ in range(count):
                await lead_to(status, next(waiting), consumer, older)
        async with ServiceProcess(beside_it(mariadb_queue, callback, sink, scale)) as service:
            rescued = await service.expect("mail.rescued", len(emails))
            await mariadb_queue.until_finished(service)
            assert await service.stop() == 0

    assert {line["email_id"]: line["holder"] for line in rescued} == dict.fromkeys(emails)
    waits = await mariadb_queue.run(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(theirs.created_at), ours.created_at) / 1000000"
        " FROM email_status_history ours JOIN email_status_history theirs ON theirs.email_id = ours.email_id"
        " WHERE ours.reason = 'rescued: no sign of its holder' AND theirs.version IS NULL GROUP BY ours.id"
    )
    assert len(waits) == len(emails)
    assert all(float(wait) >= hold for (wait,) in waits)
    standings = await mariadb_queue.standings()
    assert Counter(email.status for email in standings) == {Status.SENT_ACKNOWLEDGED: len(emails)}
    assert_holds(Books(frozenset(emails), standings, sink.accepted, callback.answers, older=True))


async def let_it_forget(queue: Queue, consumer: OlderConsumer, count: int = 5) -> list[str]:
    """Emails that it took more than half an hour ago, and has known nothing of since."""
    forgotten = await consumer.find(Status.ACCEPTED, count)
    for email_id in forgotten:
        assert await consumer.move(email_id, Status.ACCEPTED, Status.INTAKING)
        await queue.run("UPDATE emails SET updated_at = NOW() - INTERVAL 31 MINUTE WHERE id = ?", email_id)
    return forgotten


async def lead_to(status: Status, email_id: str, consumer: OlderConsumer, older: OlderService) -> None:
    """Move one email as it does, as far as `status`, and go no further."""
    way = [Status.ACCEPTED, Status.INTAKING, Status.READY, Status.PROCESSING, Status.SENT, status]
    for origin, to in pairwise(way):
        if to is Status.SENT:
            await older.deliver(email_id)
        assert await consumer.move(email_id, origin, to)
        if to is status:
            return


async def held_for_longer_than(queue: Queue, seconds: float, version: str = "IS NOT NULL") -> int:
    """How many mails stood in PROCESSING for that long before they were SENT, by us or by the older consumer."""
    ((count,),) = await queue.run(
        "SELECT COUNT(*) FROM email_status_history taken JOIN email_status_history sent USING (email_id)"
        f" WHERE taken.status = 'PROCESSING' AND sent.status = 'SENT' AND taken.version {version}"
        f" AND TIMESTAMPDIFF(MICROSECOND, taken.created_at, sent.created_at) > {seconds * 1_000_000:.0f}"
    )
    return int(count)
