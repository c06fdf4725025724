"""What an operator sees of the queue while it works: mail that moves, an outage in words, a service that went away."""

from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp import web
from playwright.async_api import Browser, Route, expect

from tests.browser.conftest import replica
from tests.faults.proxy import FaultProxy
from tests.faults.toxics import Latency, Phase, Reset
from tests.support.browser import PATIENT, SOON, Visit, visiting
from tests.support.outage_bench import Scene
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.browser


async def test_the_flow_moves_while_mail_is_sent(browser: Browser, scene: Scene) -> None:
    gate = asyncio.Event()

    async def held(_: web.Request) -> web.Response:
        await gate.wait()
        return web.Response()

    scene.callback.script = [held] * 12
    # At its own pace: at a fifth of it a report might be followed by the next before anybody has looked.
    async with replica(scene, "first", scale=1.0) as service, visiting(browser, service.admin_port) as visit:
        await visit.sign_in()
        backlog = visit.page.locator(".figures div").filter(has_text="Backlog")
        await expect(backlog).to_contain_text("nothing to do")

        await scene.put(12)

        await expect(visit.status("CALLING-SENT-CALLBACK")).not_to_have_text("0", timeout=SOON)
        await expect(backlog).to_contain_text("12")
        gate.set()
        await scene.finished()
        await expect(visit.status("CALLING-SENT-CALLBACK")).to_have_text("0", timeout=SOON)
        await expect(backlog).to_contain_text("nothing to do")
        plot = visit.page.get_by_role("img", name="Emails a second")
        for line in ("in", "sent", "acknowledged"):
            moved = re.compile(rf"[:;] {line} [^;]*, at the most (?!0/s)")
            await expect(plot).to_have_attribute("aria-label", moved, timeout=PATIENT)
        await expect(plot.locator("canvas")).to_be_visible()


async def test_an_outage_of_the_relay_appears_in_words_and_goes(visit: Visit, scene: Scene) -> None:
    await scene.relay.stop()
    await scene.put(20)

    told = visit.problem("The relay takes no mail")
    await expect(told).to_contain_text("Connection refused", timeout=SOON)
    await expect(told).to_contain_text("Critical")
    await expect(visit.page).to_have_title(re.compile(r"^\(\d+\) Overview"))
    await expect(visit.page.locator("#announced")).to_contain_text("New: The relay takes no mail")
    await told.get_by_role("link").click()
    await expect(visit.page.get_by_role("heading", name="MariaDB: emails in READY")).to_be_visible()
    await visit.page.go_back()

    await scene.relay.start()
    await scene.finished()
    await expect(told).to_have_count(0, timeout=SOON)
    await expect(visit.page.get_by_role("heading", name="All is well")).to_be_visible()
    await expect(visit.page.locator("#announced")).to_contain_text("Over: The relay takes no mail")


async def test_a_service_that_is_away_is_told_with_what_was_seen_last_and_heals(browser: Browser, scene: Scene) -> None:
    async with replica(scene, "first") as service, visiting(browser, service.admin_port) as visit:
        await visit.sign_in()
        port = service.admin_port
        lost = visit.page.get_by_role("alert").filter(has_text="Not connected since")
        await expect(lost).to_have_count(0)

        await service.stop()

        await expect(lost).to_contain_text("What stands here was seen at", timeout=PATIENT)
        await expect(visit.page).to_have_title(re.compile("^not connected"))
        await expect(visit.status("READY")).to_have_text("0")
        async with replica(scene, "second", port=port):
            # A session lives in the process that gave it.
            await expect(visit.page.get_by_role("button", name="Sign in")).to_be_visible(timeout=PATIENT)
            await visit.page.get_by_label("Name").fill("anna")
            await visit.page.get_by_role("button", name="Sign in").click()
            await expect(visit.page.get_by_text("second", exact=True)).to_be_visible(timeout=PATIENT)
            await expect(lost).to_have_count(0)


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_a_way_to_the_service_that_broke_is_told_and_heals(
    browser: Browser, service: ServiceProcess, how: str
) -> None:
    async with FaultProxy(service.admin_port) as way, visiting(browser, way.port) as visit:
        await visit.sign_in()
        lost = visit.page.get_by_role("alert").filter(has_text="Not connected since")
        await expect(lost).to_have_count(0)

        if how == "cut":
            await way.sicken(Phase.CONNECT, Reset())
        else:
            await way.sicken(Phase.REPLY, Latency(3600.0))

        await expect(lost).to_contain_text("What stands here was seen at", timeout=PATIENT)
        await way.heal()
        await expect(lost).to_have_count(0, timeout=PATIENT)
        await expect(visit.page.get_by_role("heading", name="All is well")).to_be_visible()


async def test_a_gateway_that_answers_in_the_place_of_the_service_is_asked_again(visit: Visit) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")

    # A browser asks no more for a stream that was refused: the page has to.
    await visit.page.route("**/api/events", refuse)
    await visit.page.reload()
    lost = visit.page.get_by_role("alert").filter(has_text="Not connected since")
    await expect(lost).to_be_visible(timeout=PATIENT)

    await visit.page.unroute("**/api/events")

    await expect(visit.page.get_by_role("heading", name="All is well")).to_be_visible(timeout=PATIENT)
    await expect(lost).to_have_count(0)


async def test_a_pause_at_one_replica_stops_the_other_within_seconds(browser: Browser, scene: Scene) -> None:
    async with (
        replica(scene, "first", scale=1.0) as first,
        replica(scene, "second", scale=1.0) as second,
        visiting(browser, second.admin_port) as visit,
    ):
        await visit.sign_in("bruno")
        await visit.page.get_by_role("button", name="Pause sender of MariaDB").click()
        await visit.confirm("Pause", "the relay is being moved")
        async with asyncio.timeout(5.0):
            (said,) = await first.expect("pipeline.paused")
        assert (said["pipeline"], said["by"], said["why"]) == ("sender", "bruno", "the relay is being moved")
        await expect(visit.page.locator("#told")).to_contain_text("Sender of MariaDB paused.")
        await expect(visit.problem("Sender paused by bruno")).to_contain_text("the relay is being moved", timeout=SOON)

        await visit.problem("Sender paused by bruno").get_by_role("link").click()
        await expect(visit.page.get_by_role("heading", name="Pipelines")).to_be_focused()

        await second.expect("pipeline.paused")
        await scene.put(5)
        await expect(visit.status("READY")).to_have_text("5", timeout=PATIENT)
        assert scene.relay.accepted == []

        await visit.page.get_by_role("button", name="Resume sender of MariaDB").click()
        await visit.confirm("Resume", "moved")
        await scene.finished()
        await expect(visit.problem("Sender paused by bruno")).to_have_count(0, timeout=SOON)
        await visit.page.get_by_role("link", name="Audit").click()
        for words in ("paused sender for 900 s", "resumed sender"):
            line = visit.page.get_by_role("row").filter(has_text=words)
            await expect(line).to_contain_text("bruno")
