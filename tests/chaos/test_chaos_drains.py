"""Replicas are told to stop at random moments under load: each ends with 0 within its grace, and leaves nothing to be
rescued but mail whose message had left.

`MAILCULATOR_TEST_CHAOS_DRAINS=200` makes it a matter of a quarter of an hour.
"""

from __future__ import annotations

import pytest

from tests.chaos.harness import Begin, blow_count, time_limit
from tests.chaos.load import Moods

DRAINS, EMAILS = 20, 200
"""Of all stores together, where the environment asks for nothing else."""
MOMENT = 0.8
"""Seconds until the next is told to stop, at the most."""
GRACE = 2.0
HUNG, HANG = 8, 6.0
"""Of a hundred messages so many are answered after that many seconds: for them the grace is too short."""

pytestmark = pytest.mark.timeout(time_limit("drains", DRAINS, EMAILS))


async def test_chaos_drains(begin: Begin) -> None:
    chaos = begin("drains", EMAILS, moods=Moods(hung=HUNG, hang=HANG), MAILCULATOR_SHUTDOWN_GRACE=GRACE)
    drains = blow_count("drains", chaos.ground.store, DRAINS)
    record = await chaos.run(lambda: chaos.fleet.drain(MOMENT, GRACE), drains)
    assert record.blows == drains
