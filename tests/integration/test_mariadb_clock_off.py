"""A ping compares this machine's clock with that of MariaDB, whatever time zone either is in, by its one statement."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.stores.mariadb import MariadbStore, open_store
from tests.support import mariadb

BUSY = 45.0
"""Seconds that a machine may take between a look at its clock and the answer; a fault is off by hours."""


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture
async def store(server: PrivateMariadb) -> AsyncIterator[MariadbStore]:
    opened = await open_store(await mariadb.new_database(server), service=True)
    yield opened
    await opened.close()


@pytest.mark.parametrize("zone", ["+02:00", "-05:00", "SYSTEM"])
async def test_a_right_clock_is_right_in_every_zone(server: PrivateMariadb, store: MariadbStore, zone: str) -> None:
    (before,) = mariadb.execute(server, "mysql", "SELECT @@global.time_zone")[0]
    mariadb.execute(server, "mysql", "SET GLOBAL time_zone = %s", (zone,))
    try:
        off = (await store.ping()).clock_off
    finally:
        mariadb.execute(server, "mysql", "SET GLOBAL time_zone = %s", (before,))

    assert off is not None
    assert abs(off) < BUSY


@pytest.mark.parametrize("hours", [-24, 1])
async def test_a_wrong_one_is_told_by_how_much(store: MariadbStore, hours: int) -> None:
    store._wall = _set_by(hours * 3600)
    off = (await store.ping()).clock_off

    assert off is not None
    assert abs(off - hours * 3600) < BUSY


def _set_by(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds
