"""A queue of each kind, and a run of chaos on it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.conftest import callback, mariadb_queue, mariadb_server, sqlite_queue
from tests.chaos.ground import DynamodbGround, Ground, SqlGround
from tests.chaos.harness import Begin, prepare
from tests.support.counting_sink import CountingCallback

__all__ = ["callback", "mariadb_queue", "mariadb_server", "sqlite_queue"]


@pytest.fixture(params=["mysql", "sqlite", pytest.param("dynamodb", marks=[pytest.mark.dynamodb, pytest.mark.long])])
def ground(request: pytest.FixtureRequest) -> Ground:
    if request.param != "dynamodb":
        return SqlGround(request.getfixturevalue("mariadb_queue" if request.param == "mysql" else "sqlite_queue"))
    bench = request.getfixturevalue("bench")
    return DynamodbGround(bench.records, bench.variables)


@pytest.fixture
def begin(ground: Ground, callback: CountingCallback, tmp_path: Path) -> Begin:
    """Prepare a run on that queue."""
    return partial(prepare, ground, callback, tmp_path)
