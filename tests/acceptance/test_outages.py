"""One dependency goes away while 200 emails are in flight, and comes back.

Nothing is lost, nothing fails or is acknowledged for the outage's sake, the other pipelines go on, and everything has
ended within 30 s of the return, without a restart of the service.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.model import Status
from tests.support.counting_sink import CountingCallback
from tests.support.mariadb_queue import new_mariadb_queue
from tests.support.outage_bench import Probes, Scene, probing, until
from tests.support.outage_peers import VanishingServer
from tests.support.producer import MariadbProducer
from tests.support.scenario import Queue
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(240)

EMAILS = 200
CONNECTIONS = 10
RATE = 60
"""Mails a second: slow enough that most of the emails are still to be sent when a tenth of them is out."""
CALLBACKS = (Status.SENT, Status.CALLING_SENT_CALLBACK, Status.FAILED, Status.CALLING_FAILED_CALLBACK)
CLAIMS_LOST = 2 * CONNECTIONS + 5
"""Claims of the sender that an outage may cost beside its probes: what was under way, and claimed ahead."""

# What is promised is promised for the delays as they are; the other store runs on shortened ones.
PACE = {"mysql": 1.0, "sqlite": 0.05}


@pytest.fixture(scope="module")
async def mortal_mariadb() -> AsyncIterator[PrivateMariadb]:
    """A server of this file's own, which loses nothing that it has committed when it is killed."""
    async with PrivateMariadb(durable=True) as server:
        yield server


_databases = itertools.count(1)


@pytest.fixture
async def mortal_scene(
    mortal_mariadb: PrivateMariadb, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> AsyncIterator[Scene]:
    """A scene on that server. Its producer's session ends with the server; see `reopened`."""
    name = f"mortal_{next(_databases)}"
    await mortal_mariadb.start()
    queue = await new_mariadb_queue(mortal_mariadb, name)
    scene = Scene(queue.variables, queue.producer, relay, callback, tmp_path)
    yield scene
    scene.producer.close()


def settings(scene: Scene, scale: float, **changes: object) -> dict[str, object]:
    return scene.settings(
        MAILCULATOR_TIME_SCALE=scale,
        MAILCULATOR_SMTP_RATE=RATE,
        MAILCULATOR_SMTP_CONNECTIONS=CONNECTIONS,
        MAILCULATOR_CALLBACK_CONNECTIONS=CONNECTIONS,
        **changes,
    )


async def test_the_relay_refuses_connections(scene: Scene, queue: Queue) -> None:
    scale = PACE[queue.store]
    async with ServiceProcess(settings(scene, scale)) as service, probing(service) as probes:
        await scene.put(EMAILS)
        await scene.relay.delivered(EMAILS // 10)
        await scene.relay.stop()
        await _opened(service, "relay")
        await probes.worried("relay")
        # New mail is taken in, and what was sent is called back.
        await scene.put(20)
        await scene.empty(Status.ACCEPTED, Status.INTAKING, *CALLBACKS)
        await _rows_stand_still(scene, service, tries=2 if scale == 1 else 30)

        await scene.relay.start()
        await scene.finished()
        await _closed(service, "relay")
        await probes.content()
    await _all_sent(scene)


@pytest.mark.parametrize(("queue", "refusal"), [("mysql", "password"), ("sqlite", "sender")], indirect=["queue"])
async def test_the_relay_refuses_us_before_any_recipient(scene: Scene, refusal: Literal["password", "sender"]) -> None:
    relay = scene.relay
    relay.users = {"mailer": "changed"}
    if refusal == "sender":
        relay.users = {"mailer": "secret"}
        relay.answer("mail", "550 5.7.1 not allowed to send")
    login = {"SMTP_USER": "mailer", "SMTP_PASS": "secret"}
    async with ServiceProcess(settings(scene, 0.05, **login)) as service, probing(service) as probes:
        await scene.put(EMAILS)
        await _opened(service, "relay")
        await probes.worried("relay")
        await scene.empty(Status.ACCEPTED, Status.INTAKING)
        await _rows_stand_still(scene, service, tries=20)

        relay.behave()
        relay.users = {"mailer": "secret"}
        await scene.finished()
        await _closed(service, "relay")
        await probes.content()
    await _all_sent(scene)
    assert "secret" not in str(service.lines)


async def test_the_callback_answers_500(scene: Scene, queue: Queue) -> None:
    refused = 10
    scene.relay.answer("rcpt", "550 5.1.1 no such user", times=refused)
    async with ServiceProcess(settings(scene, PACE[queue.store])) as service, probing(service) as probes:
        await scene.put(EMAILS)
        await scene.callback.called(EMAILS // 10)
        scene.callback.status = 500
        await _opened(service, "callback")
        await probes.worried("callback")
        # Mail is taken in and sent, old and new.
        await scene.put(20)
        await scene.relay.delivered(EMAILS + 20 - refused)
        await scene.empty(Status.ACCEPTED, Status.INTAKING, Status.READY, Status.PROCESSING)
        counts = await scene.counts()
        assert counts[Status.SENT_ACKNOWLEDGED] == len(scene.acknowledged("sent"))
        assert counts[Status.FAILED_ACKNOWLEDGED] == len(scene.acknowledged("failed"))

        scene.callback.status = 200
        await scene.finished()
        await _closed(service, "callback")
        await probes.content()
    emails = await scene.check()
    ends = [email.status for email in emails]
    assert ends.count(Status.SENT_ACKNOWLEDGED) == EMAILS + 20 - refused
    assert ends.count(Status.FAILED_ACKNOWLEDGED) == refused


async def test_mariadb_is_stopped_and_started_again(mortal_scene: Scene, mortal_mariadb: PrivateMariadb) -> None:
    async with ServiceProcess(settings(mortal_scene, 1)) as service, probing(service) as probes:
        await mortal_scene.put(EMAILS)
        await mortal_scene.relay.delivered(EMAILS // 10)
        await mortal_mariadb.stop()
        await _store_is_away(service, probes)

        await _start_again(mortal_mariadb, mortal_scene)
        await mortal_scene.finished()
        await probes.content()
    await _all_sent(mortal_scene)


@pytest.mark.parametrize("leases", [0.0, 1.5])
async def test_mariadb_is_killed(mortal_scene: Scene, mortal_mariadb: PrivateMariadb, leases: float) -> None:
    """Also for longer than a lease: who lives and holds the mail writes it down before anybody calls it dead."""
    scale = 0.05
    async with ServiceProcess(settings(mortal_scene, scale)) as service, probing(service) as probes:
        await mortal_scene.put(EMAILS)
        await mortal_scene.relay.delivered(EMAILS // 10)
        await mortal_mariadb.kill()
        await _store_is_away(service, probes)
        await probes.outlasts(leases * 90 * scale)

        await _start_again(mortal_mariadb, mortal_scene)
        await mortal_scene.finished()
        await probes.content()
    await _all_sent(mortal_scene)
    assert not [line for line in service.lines if line["event"] in ("mail.claim_lost", "mail.rescued")]


async def test_mariadb_goes_away_with_the_reply_to_a_claim(
    mariadb_server: PrivateMariadb,
    mariadb_queue: Queue,
    relay: SmtpPeer,
    callback: CountingCallback,
    tmp_path: Path,
) -> None:
    """The claim stands in the database, and nobody but its claimant can know: it is not left to its lease."""
    scene = Scene(dict(mariadb_queue.variables), mariadb_queue.producer, relay, callback, tmp_path)
    async with VanishingServer(mariadb_server.host, mariadb_server.port) as server:
        server.vanish_after_commit_of("UPDATE emails SET status = 'PROCESSING'")
        async with ServiceProcess(settings(scene, 1, MYSQL_PORT=server.port)) as service, probing(service) as probes:
            await scene.put(20)
            await server.gone.wait()
            await _store_is_away(service, probes)
            server.come_back()
            await scene.finished()
            await probes.content()
    await _all_sent(scene)


async def test_it_starts_while_mariadb_is_down(mortal_scene: Scene, mortal_mariadb: PrivateMariadb) -> None:
    await mortal_mariadb.stop()
    async with ServiceProcess(settings(mortal_scene, 1)) as service, probing(service) as probes:
        await _store_is_away(service, probes)
        await _start_again(mortal_mariadb, mortal_scene)
        await mortal_scene.put(20)
        await mortal_scene.finished()
        await probes.content()
    await _all_sent(mortal_scene)


async def test_a_signal_while_it_waits_for_mariadb(mortal_scene: Scene, mortal_mariadb: PrivateMariadb) -> None:
    await mortal_mariadb.stop()
    async with ServiceProcess(settings(mortal_scene, 1)) as service:
        await service.expect("store.failing")
        assert await service.stop() == 0
    await mortal_mariadb.start()


async def test_one_store_away_leaves_the_other_at_work(
    mortal_scene: Scene, mortal_mariadb: PrivateMariadb, sqlite_queue: Queue, tmp_path: Path
) -> None:
    beside = Scene(
        dict(sqlite_queue.variables), sqlite_queue.producer, mortal_scene.relay, mortal_scene.callback, tmp_path
    )
    both = settings(mortal_scene, 0.05) | sqlite_queue.variables
    async with ServiceProcess(both) as service, probing(service) as probes:
        await mortal_scene.put(EMAILS)
        await mortal_scene.relay.delivered(EMAILS // 10)
        await mortal_mariadb.kill()
        await _store_is_away(service, probes)
        await beside.put(EMAILS)
        await beside.finished(60)

        await _start_again(mortal_mariadb, mortal_scene)
        await mortal_scene.finished()
        await probes.content()
    emails = [*await mortal_scene.standings(), *await beside.standings()]
    assert {email.status for email in emails} == {Status.SENT_ACKNOWLEDGED}
    assert len(mortal_scene.relay.accepted) == len(emails) == 2 * EMAILS


async def _start_again(server: PrivateMariadb, scene: Scene) -> None:
    scene.producer.close()
    await server.start()
    database = str(scene.variables["MYSQL_DATABASE"])
    scene.producer = await asyncio.to_thread(MariadbProducer, port=server.port, database=database)


async def _store_is_away(service: ServiceProcess, probes: Probes) -> None:
    await service.expect("store.failing")
    await probes.unready("store:mysql")
    await probes.worried("store:mysql")
    assert (await probes.get("/livez"))[0] == 200


async def _opened(service: ServiceProcess, name: str) -> None:
    await service.expect("breaker.opened", where=lambda line: line["breaker"] == name)


async def _closed(service: ServiceProcess, name: str) -> None:
    await service.expect("breaker.closed", where=lambda line: line["breaker"] == name)


async def _rows_stand_still(scene: Scene, service: ServiceProcess, *, tries: int) -> None:
    """While the relay is away one email after the other is its probe; no others go to and fro."""

    async def settled() -> bool:
        return (await scene.counts())[Status.PROCESSING] <= 1

    await until(settled, "one email at most is tried")
    before, tried = await scene.moves_into(*Status), len(service.lines)
    await service.expect("smtp.attempt", _tries(service) + tries, lambda line: line["result"] != "sent")
    # A probe is claimed and given back; in between it is tried twice at the least.
    assert await scene.moves_into(*Status) - before <= 2 * (_tries(service, tried) // 2 + 2)
    claims_lost = await scene.moves_into(Status.PROCESSING) - await scene.moves_into(Status.SENT)
    assert claims_lost <= CLAIMS_LOST + _tries(service) // 2


def _tries(service: ServiceProcess, since: int = 0) -> int:
    """How often the relay was tried in vain, from that line of the log on."""
    return sum(line["event"] == "smtp.attempt" and line["result"] != "sent" for line in service.lines[since:])


async def _all_sent(scene: Scene) -> None:
    emails = await scene.check()
    assert {email.status for email in emails} == {Status.SENT_ACKNOWLEDGED}
    assert await scene.moves_into(Status.FAILED, Status.INVALID) == 0
