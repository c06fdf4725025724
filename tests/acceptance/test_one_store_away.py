"""Both queues at once, and one of them goes away: the other one goes on at full speed, and nobody has to restart.

What the guard of ids in both queues asks of MariaDB is the exception: while it cannot be asked, mail of DynamoDB waits
to be sent.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mailculator.cutover.evidence import NEW, OLD
from mailculator.demo.mariadbd import PrivateMariadb
from tests.support.counting_sink import CountingSink
from tests.support.cutover_scene import PatientCallback
from tests.support.dynamodb_local import ENDPOINT
from tests.support.moto_server import shared_moto
from tests.support.outage_peers import VanishingServer
from tests.support.scenario import Variables, apply_schema, delivery
from tests.support.service import ServiceProcess
from tests.support.two_queues import MovingProducer, TwoQueues, two_queues

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(240)]

EMAILS = 20
CONNECTIONS = 4
SCALE = 0.05
LEASE = 200
"""Seconds, scaled; a call to DynamoDB may take a quarter of it."""
SPEED = 20.0
"""Seconds for so many emails while a store is away, on a busy machine; a quiet one needs two."""
WAITS = "sending waits for MariaDB"

_numbers = itertools.count(1)


class Proxy(VanishingServer):
    """A TCP proxy before any server, which is gone at a word."""

    def vanish(self) -> None:
        """Cut every connection, and take none until `come_back`."""
        self._vanish()


@dataclass
class Scene:
    """Two queues, DynamoDB's behind a proxy, and what is around them."""

    queues: TwoQueues
    producer: MovingProducer
    proxy: Proxy
    sink: CountingSink
    callback: PatientCallback
    variables: Variables

    def service(self, **changes: object) -> ServiceProcess:
        return ServiceProcess(self.variables | changes)

    async def put(self, store: str, answered: asyncio.Event | None = None) -> list[str]:
        """New emails; their callbacks are not answered before `answered` is set."""
        ids = await self.producer.prepare(EMAILS)
        if answered is not None:
            self.callback.kept |= dict.fromkeys(ids, answered)
        await self.producer.write(store, ids)
        return ids

    def check(self) -> None:
        """Everything that was put was received once, and called back once."""
        ids = sorted(self.producer.paths)
        assert sorted(mail.email_id for mail in self.sink.accepted) == ids
        assert sorted(one.email_id for one in self.callback.answers) == ids


@pytest.fixture(scope="module")
async def mortal_mariadb() -> AsyncIterator[PrivateMariadb]:
    """A server of this file's own."""
    async with PrivateMariadb(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
async def dynamodb() -> AsyncIterator[str]:
    """Where DynamoDB is."""
    if ENDPOINT in os.environ:
        yield os.environ[ENDPOINT]
    else:
        async with shared_moto() as server:
            yield server.endpoint


@pytest.fixture
async def scene(mortal_mariadb: PrivateMariadb, dynamodb: str, tmp_path: Path) -> AsyncIterator[Scene]:
    place, callback = urlsplit(dynamodb), PatientCallback()
    proxy = Proxy(str(place.hostname), place.port or 80)
    async with (
        two_queues(dynamodb, mortal_mariadb, f"away_{os.getpid()}_{next(_numbers)}") as queues,
        proxy,
        CountingSink() as sink,
        callback,
    ):
        variables: Variables = {
            **delivery(callback, sink.port),
            **queues.variables(f"http://127.0.0.1:{proxy.port}"),
            "DYNAMODB_PIPELINES_ENABLED": "true",
            "MYSQL_PIPELINES_ENABLED": "true",
            "MAILCULATOR_TIME_SCALE": SCALE,
            "MAILCULATOR_LEASE": LEASE,
            "MAILCULATOR_CALLBACK_CONNECTIONS": CONNECTIONS,
            "MAILCULATOR_CALLBACK_TIMEOUT": 300,
            "MAILCULATOR_DYNAMODB_INTERVAL": 1,
            "MAILCULATOR_BATCH_SIZE": 8,
        }
        await apply_schema(variables)
        yield Scene(queues, MovingProducer(tmp_path, queues), proxy, sink, callback, variables)
        await mortal_mariadb.start()


async def become(service: ServiceProcess, outcome: str, ids: list[str], seconds: float = 60.0) -> None:
    """Until the service has told that outcome of each of these emails: prepared, sent, acknowledged."""
    async with asyncio.timeout(seconds):
        await service.expect(f"mail.{outcome}", len(ids), lambda line: line["email_id"] in ids)


async def failing(service: ServiceProcess, store: str, words: str = "") -> None:
    """Until it has told that a store is away."""
    await service.expect("store.failing", where=lambda line: line["store"] == store and words in line["error"])


async def test_dynamodb_goes_away(scene: Scene) -> None:
    async with scene.service() as service:
        await become(service, "acknowledged", await scene.put(OLD))
        scene.proxy.vanish()
        await failing(service, OLD)
        await become(service, "acknowledged", await scene.put(NEW), SPEED)
        waiting = await scene.put(OLD)
        scene.proxy.come_back()
        await become(service, "acknowledged", waiting)
        assert await service.stop() == 0
    scene.check()


async def test_it_starts_while_dynamodb_is_away(scene: Scene) -> None:
    scene.proxy.vanish()
    async with scene.service() as service:
        await failing(service, OLD)
        await become(service, "acknowledged", await scene.put(NEW), SPEED)
        scene.proxy.come_back()
        await become(service, "acknowledged", await scene.put(OLD))
        assert await service.stop() == 0
    scene.check()


async def test_mariadb_goes_away(scene: Scene) -> None:
    """Mail of DynamoDB is taken in and called back; it waits to be sent, and that is said."""
    answered = asyncio.Event()
    async with scene.service() as service:
        sent = await scene.put(OLD, answered)
        await become(service, "sent", sent)
        await scene.queues.server.kill()
        await failing(service, NEW)
        waiting = await scene.put(OLD)
        await become(service, "prepared", waiting, SPEED)
        answered.set()
        await become(service, "acknowledged", sent, SPEED)
        await failing(service, OLD, WAITS)
        assert len(scene.sink.accepted) == len(sent)

        await scene.queues.server.start()
        await become(service, "acknowledged", waiting)
        assert await service.stop() == 0
    scene.check()


async def test_mariadb_goes_away_and_nobody_guards_ids(scene: Scene) -> None:
    async with scene.service(MAILCULATOR_DUPLICATE_GUARD="false") as service:
        await become(service, "acknowledged", await scene.put(OLD))
        await scene.queues.server.kill()
        await failing(service, NEW)
        await become(service, "acknowledged", await scene.put(OLD), SPEED)
        assert await service.stop() == 0
    scene.check()
