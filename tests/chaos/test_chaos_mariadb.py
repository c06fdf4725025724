"""MariaDB is killed, restarted, frozen, made read-only or filled up under load, and the replicas stay up.

Nothing is lost, stuck or sent twice, whatever was under way, and none of the replicas has to be started again.

`MAILCULATOR_TEST_CHAOS_SERVER=250` makes it a matter of half an hour on two cores (`-n 2 --dist load`).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from tests.chaos.harness import BLOWS, Chaos, patience, prepare
from tests.chaos.record import Proof, Record, percentile
from tests.chaos.server_blows import BLOWS as KINDS
from tests.chaos.server_blows import LEASE, Anvil, LastingGround, admit
from tests.support.counting_sink import CountingCallback
from tests.support.mariadb_queue import new_mariadb_queue

STRIKES = 5
"""Of all kinds together, where the environment asks for nothing else."""
EMAILS = 40
"""At the least, a blow."""
CONNECTIONS = 60
"""Of the server: twice what the replicas need, and few enough to be taken quickly."""
SIGNS = {"read-only": "1290", "full": "1040"}
"""What the log has to say of such a server; of others, anything."""

_databases = itertools.count(1)

pytestmark = pytest.mark.timeout(300 + 60 * int(os.environ.get(BLOWS["server"], STRIKES)) + patience(EMAILS))


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[PrivateMariadb]:
    """Nobody else's, and one that loses nothing that it has committed when it is killed."""
    async with PrivateMariadb(durable=True, arguments=(f"--max-connections={CONNECTIONS}",)) as running:
        yield running


@pytest.fixture
async def ground(server: PrivateMariadb) -> AsyncIterator[LastingGround]:
    name = f"anvil_{next(_databases)}"
    await server.start()
    queue = await new_mariadb_queue(server, name)
    queue.variables |= await asyncio.to_thread(admit, server, name)
    ground = LastingGround(queue)
    yield ground
    ground.queue.producer.close()


@pytest.mark.parametrize("how", KINDS)
async def test_chaos_mariadb(
    how: str, server: PrivateMariadb, ground: LastingGround, callback: CountingCallback, tmp_path: Path
) -> None:
    strikes = max(1, round(int(os.environ.get(BLOWS["server"], STRIKES)) / len(KINDS)))
    chaos = prepare(ground, callback, tmp_path, "server", 0, MAILCULATOR_LEASE=LEASE)
    chaos.mails, chaos.per_round = EMAILS * strikes, 1
    anvil = Anvil(server, ground, chaos.fleet, random.Random(chaos.seed))
    chaos.keep = partial(_keep, chaos, anvil, how)
    await chaos.run(partial(anvil.strike, how), strikes)

    with chaos.explained():
        assert len(anvil.absences) == strikes
        assert any(one.met for one in anvil.absences), "nobody had mail in hand: this run has shown nothing"
        assert not anvil.unnoticed(SIGNS.get(how, "")), "the server was away and nobody noticed: nothing is shown"
        assert not anvil.taken_over(), f"living holders were taken for dead: {anvil.taken_over()[:5]}"
        assert len(chaos.fleet.everyone) == chaos.replicas
        for process in chaos.fleet.everyone:
            assert [line["event"] for line in process.lines].count("service.started") == 1


def _keep(chaos: Chaos, anvil: Anvil, how: str, record: Record) -> None:
    """As a run of its own kind: the blows befell no replica."""
    moving, ended = anvil.moving(), anvil.ended()
    figures: dict[str, int | float | str] = {
        "blows": len(anvil.absences),
        "with mail in hand": sum(bool(one.met) for one in anvil.absences),
        "replicas": chaos.replicas,
        "mails": sum(record.mails.values()),
        "lost": record.lost,
        "stuck": record.stuck,
        "falsely final": record.falsely_final,
        "set aside": record.set_aside,
        "doubled": record.doubled_in_window + record.doubled_after_pause + record.doubled_outside,
        "other faults": record.broken + record.complaints,
        "taken from the living": len(anvil.taken_over()),
        "restarts of replicas": len(chaos.fleet.everyone) - chaos.replicas,
        "moving again after": _seconds(moving),
        "all ended after": _seconds(ended),
    }
    Proof.of(f"server {how}", "MariaDB", [chaos.seed], record.seconds, figures).keep()


def _seconds(values: list[float]) -> str:
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return "–" if p50 is None or p99 is None else f"{p50:.2f} s / {p99:.2f} s"
