"""One suite, every store: each test of this folder runs on each backend's harness. None may be missing or skipped."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from importlib import import_module

import pytest

from mailculator.stores.base import Store
from tests.support.dynamodb_local import CONTRACT_ENDPOINT
from tests.support.harness import Harness

HARNESSES = {
    "sqlite": "tests.support.sqlite_harness:SqliteHarness",
    "mysql": "tests.support.mariadb_harness:MariadbHarness",
    "dynamodb": "tests.support.dynamodb_harness:DynamodbHarness",
}


MARKS = {"dynamodb": pytest.mark.dynamodb}


@pytest.fixture(scope="session", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in HARNESSES])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    module, _, name = HARNESSES[request.param].partition(":")
    make = getattr(import_module(module), name)
    named = os.environ.get(CONTRACT_ENDPOINT, "")
    harness: Harness = make(named) if request.param == "dynamodb" else make()
    yield harness
    await harness.close()


@pytest.fixture
async def store(harness: Harness) -> Store:
    return await harness.fresh()
