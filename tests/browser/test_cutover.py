"""A cutover on the page, made of a queue as it stands: what the service says of a real one is tested elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.support.browser import SOON, Visit

pytestmark = pytest.mark.browser

CUTOVER = {
    "phase": "overlap",
    "title": "DynamoDB empties, MariaDB takes over",
    "next_step": "stop the producers of DynamoDB",
    "ready": False,
    "hindrances": ["12 emails are in DynamoDB still"],
}


async def beside_dynamodb(visit: Visit) -> None:
    """From now on the service is seen to work on DynamoDB as well, and to be moved from there."""
    answer = await visit.page.request.get(f"{visit.base}/api/overview")
    overview: dict[str, Any] = await answer.json()
    other = {
        **overview["stores"][0],
        "store": "dynamodb",
        "title": "DynamoDB",
        "backlog": 12,
        "can": {"search_domain": False, "list_terminal": False},
    }
    overview |= {"stores": [other, *overview["stores"]], "cutover": CUTOVER}

    async def stream(route: Route) -> None:
        body = f"event: overview\ndata: {json.dumps(overview)}\n\n"
        await route.fulfill(headers={"Content-Type": "text/event-stream"}, body=body)

    await visit.page.route("**/api/events", stream)
    await visit.page.reload()


async def test_both_stores_stand_on_one_plot_with_the_phase_and_what_is_in_the_way(visit: Visit) -> None:
    await beside_dynamodb(visit)

    cutover = visit.page.get_by_role("region", name="Cutover: DynamoDB empties, MariaDB takes over")
    await expect(cutover).to_contain_text("Phase: overlap. Next: stop the producers of DynamoDB", timeout=SOON)
    await expect(cutover).to_contain_text("12 emails are in DynamoDB still")
    both = cutover.get_by_role("img", name="Backlog of both stores: DynamoDB 12, at the most 12; MariaDB 0")
    await expect(both.locator("canvas")).to_be_visible()
    await expect(visit.page.get_by_role("list", name="Statuses of")).to_have_count(2)
    assert not await visit.scrolls_sideways()


async def test_a_store_that_lists_less_says_so(visit: Visit) -> None:
    await beside_dynamodb(visit)
    page = visit.page
    await expect(page.get_by_role("region", name="DynamoDB", exact=True)).to_be_visible(timeout=SOON)
    ended = page.get_by_role("list", name="Statuses of DynamoDB").get_by_role("link", name="SENT-ACKNOWLEDGED")
    await expect(ended).to_have_count(0)

    await page.get_by_role("link", name="Emails").click()

    await expect(page.get_by_role("navigation", name="Store").get_by_role("link", name="DynamoDB")).to_be_visible()
    lists = page.get_by_role("search", name="Lists")
    await expect(lists).to_contain_text("it has no search by domain")
    await expect(lists.get_by_label("Recipient's domain")).to_have_count(0)
    assert "SENT-ACKNOWLEDGED" not in await lists.get_by_label("Status").inner_text()
