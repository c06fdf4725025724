"""How the service ends: drained on a signal, at once on a second one, and with a reason where it cannot start."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from mailculator.clock import SystemClock
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import WORKING
from mailculator.model import Status
from tests.support import mariadb
from tests.support.counting_sink import CountingCallback
from tests.support.outage_bench import Probes, Scene, until
from tests.support.outage_peers import Gate
from tests.support.scenario import Queue
from tests.support.service import ROOT, ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(240)

CONNECTIONS = 10
EMAILS = 200
SLOW_MACHINE = 20.0
"""Seconds beyond the grace that a test machine may need to end a process that has decided to end."""


@pytest.fixture
def embedded(sqlite_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path) -> Scene:
    return Scene(dict(sqlite_queue.variables), sqlite_queue.producer, relay, callback, tmp_path)


def settings(scene: Scene, **changes: object) -> dict[str, object]:
    return scene.settings(
        MAILCULATOR_SMTP_CONNECTIONS=CONNECTIONS,
        MAILCULATOR_CALLBACK_CONNECTIONS=CONNECTIONS,
        MAILCULATOR_TIME_SCALE="0.1",
        **changes,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_under_load(scene: Scene, number: signal.Signals) -> None:
    """Mail under way is finished, mail that waits goes back as it was, and nothing more is taken."""
    async with Gate(scene.relay, "DATA") as gate:
        variables = settings(scene, SMTP_PORT=gate.port, MAILCULATOR_SHUTDOWN_GRACE=60)
        async with ServiceProcess(variables) as service, aiohttp.ClientSession() as session:
            probes = Probes(session, service.port)
            await scene.put(EMAILS)
            await gate.keeps(CONNECTIONS)
            await scene.empty(Status.ACCEPTED, Status.INTAKING)
            await probes.content()

            service.signal(number)
            await probes.unready("draining")
            assert (await probes.get("/health"))[0] == 503
            assert (await probes.get("/livez"))[0] == 200
            await scene.put(10)
            await _holds(scene, CONNECTIONS)
            claims = await scene.moves_into(*WORKING)

            gate.open()
            assert await service.wait() == 0
    counts = await scene.counts()
    assert counts == {Status.SENT: CONNECTIONS, Status.READY: EMAILS - CONNECTIONS, Status.ACCEPTED: 10}
    assert await scene.moves_into(*WORKING) == claims
    assert await scene.query("SELECT COUNT(*) FROM emails WHERE attempts <> 0 OR last_error IS NOT NULL") == [(0,)]
    assert len(scene.relay.accepted) == CONNECTIONS
    assert service.lines[-1]["event"] == "service.stopped"

    async with ServiceProcess(settings(scene)) as service:
        await scene.finished(60)
        assert await service.stop() == 0
    assert {email.status for email in await scene.check()} == {Status.SENT_ACKNOWLEDGED}


async def test_a_relay_that_hangs_before_data_costs_the_grace_and_no_more(scene: Scene) -> None:
    grace, clock = 2.0, SystemClock()
    scene.relay.hang("rcpt")
    async with ServiceProcess(settings(scene, MAILCULATOR_SHUTDOWN_GRACE=grace)) as service:
        await scene.put(EMAILS)
        await scene.empty(Status.ACCEPTED, Status.INTAKING)
        # Besides those at the relay it holds some that wait for their turn.
        await scene.standing_in(Status.PROCESSING, CONNECTIONS + 1)
        told = clock.now()
        assert await service.stop() == 0
        assert clock.now() - told < grace + SLOW_MACHINE
    assert await scene.counts() == {Status.READY: EMAILS}
    assert await scene.query("SELECT COUNT(*) FROM emails WHERE attempts <> 0 OR last_error IS NOT NULL") == [(0,)]
    notes = await _notes_back_to(scene, Status.READY)
    assert notes.pop("interrupted") == CONNECTIONS
    assert notes.keys() == {"stopping"}
    assert not scene.relay.accepted


async def test_a_relay_that_hangs_after_the_message_leaves_an_honest_reason(scene: Scene) -> None:
    grace, clock = 2.0, SystemClock()
    scene.relay.hang("dot")
    async with ServiceProcess(settings(scene, MAILCULATOR_SHUTDOWN_GRACE=grace)) as service:
        await scene.put(CONNECTIONS)
        await scene.relay.reached("dot")
        await _holds(scene, CONNECTIONS)
        await _everybody_waits_for_the_reply(scene)
        told = clock.now()
        assert await service.stop() == 0
        assert clock.now() - told < grace + SLOW_MACHINE
    assert await scene.counts() == {Status.READY: CONNECTIONS}
    notes = await _notes_back_to(scene, Status.READY)
    assert notes == {"outcome unknown: interrupted while the relay's answer was awaited": CONNECTIONS}
    # A try that went so far counts, and the row says what is not known.
    rows = await scene.query("SELECT attempts, last_error FROM emails")
    assert {(attempts, error.partition(":")[0]) for attempts, error in rows} == {(1, "outcome unknown")}


async def test_a_second_signal_ends_it_at_once(embedded: Scene) -> None:
    embedded.relay.hang("rcpt")
    async with ServiceProcess(settings(embedded, MAILCULATOR_SHUTDOWN_GRACE=3600)) as service:
        await embedded.put(CONNECTIONS)
        await embedded.relay.reached("rcpt")
        service.signal(signal.SIGTERM)
        await service.expect("service.stopping")
        service.signal(signal.SIGTERM)
        assert await service.wait() == 128 + signal.SIGTERM
    assert (await embedded.counts())[Status.PROCESSING] > 0


async def test_a_health_port_that_is_taken(embedded: Scene) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        service = await _refused(settings(embedded, MAILCULATOR_HTTP_PORT=port))
    assert "MAILCULATOR_HTTP_PORT" in service.errors
    assert str(port) in service.errors


async def test_settings_that_cannot_be_used_are_told_all_at_once(embedded: Scene) -> None:
    secret = "pw-7f3a-canary"
    service = await _refused(
        {
            "MYSQL_PIPELINES_ENABLED": "perhaps",
            "MYSQL_PORT": "no-port",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_FROM": "not an address",
            "SMTP_PASS": secret,
            "PIPELINE_CALLBACK_URL": f"ftp://user:{secret}@127.0.0.1/",
            "PIPELINE_INTERVAL": "-1",
            "MAILCULATOR_CALLBACK_SECRET": f"whsec_{secret}!",
        }
    )
    told = [line.partition(":")[0] for line in service.errors.splitlines()]
    assert sorted(told) == [
        "MAILCULATOR_CALLBACK_SECRET",
        "MYSQL_PIPELINES_ENABLED",
        "MYSQL_PORT",
        "PIPELINE_CALLBACK_URL",
        "PIPELINE_INTERVAL",
        "SMTP_FROM",
        "SMTP_USER",
    ]
    assert secret not in service.errors
    assert not service.lines


async def test_an_embedded_queue_belongs_to_one_process(embedded: Scene) -> None:
    async with ServiceProcess(settings(embedded)) as first:
        await embedded.put(5)
        await embedded.finished()
        service = await _refused(settings(embedded))
        assert "SQLITE_PATH" in service.errors
        assert f"pid {first.pid}" in service.errors
        await embedded.put(5)
        await embedded.finished()
        assert await first.stop() == 0
    await embedded.check()


async def test_a_database_without_the_schema(
    mariadb_server: PrivateMariadb, mariadb_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> None:
    name = f"bare_{os.getpid()}"
    await asyncio.to_thread(mariadb.execute, mariadb_server, "mysql", f"CREATE DATABASE {name}")
    try:
        scene = Scene(dict(mariadb_queue.variables), mariadb_queue.producer, relay, callback, tmp_path)
        service = await _refused(settings(scene, MYSQL_DATABASE=name))
    finally:
        await asyncio.to_thread(mariadb.execute, mariadb_server, "mysql", f"DROP DATABASE {name}")
    assert "mailculator schema apply" in service.errors


class Fragile:
    """What breaks in a service, and when: once the file is there.

    Arguments:
        path: PYTHONPATH of that service.
    """

    def __init__(self, directory: Path) -> None:
        self.loop, self.journal = directory / "break-loop", directory / "break-journal"
        hook = directory / "hook"
        hook.mkdir()
        hooked = _HOOK.format(loop=str(self.loop), journal=str(self.journal))
        (hook / "sitecustomize.py").write_text(hooked)
        self.path = os.pathsep.join([str(hook), str(ROOT)])


_HOOK = """
import pathlib
from mailculator.journal.scribe import Scribe
from mailculator.stores.sqlite import SqliteStore

claim = SqliteStore.claim

async def broken(self, stage, limit, **options):
    if stage.name == "intake" and pathlib.Path({loop!r}).exists():
        raise RuntimeError("a bug in the loop")
    return await claim(self, stage, limit, **options)

SqliteStore.claim = broken

turn = Scribe._turn

def dying(self):
    if pathlib.Path({journal!r}).exists():
        raise RuntimeError("a bug in the thread")
    return turn(self)

Scribe._turn = dying
"""


@pytest.fixture
def fragile(tmp_path: Path) -> Fragile:
    return Fragile(tmp_path)


async def test_the_death_of_a_loop_drains_the_process_and_ends_it_with_1(embedded: Scene, fragile: Fragile) -> None:
    async with Gate(embedded.relay, "DATA") as gate:
        variables = settings(embedded, SMTP_PORT=gate.port, MAILCULATOR_SHUTDOWN_GRACE=60, PYTHONPATH=fragile.path)
        async with ServiceProcess(variables) as service, aiohttp.ClientSession() as session:
            await embedded.put(CONNECTIONS)
            await gate.keeps(CONNECTIONS)
            fragile.loop.touch()
            (line,) = await service.expect("pipeline.died")
            assert (line["store"], line["pipeline"]) == ("sqlite", "intake")
            assert line["error"] == "RuntimeError: a bug in the loop"
            status, body = await Probes(session, service.port).get("/health")
            assert (status, body["checks"]["pipeline:sqlite/intake"]["detail"]) == (503, "died")
            gate.open()
            assert await service.wait() == 1
    assert (await embedded.counts())[Status.SENT] == CONNECTIONS
    assert len(embedded.relay.accepted) == CONNECTIONS


async def test_the_death_of_the_journals_thread_ends_the_process_with_1_and_lets_nothing_leave(
    embedded: Scene, fragile: Fragile
) -> None:
    variables = settings(embedded, MAILCULATOR_SHUTDOWN_GRACE=60, PYTHONPATH=fragile.path)
    gate = Gate(embedded.relay, "DATA")
    async with gate, ServiceProcess(variables | {"SMTP_PORT": gate.port}) as service:
        await embedded.put(CONNECTIONS)
        await gate.keeps(CONNECTIONS)
        fragile.journal.touch()
        gate.open()
        (line,) = await service.expect("pipeline.died")
        assert "store" not in line
        assert (line["pipeline"], line["error"]) == ("journal", "RuntimeError: a bug in the thread")
        assert await service.wait() == 1
    assert embedded.relay.accepted == []
    assert (await embedded.counts()) == {Status.READY: CONNECTIONS}
    fragile.journal.unlink()
    async with ServiceProcess(variables) as service:
        await embedded.finished(60.0)
        assert await service.stop() == 0
    assert len(embedded.relay.accepted) == CONNECTIONS


async def _refused(variables: dict[str, object]) -> ServiceProcess:
    """Start it, and see it end with the exit code of wrong settings."""
    service = ServiceProcess(variables)
    await service.start(until_started=False)
    assert await service.wait() == 78, (service.lines, service.errors)
    assert "Traceback" not in service.errors
    return service


async def _holds(scene: Scene, count: int) -> None:
    """Until exactly so many emails are in PROCESSING."""

    async def so() -> bool:
        return (await scene.counts())[Status.PROCESSING] == count

    await until(so, f"{count} emails in PROCESSING")


async def _everybody_waits_for_the_reply(scene: Scene) -> None:
    async def so() -> bool:
        return sum(command == "DATA" for command in scene.relay.commands) == CONNECTIONS

    await until(so, "every message has been sent")


async def _notes_back_to(scene: Scene, waiting: Status) -> dict[str, int]:
    """How often each reason stands in the history rows that lead one step back."""
    notes: dict[str, int] = {}
    for email in await scene.standings():
        steps = [note for note in email.history if note.version is not None]
        for before, note in itertools.pairwise(steps):
            if note.status == waiting and before.status == Status.PROCESSING:
                reason = (note.reason or "").partition(" (")[0]
                notes[reason] = notes.get(reason, 0) + 1
    return notes
