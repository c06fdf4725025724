"""A process is killed before each system call of a mail's life that anybody else can see: nothing is lost, and a second
copy exists only where it died between the final dot and the relay's reply.

`MAILCULATOR_TEST_SYSCALLS=all` strikes at every point of MariaDB and SQLite, and at a tenth of DynamoDB's.
"""

from __future__ import annotations

import os

import pytest

from tests.syscalls.campaign import ALL, AMOUNT, Campaign

pytestmark = pytest.mark.timeout(4 * 3600 if os.environ.get(AMOUNT) == ALL else 1800)


async def test_killed_at_system_calls(campaign: Campaign) -> None:
    await campaign.run()
    # Where a point lies depends a little on what else the service looks for just then: a few no life comes to.
    assert len(campaign.strikes) > len(campaign.missed), f"{len(campaign.missed)} points not met: nothing is shown"
