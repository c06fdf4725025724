"""Two replicas under a steady load, and a fault a minute: they hold no more after it than before, and all books agree.

`MAILCULATOR_TEST_CHAOS_SOAK=3600` makes it a matter of an hour, and has memory judged by its slope.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from tests.acceptance.conftest import callback
from tests.chaos.ground import SqlGround
from tests.chaos.harness import LEASES, USUAL, new_seed
from tests.chaos.soak import Soak, slope, soak_seconds, time_scale
from tests.chaos.soak_peers import RelayMoods
from tests.support import mariadb
from tests.support.counting_sink import CountingCallback
from tests.support.producer import MariadbProducer
from tests.support.scenario import Queue, Variables, apply_schema

__all__ = ["callback"]

DATABASE = "soak"


@pytest.fixture
async def mortal_mariadb() -> AsyncIterator[PrivateMariadb]:
    async with PrivateMariadb(durable=True) as server:
        yield server


@pytest.fixture
async def queue(mortal_mariadb: PrivateMariadb) -> AsyncIterator[Queue]:
    await asyncio.to_thread(mariadb.execute, mortal_mariadb, "mysql", f"CREATE DATABASE {DATABASE}")
    variables: Variables = {
        "MYSQL_PIPELINES_ENABLED": "true",
        "MYSQL_HOST": mortal_mariadb.host,
        "MYSQL_PORT": mortal_mariadb.port,
        "MYSQL_USER": mortal_mariadb.user,
        "MYSQL_DATABASE": DATABASE,
    }
    await apply_schema(variables)
    producer = await asyncio.to_thread(MariadbProducer, port=mortal_mariadb.port, database=DATABASE)
    queue = Queue("mysql", variables, producer)
    yield queue
    queue.producer.close()


@pytest.mark.timeout(2 * soak_seconds() + 900)
async def test_chaos_soak(
    queue: Queue, mortal_mariadb: PrivateMariadb, callback: CountingCallback, tmp_path: Path
) -> None:
    soak = Soak(
        what="soak",
        ground=SqlGround(queue),
        callback=callback,
        folder=tmp_path,
        replicas=2,
        mails=0,
        variables={
            **USUAL,
            "MAILCULATOR_LEASE": LEASES["mysql"],
            "MAILCULATOR_LOG_LEVEL": "info",  # told of claims, a log of an hour is too much to read
            "MAILCULATOR_TIME_SCALE": time_scale(),
        },
        moods=RelayMoods(),
        seed=new_seed(),
        server=mortal_mariadb,
        seconds=soak_seconds(),
    )
    proof = await soak.soak()
    assert soak.faults >= 8, "not every fault has had its turn"
    assert int(proof.figures["mails"]) > 10 * soak.seconds


def test_the_slope_is_told_through_the_noise() -> None:
    line = [(float(at), 3.0 * at) for at in range(30)]
    assert slope(line) == 3.0
    assert slope([(at, 1000.0 if at % 4 == 0 else value) for at, value in line]) == pytest.approx(3.0, rel=0.2)
    assert slope([(at, 7.0 + (at % 2)) for at, _ in line]) == pytest.approx(0.0)
    with pytest.raises(statistics.StatisticsError):
        slope([(1.0, 2.0)])
