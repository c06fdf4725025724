"""Everybody can use the page: by the keyboard alone, on a telephone, with a screen reader, in the dark."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import replica
from tests.support.browser import NARROW, SOON, WIDE, Scheme, Visit, visiting
from tests.support.outage_bench import Scene
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.browser


@pytest.fixture
async def busy(scene: Scene) -> AsyncIterator[tuple[ServiceProcess, str]]:
    """A queue with something of everything: sent, failed, waiting, paused, and a relay that is away."""
    async with replica(scene, "first") as service:
        scene.relay.answer("rcpt", "550 5.1.1 no such user", times=2)
        ids = await scene.put(6)
        await scene.finished()
        await scene.relay.stop()
        await scene.put(20)
        yield service, ids[0]


VIEWS = ["#/", "#/mysql/emails?status=READY", "#/mysql/emails/{id}", "#/mysql/audit", "#/find?id=nothing"]


async def views(visit: Visit, email_id: str) -> AsyncIterator[str]:
    """Each view in turn, once it shows what it has."""
    await expect(visit.problem("The relay takes no mail")).to_be_visible(timeout=SOON)
    for view in VIEWS:
        await visit.go(view.format(id=email_id))
        await expect(visit.page.locator("main h1")).to_be_attached()
        await expect(visit.page.get_by_text("Looking…")).to_have_count(0)
        yield view


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(browser: Browser, busy: tuple[ServiceProcess, str], scheme: Scheme) -> None:
    service, email_id = busy
    async with visiting(browser, service.admin_port, scheme=scheme) as visit:
        await visit.page.goto(f"{visit.base}/")
        await expect(visit.page.get_by_label("Name")).to_be_visible()
        found = {"sign-in": await visit.axe()}
        await visit.sign_in()
        async for view in views(visit, email_id):
            found[view] = await visit.axe()
        await visit.go("#/")
        await visit.page.get_by_role("button", name="Pause all pipelines of MariaDB").click()
        found["dialog"] = await visit.axe()
    assert {view: wrong for view, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("width", [NARROW, WIDE])
async def test_no_view_scrolls_sideways(browser: Browser, busy: tuple[ServiceProcess, str], width: int) -> None:
    service, email_id = busy
    async with visiting(browser, service.admin_port, width=width) as visit:
        await visit.sign_in()
        found = [view async for view in views(visit, email_id) if await visit.scrolls_sideways()]
        await visit.go("#/")
        await visit.page.get_by_role("button", name="Pause sender of MariaDB").click()
        assert not await visit.scrolls_sideways()
    assert found == []


async def test_the_keyboard_alone_will_do(browser: Browser, service: ServiceProcess) -> None:
    async with visiting(browser, service.admin_port) as visit:
        page, keys = visit.page, visit.page.keyboard
        await page.goto(f"{visit.base}/")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_focused()
        await visit.tab_to("Name")
        await keys.type("anna")
        await keys.press("Enter")
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        await expect(page.get_by_role("button", name="Pause sender of MariaDB")).to_be_visible()

        await visit.tab_to("Skip to the content")
        await keys.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await visit.tab_to("Pause sender of MariaDB")
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await keys.press("Enter")

        dialog = page.get_by_role("dialog", name="Pause sender of MariaDB")
        await expect(dialog.get_by_label("How long")).to_be_focused()
        seen = [await visit.focused()]
        for _ in range(4):
            await keys.press("Tab")
            seen.append(await visit.focused())
        assert seen == ["How long", "Why (kept with your name)", "Pause", "Do nothing", "How long"]
        await visit.tab_to("Why (kept with your name)")
        await keys.type("by hand")
        await keys.press("Enter")
        await expect(visit.problem("Sender paused by anna")).to_be_visible(timeout=SOON)
        await expect(dialog).to_have_count(0)

        await visit.tab_to("Resume sender of MariaDB")
        await keys.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await keys.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("button", name="Resume sender of MariaDB")).to_be_focused()


async def test_what_is_drawn_anew_each_second_keeps_the_focus(visit: Visit, scene: Scene) -> None:
    button = visit.page.get_by_role("button", name="Pause failed-callback of MariaDB")
    await button.focus()
    await scene.relay.stop()
    await scene.put(20)

    await expect(visit.problem("The relay takes no mail")).to_be_visible(timeout=SOON)

    await expect(button).to_be_focused()


async def test_a_token_is_asked_for_where_one_is_set(browser: Browser, scene: Scene) -> None:
    token = "a-token-of-some-length-for-tests"
    async with (
        replica(scene, "first", MAILCULATOR_ADMIN_TOKEN=token) as service,
        visiting(browser, service.admin_port) as visit,
    ):
        page = visit.page
        await page.goto(f"{visit.base}/")
        await page.get_by_label("Name").fill("anna")
        await page.get_by_label("Token").fill("not this one")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert").filter(has_text="The token is wrong.")).to_be_visible()
        await expect(page.get_by_label("Token")).to_be_focused()

        await page.get_by_label("Token").fill(token)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Sign out").click()

        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
