"""Two replicas under a steady load, and a fault a minute: they hold no more after it than before, and all books agree.

`MAILCULATOR_TEST_CHAOS_SOAK=3600` makes it a matter of an hour, and has memory judged by its slope.
"""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from tests.acceptance.conftest import callback
from tests.chaos.ground import SqlGround
from tests.chaos.harness import LEASES, USUAL, new_seed
from tests.chaos.soak import Soak, slope, soak_seconds, time_scale
from tests.chaos.soak_peers import NOTHING_KEPT_BACK, RelayMoods
from tests.support.counting_sink import CountingCallback
from tests.support.mariadb_queue import new_mariadb_queue
from tests.support.scenario import Queue

__all__ = ["callback"]

DATABASE = "soak"


@pytest.fixture
async def mortal_mariadb() -> AsyncIterator[PrivateMariadb]:
    async with PrivateMariadb(durable=True) as server:
        yield server


@pytest.fixture
async def queue(mortal_mariadb: PrivateMariadb) -> AsyncIterator[Queue]:
    queue = await new_mariadb_queue(mortal_mariadb, DATABASE)
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
            **NOTHING_KEPT_BACK,
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
