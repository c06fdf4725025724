"""What every folder of tests shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.dynamodb_bench import Bench
    from tests.support.dynamodb_harness import DynamodbHarness

BUSY = frozenset({"chaos", "faults", "syscalls"})
"""Folders of tests that have several processes under load."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "dynamodb: needs a DynamoDB, and runs on moto as well as where DYNAMODB_TEST_ENDPOINT says"
    )
    config.addinivalue_line("markers", "browser: drives the operators' page in chromium")
    config.addinivalue_line("markers", "long: takes minutes by itself; `make test-long` runs it, `make test` does not")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that keep a whole machine busy among those that do not: workers take them in this order."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    busy = [file for file in files if file.parent.name in BUSY]
    others = [file for file in files if file.parent.name not in BUSY]
    share = len(others) // (len(busy) + 1)
    order = list(others)
    for number, file in enumerate(busy):
        order.insert(number * (share + 1), file)
    items[:] = [item for file in order for item in files[file]]


@pytest.fixture(scope="session")
async def dynamodb_harness() -> AsyncIterator[DynamodbHarness]:
    """DynamoDB, started by the first test that needs it."""
    from tests.support.dynamodb_harness import DynamodbHarness  # the AWS SDK, which most tests do without

    opened = DynamodbHarness()
    yield opened
    await opened.close()


@pytest.fixture
async def bench(dynamodb_harness: DynamodbHarness) -> AsyncIterator[Bench]:
    """A new table, and stores on it as a test opens them."""
    from tests.support.dynamodb_bench import fresh_bench

    async with fresh_bench(dynamodb_harness) as bench:
        yield bench
