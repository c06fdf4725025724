"""What the cells of all dependencies share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import mariadb_server
from tests.faults.cells import Dependency, new_seed
from tests.faults.tally import Tally

__all__ = ["mariadb_server"]


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Of the dependency that the file is about; its record is written when its last cell is done."""
    dependency = request.module.DEPENDENCY
    assert isinstance(dependency, Dependency)
    tally = Tally(dependency, new_seed())
    yield tally
    tally.keep()
