"""What every folder of tests shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.busy_files import BusyFilesApart
    from tests.support.dynamodb_bench import Bench
    from tests.support.dynamodb_harness import DynamodbHarness


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "dynamodb: needs a DynamoDB, and runs on moto as well as where DYNAMODB_TEST_ENDPOINT says"
    )
    config.addinivalue_line("markers", "browser: drives the operators' page in chromium")
    config.addinivalue_line("markers", "long: takes minutes by itself; `make test-long` runs it, `make test` does not")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BusyFilesApart | None:
    """For `make test`. Who asks for fewer workers, or another way to share the tests out, has xdist's own."""
    from tests.support.busy_files import FEWEST, BusyFilesApart  # which needs xdist, and only its controller comes here

    fits = config.getvalue("dist") == "loadfile" and len(config.getvalue("tx")) >= FEWEST
    return BusyFilesApart(config, log) if fits else None


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
