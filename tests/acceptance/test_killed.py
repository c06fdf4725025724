"""A process dies, or stands still, with emails in its hands; another one, or the next, ends what it had begun."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from aiohttp import web

from mailculator.clock import SystemClock
from mailculator.lifecycle import STAGE_BY_WORKING, WORKING
from mailculator.model import Status
from tests.support import callback_peer
from tests.support.counting_sink import CountingCallback
from tests.support.invariants import Standing
from tests.support.outage_bench import Scene, until
from tests.support.outage_peers import Gate
from tests.support.scenario import Queue
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(240)

SCALE = 0.05
LEASE = 90 * SCALE
LATEST = LEASE + 10 * SCALE + 30.0
"""Seconds from the start of another process until everything has ended: a lease, a scan, and the work itself."""
EMAILS = 40
CONNECTIONS = 10
REFUSAL = "550 5.1.1 no such user here"


@pytest.fixture
def shared_scene(mariadb_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path) -> Scene:
    return Scene(dict(mariadb_queue.variables), mariadb_queue.producer, relay, callback, tmp_path)


def settings(scene: Scene, replica: str, **changes: object) -> dict[str, object]:
    return scene.of_replica(replica, scale=SCALE, connections=CONNECTIONS, **changes)


async def test_killed_while_taking_mail_in(scene: Scene) -> None:
    scene.relay.hang("rcpt")
    await scene.put(10 * EMAILS)
    async with ServiceProcess(settings(scene, "first")) as first:
        await _stopped_while_holding(scene, first, Status.INTAKING)
        await _kill(first)
    await _another_ends_it(scene, Status.INTAKING)


async def test_killed_while_sending(scene: Scene) -> None:
    scene.relay.hang("rcpt")
    await scene.put(EMAILS)
    async with ServiceProcess(settings(scene, "first")) as first:
        await scene.standing_in(Status.PROCESSING, CONNECTIONS)
        await _kill(first)
    await _another_ends_it(scene, Status.PROCESSING)


async def test_an_embedded_queue_goes_on_as_soon_as_its_service_is_back(
    sqlite_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> None:
    """Nobody else can hold its mail, so that nobody waits for a lease to run out: here one of three minutes."""
    scene = Scene(dict(sqlite_queue.variables), sqlite_queue.producer, relay, callback, tmp_path)
    relay.hang("rcpt")
    await scene.put(EMAILS)
    async with ServiceProcess(settings(scene, "first", MAILCULATOR_LEASE=3600)) as first:
        await scene.standing_in(Status.PROCESSING, CONNECTIONS)
        await _kill(first)
    await _another_ends_it(scene, Status.PROCESSING)


async def test_killed_while_calling_back_about_sent_mail(scene: Scene) -> None:
    scene.callback.script += [callback_peer.hang] * (2 * EMAILS)
    await scene.put(EMAILS)
    async with ServiceProcess(settings(scene, "first")) as first:
        await scene.callback.called(CONNECTIONS)
        await _nobody_is_sending(scene)
        await _kill(first)
    await _another_ends_it(scene, Status.CALLING_SENT_CALLBACK)


async def test_killed_while_calling_back_about_failed_mail(scene: Scene) -> None:
    scene.callback.script += [callback_peer.hang] * (2 * EMAILS)
    scene.relay.answer("rcpt", REFUSAL)
    await scene.put(EMAILS)
    async with ServiceProcess(settings(scene, "first")) as first:
        await scene.callback.called(CONNECTIONS)
        await _nobody_is_sending(scene)
        await _kill(first)
    emails = await _another_ends_it(scene, Status.CALLING_FAILED_CALLBACK)
    assert {email.status for email in emails} == {Status.FAILED_ACKNOWLEDGED}
    # Why it failed came through the rescue, to the row and to the producer.
    rows = await scene.query("SELECT id, reason FROM emails")
    assert all(REFUSAL.removeprefix("550 ") in reason for _, reason in rows)
    assert scene.reasons() == dict(rows)


async def test_frozen_for_longer_than_its_lease_while_calling_back(shared_scene: Scene) -> None:
    """Its answers come too late to be written down; the other's stand."""
    scene, answer = shared_scene, asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await answer.wait()
        return web.Response()

    scene.callback.script += [late] * CONNECTIONS
    ids = await scene.put(CONNECTIONS)
    async with ServiceProcess(settings(scene, "frozen")) as frozen:
        await scene.callback.called(len(ids))
        frozen.signal(signal.SIGSTOP)
        answer.set()
        await _another_ends_it(scene, Status.CALLING_SENT_CALLBACK, holder="frozen")
        frozen.signal(signal.SIGCONT)
        await frozen.expect("mail.claim_lost", len(ids))
        assert not _outcomes(frozen, "mail.acknowledged")
        await scene.check()
        # It is none the worse for it.
        await scene.put(5)
        await scene.finished(LATEST)
        assert await frozen.stop() == 0
    await scene.check()


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
async def test_frozen_for_longer_than_its_lease_before_the_message_leaves(shared_scene: Scene, command: str) -> None:
    """When it comes to itself the relay's go-ahead is there, and the message must not leave all the same."""
    scene = shared_scene
    ids = await scene.put(CONNECTIONS)
    async with (
        Gate(scene.relay, command) as gate,
        ServiceProcess(settings(scene, "frozen", SMTP_PORT=gate.port)) as frozen,
    ):
        await gate.keeps(len(ids))
        frozen.signal(signal.SIGSTOP)
        gate.open()
        await _another_ends_it(scene, Status.PROCESSING, holder="frozen")
        frozen.signal(signal.SIGCONT)
        await frozen.expect("mail.claim_lost", len(ids))
        assert not _outcomes(frozen, "mail.sent")
        assert await frozen.stop() == 0
    await scene.check()
    assert len(scene.relay.accepted) == len(ids)


async def test_frozen_within_a_transaction(shared_scene: Scene) -> None:
    """Its locks must not keep anybody from what it held; a host that has lost its power leaves them just so."""
    scene = shared_scene
    scene.callback.script += [callback_peer.hang] * (20 * CONNECTIONS)
    await scene.put(CONNECTIONS)
    # It may take many looks to catch it within a transaction, and none of the emails may be called back meanwhile.
    patient = settings(scene, "frozen", PIPELINE_INTERVAL="0.002", MAILCULATOR_CALLBACK_TIMEOUT=300)
    async with ServiceProcess(patient) as frozen:
        await scene.standing_in(Status.CALLING_SENT_CALLBACK, CONNECTIONS)
        await _stopped_within_a_transaction(scene, frozen)
        await _another_ends_it(scene, Status.CALLING_SENT_CALLBACK, holder="frozen")
        await _kill(frozen)


async def _kill(process: ServiceProcess) -> None:
    process.signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


async def _nobody_is_sending(scene: Scene) -> None:
    await scene.empty(Status.ACCEPTED, Status.INTAKING, Status.READY, Status.PROCESSING)


async def _stopped_while_holding(scene: Scene, process: ServiceProcess, held: Status) -> None:
    """Freeze it at a moment when it holds emails in that status; nothing outside could keep it there."""

    async def caught() -> bool:
        process.signal(signal.SIGSTOP)
        if (await scene.counts())[held]:
            return True
        process.signal(signal.SIGCONT)
        return False

    await until(caught, f"the process is stopped with emails in {held}")


async def _stopped_within_a_transaction(scene: Scene, process: ServiceProcess) -> None:
    """Freeze it at a moment when it has locks."""
    clock, never = SystemClock(), asyncio.Event()
    database = scene.variables["MYSQL_DATABASE"]
    locks = (
        "SELECT COUNT(*) FROM information_schema.innodb_trx JOIN information_schema.processlist"
        f" ON trx_mysql_thread_id = id WHERE db = '{database}' AND trx_lock_structs > 1"
    )

    async def caught() -> bool:
        process.signal(signal.SIGSTOP)
        # What the server says of transactions is up to 0.1 s old while somebody keeps asking.
        await clock.wait(never, 0.2)
        if (await scene.query(locks))[0][0]:
            return True
        process.signal(signal.SIGCONT)
        return False

    await until(caught, "the process is stopped within a transaction")


async def _another_ends_it(scene: Scene, held: Status, holder: str = "first") -> list[Standing]:
    """What the dead held is rescued by another process, which ends everything. Returns the emails."""
    left = {email.id: email.status for email in await scene.standings() if email.status in WORKING}
    assert held in left.values()
    scene.relay.behave()
    scene.callback.script.clear()
    async with ServiceProcess(settings(scene, "another")) as another:
        await scene.finished(LATEST)
        assert len(_outcomes(another, "mail.rescued")) == len(left)
        assert await another.stop() == 0
    emails = await scene.check()
    note = f"rescued: the lease of {holder} expired"
    rescues = {
        email.id: [step.status for step in email.history if step.reason == note] for email in emails if email.id in left
    }
    assert rescues == {email_id: [STAGE_BY_WORKING[status].waiting] for email_id, status in left.items()}
    return emails


def _outcomes(process: ServiceProcess, event: str) -> list[str]:
    return [line["email_id"] for line in process.lines if line["event"] == event]
