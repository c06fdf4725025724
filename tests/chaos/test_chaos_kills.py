"""Replicas are killed at random moments under a load that never stops: nothing is lost, and nothing is sent twice but
what was between its dot and the relay's reply.

`MAILCULATOR_TEST_CHAOS_KILLS=1000 MAILCULATOR_TEST_CHAOS_MAILS=20000` makes it a matter of half an hour.
"""

from __future__ import annotations

import pytest

from tests.chaos.harness import Begin, blow_count, mail_count, time_limit

KILLS, EMAILS = 50, 600
"""Of all stores together, where the environment asks for nothing else."""
MOMENT = 0.5
"""Seconds from a claim to the kill, at the most."""

pytestmark = pytest.mark.timeout(time_limit("kills", KILLS, EMAILS))


async def test_chaos_kills(begin: Begin) -> None:
    chaos = begin("kills", EMAILS)
    kills = blow_count("kills", chaos.ground.store, KILLS)
    record = await chaos.run(lambda: chaos.fleet.kill(MOMENT), kills)
    assert record.blows == kills
    assert sum(record.mails.values()) >= mail_count(chaos.ground.store, EMAILS)
    assert record.struck, "no kill met anybody with mail in its hands: this run has shown nothing"
