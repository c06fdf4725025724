"""A cutover on the page: the running service between DynamoDB and MariaDB, and what a store says that lists less."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from mailculator.lifecycle import INTAKE, SENDER, Prepared, Retry
from mailculator.model import NewEmail
from tests.browser.conftest import replica
from tests.support.browser import PATIENT, SOON, Visit
from tests.support.counting_sink import CountingCallback
from tests.support.dynamodb_bench import Bench
from tests.support.outage_bench import Scene
from tests.support.scenario import Queue
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LEFT = 3
"""Emails on DynamoDB whose next try is in an hour."""
SCALE = 0.1
"""A cutover is judged once a minute, which is six seconds here."""
ON_AN_EMULATOR = {"MAILCULATOR_LEASE": 900, "MAILCULATOR_DYNAMODB_INTERVAL": 1}
"""It answers one request after the other: few at a time, and with as long for each as on DynamoDB itself."""


@pytest.fixture
def scene(mariadb_queue: Queue, bench: Bench, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path) -> Scene:
    """Both queues, as docs/cutover.md switches them on."""
    return Scene({**mariadb_queue.variables, **bench.variables}, mariadb_queue.producer, relay, callback, tmp_path)


@pytest.fixture
async def service(scene: Scene, bench: Bench) -> AsyncIterator[ServiceProcess]:
    """Both run, the older of them holds mail, and nobody knows yet whether the newer one works."""
    await leave_behind(bench, LEFT)
    async with replica(scene, "first", scale=SCALE, **ON_AN_EMULATOR) as process:
        yield process


async def leave_behind(bench: Bench, count: int) -> None:
    """Emails that will not leave DynamoDB in this test."""
    queue = await bench.open()
    await queue.store.enqueue([NewEmail(str(uuid.uuid4()), "/payload.json", None) for _ in range(count)])
    for stage, outcome in ((INTAKE, Prepared("example.com")), (SENDER, Retry("450 4.2.1 try later", 3600.0))):
        queue.time.at += 2.0
        await queue.record(*((one, outcome) for one in await queue.claim_all(stage, count)))


async def test_a_cutover_between_two_stores_is_seen_and_each_says_what_it_can(visit: Visit, scene: Scene) -> None:
    page = visit.page
    cutover = page.get_by_role("region", name="Cutover: both run, ")
    await expect(cutover).to_contain_text("Phase: 1. Next: let the producer write to MariaDB", timeout=PATIENT)
    hindrance = cutover.get_by_role("listitem").filter(has_text="no email has ended on MariaDB")
    await expect(hindrance).to_contain_text("insert test messages into MariaDB by hand")
    lines = rf"MariaDB 0, at the most 0; DynamoDB {LEFT}, at the most {LEFT}"
    both = cutover.get_by_role("img", name=re.compile(rf"^Backlog of both stores\b.*: {lines}"))
    await expect(both.locator("canvas")).to_be_visible(timeout=PATIENT)
    await expect(page.get_by_role("list", name="Statuses of")).to_have_count(2)
    assert not await visit.scrolls_sideways()

    await scene.put(1)
    await expect(hindrance).to_have_count(0, timeout=PATIENT)

    for store in ("MariaDB", "DynamoDB"):
        await expect(page.get_by_role("table", name=f"Replicas of {store}")).to_contain_text("first", timeout=SOON)
    flow = page.get_by_role("list", name="Statuses of DynamoDB")
    await expect(flow.get_by_role("link", name="SENT-ACKNOWLEDGED")).to_have_count(0)
    await flow.get_by_role("link", name="READY").click()
    await expect(page.get_by_role("row").filter(has_text="450 4.2.1 try later")).to_have_count(LEFT, timeout=SOON)
    await expect(page.get_by_role("navigation", name="Store").get_by_role("link", name="MariaDB")).to_be_visible()
    lists = page.get_by_role("search", name="Lists")
    await expect(lists).to_contain_text("it has no search by domain")
    await expect(lists.get_by_label("Recipient's domain")).to_have_count(0)
    assert "SENT-ACKNOWLEDGED" not in await lists.get_by_label("Status").inner_text()
