"""The journal's disk fails at each operation of a mail's life, one after the other, and stays broken for a while.

The whole service runs, with a real relay and a real callback, on a disk that loses what was not made durable. Whatever
fails, the relay has no message whose dot was not on the disk before it; nothing is sent until the disk is well again,
readiness says so, and intake and callbacks go on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from mailculator.app import Service
from mailculator.config import Settings
from mailculator.events import BreakerChanged, Event, Lifetime
from mailculator.journal.writer import Journal
from mailculator.model import Status
from tests.chaos import evidence
from tests.chaos.record import Proof
from tests.support.counting_sink import CountingCallback, CountingSink, Step
from tests.support.outage_bench import until
from tests.support.producer import SqliteProducer, write_many
from tests.support.scenario import apply_schema, delivery
from tests.unit.journal.fake_disk import FakeDisk

MAILS, MORE = 2, 2
SEGMENT = 600
"""Bytes: a few marks, so that segments are followed by others while mail is under way."""
PATIENCE = 120.0
OPERATIONS = {"make_directory", "sync_directory", "create", "write", "datasync"}
"""What a journal asks of a disk while it marks; to close and to remove a file is no mark."""

pytestmark = pytest.mark.timeout(1200)


class FailingDisk(FakeDisk):
    """Every operation from one on fails, until it is well."""

    def __init__(self, root: Path, first: int, code: int) -> None:
        super().__init__(root)
        self.first = first
        self.code: int | None = code
        self.failed: list[str] = []

    def durable(self) -> bytes:
        """What a reader would find now if the power had failed."""
        return b"".join(
            bytes(content.written[: content.durable])
            for path, content in list(self._files.items())
            if {path, path.parent} <= self._durable_names
        )

    def _called(self, operation: str) -> None:
        number = len(self.calls)
        super()._called(operation)
        if self.code is not None and number >= self.first:
            self.failed.append(operation)
            raise OSError(self.code, os.strerror(self.code))


@dataclass
class Life:
    """One run of the service on such a disk."""

    folder: Path
    disk: FailingDisk
    callback: CountingCallback
    producer: SqliteProducer
    expected: set[str] = field(default_factory=set)
    too_early: list[str] = field(default_factory=list)
    told: list[BreakerChanged] = field(default_factory=list)
    port: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.sink = CountingSink(delay=self._look)

    def observe(self, event: Event) -> None:
        match event:
            case Lifetime(name="started", fields=fields):
                self.port = int(str(dict(fields)["http_port"]))
                self.started.set()
            case BreakerChanged(name="journal"):
                self.told.append(event)

    def put(self, count: int) -> set[str]:
        emails = write_many(self.folder, count)
        self.producer.put_many(emails.items())
        self.expected |= emails.keys()
        return set(emails)

    def standing(self) -> dict[str, Status]:
        return {email_id: Status(status) for email_id, status in self.producer.run("SELECT id, status FROM emails")}

    async def ended(self) -> bool:
        return set(self.standing().values()) == {Status.SENT_ACKNOWLEDGED}

    async def ready(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            body = await response.json()
            assert response.status == 200 or any(reason.startswith("journal") for reason in body["reasons"]), body
            return response.status == 200

    def _look(self, step: Step) -> float:
        """At the end of each message, before anything is said to it."""
        if step.phase == "dot":
            email_id = step.recipient.removeprefix("r-").partition("@")[0]
            marks = [line.split() for line in self.disk.durable().splitlines()]
            if not any(mark[2] == b"DOT" and mark[6] == email_id.encode() for mark in marks):
                self.too_early.append(email_id)
        return 0.0


@pytest.fixture(scope="module")
async def empty_queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("queue") / "queue.db"
    await apply_schema({"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": path})
    return path


@asynccontextmanager
async def life(
    folder: Path, empty: Path, disk: FailingDisk, callback: CountingCallback, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Life]:
    """The service at work, told to stop at the end."""
    path = Path(shutil.copy(empty, folder))
    monkeypatch.setattr("mailculator.journal.writer.SystemDisk", lambda: disk)
    monkeypatch.setattr("mailculator.equipment.Journal", partial(Journal, segment_bytes=SEGMENT))
    producer = SqliteProducer(path)
    one = Life(folder, disk, callback, producer)
    try:
        async with one.sink:
            settings = Settings.model_validate(
                {
                    **delivery(callback, one.sink.port),
                    "SQLITE_PIPELINES_ENABLED": "true",
                    "SQLITE_PATH": path,
                    "MAILCULATOR_REPLICA": "one",
                    "MAILCULATOR_HTTP_PORT": 0,
                    "MAILCULATOR_JOURNAL_DIR": disk_root(folder) / "journal",
                    "MAILCULATOR_TIME_SCALE": 0.05,
                    "MAILCULATOR_LEASE": 3600,  # a watchdog that ends this process is of no use here
                    "PIPELINE_INTERVAL": 0.05,
                }
            )
            service = Service(settings, observer=one.observe)
            task = asyncio.create_task(service.run())
            try:
                await asyncio.wait(
                    {task, begun := asyncio.create_task(one.started.wait())}, return_when="FIRST_COMPLETED"
                )
                begun.cancel()
                yield one
            finally:
                service.stop()
                assert await task == 0
    finally:
        producer.close()


def disk_root(folder: Path) -> Path:
    return folder / "share"


async def fail_from(first: int, code: int, folder: Path, empty: Path, callback: CountingCallback) -> FailingDisk:
    """Live through a disk that fails from that operation on; returns it."""
    disk = FailingDisk(disk_root(folder), first, code)
    with pytest.MonkeyPatch.context() as monkeypatch:
        async with life(folder, empty, disk, callback, monkeypatch) as one:
            one.put(MAILS)

            async def over() -> bool:
                return bool(one.told) or (not disk.failed and await one.ended())

            await until(over, "the journal is broken, or all is done", PATIENCE)
            if one.told:
                await _goes_on_without_sending(one)
                disk.code = None
                await until(one.ready, "ready again", PATIENCE)
            await until(one.ended, "everything has ended", PATIENCE)
            disk.code = None
        assert not one.too_early
        assert Counter(mail.email_id for mail in one.sink.accepted) == Counter(one.expected)
        assert not disk.synced_after_failure
        disk.leave(folder / "left", powerless=True)
        left = evidence.read(folder / "left", "sqlite")
        assert not left.damage
        dots = {claim.email_id for claim in left.claims if claim.dot is not None}
        assert dots >= one.expected
    return disk


async def _goes_on_without_sending(one: Life) -> None:
    assert one.told[-1].open
    assert not await one.ready()
    more = one.put(MORE)

    async def stands_still() -> bool:
        standing = one.standing()
        return all(
            standing[email_id] in ({Status.READY} if email_id in more else {Status.READY, Status.SENT_ACKNOWLEDGED})
            for email_id in one.expected
        )

    # What the relay had is called back, what is new is taken in, and what has not left goes no further.
    await until(stands_still, "nothing is under way", PATIENCE)
    assert not more & {mail.email_id for mail in one.sink.accepted}
    assert not await one.ready()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "unreadable"])
async def test_no_message_leaves_without_its_mark_whichever_operation_fails(
    code: int, tmp_path: Path, empty_queue: Path
) -> None:
    begun, struck, first = time.monotonic(), Counter[str](), 0
    callback = CountingCallback()
    async with callback:
        while True:
            folder = tmp_path / str(first)
            folder.mkdir()
            try:
                disk = await fail_from(first, code, folder, empty_queue, callback)
            except BaseException as error:
                error.add_note(f"{errno.errorcode[code]} from operation {first} on")
                raise
            if not disk.failed:
                break
            struck[disk.failed[0]] += 1
            first += 1
    assert struck.keys() >= OPERATIONS
    figures = {"points": first, "without their mark on the disk": 0, "lost": 0, "doubled": 0, **dict(struck)}
    Proof.of("disk", f"journal, {errno.errorcode[code]}", [], time.monotonic() - begun, figures).keep()
