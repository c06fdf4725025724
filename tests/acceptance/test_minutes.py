"""The minutes of a running service: noted in its queue, ended in good order, and read by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli_shell import type_in
from tests.support.counting_sink import CountingCallback
from tests.support.producer import write_many
from tests.support.scenario import Queue, delivery
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(120)

EMAILS = 5
WHOLE = "SELECT COUNT(*) FROM mailculator_minutes WHERE entered >= 0"


async def test_what_came_and_left_is_on_record_whenever_the_service_ends(
    queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> None:
    variables = {
        **queue.variables,
        **delivery(callback, relay.port),
        "MAILCULATOR_REPLICA": "mail-1",
        "MAILCULATOR_TIME_SCALE": 0.05,  # a minute takes three seconds
    }
    queue.producer.put_many(write_many(tmp_path, EMAILS).items())
    async with ServiceProcess(variables) as service:
        await service.expect("mail.acknowledged", EMAILS)
        await queue.until(WHOLE, lambda rows: rows[0][0] >= 2, service, tries=300)

        code, out, _ = await type_in("cutover", "status", "--json", variables=variables)
        assert code == 3
        rate = json.loads(out)["stores"][queue.store]["rate"]
        assert rate["minutes_on_record"] >= 1
        assert await service.stop() == 0

    rows = await queue.run("SELECT replica, entered, ended, notes, counts FROM mailculator_minutes ORDER BY began_at")
    assert {row[0] for row in rows} == {"mail-1"}
    assert (sum(row[1] for row in rows), sum(row[2] for row in rows)) == (EMAILS, EMAILS)
    *running, last = [json.loads(row[3]) for row in rows]
    assert last["stopped"] == "yes"
    assert last["held"] == "0"
    assert all("stopped" not in notes and notes["stores"] == queue.store for notes in running)
    assert json.loads(rows[-1][4])["READY"][0] == 0
