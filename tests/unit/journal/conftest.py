"""What tests of the writing side share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.journal.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.journal.open()
    yield bench
    for holds in bench.disk.holds.values():
        for hold in holds:
            hold.open()
    await bench.journal.close()
