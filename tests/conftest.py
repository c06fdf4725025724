"""What every folder of tests shares."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "dynamodb: needs a DynamoDB, and runs on moto as well as where DYNAMODB_TEST_ENDPOINT says"
    )
    config.addinivalue_line("markers", "long: takes minutes by itself; `make test-long` runs it, `make test` does not")
