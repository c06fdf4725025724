"""The pictures in docs/images, from the real page with mail going through it: `make screenshots` takes them.

Without MAILCULATOR_TEST_SCREENSHOTS they go to a temporary folder, so that what the command does is tested as well.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from mailculator.clock import SystemClock
from tests.browser.conftest import replica
from tests.support.browser import NARROW, PATIENT, WIDE, Visit, visiting
from tests.support.outage_bench import Scene

pytestmark = pytest.mark.browser

FOLDER = os.environ.get("MAILCULATOR_TEST_SCREENSHOTS")
AN_IMAGE = 5_000
"""Bytes that a picture with something on it has at the least."""


@asynccontextmanager
async def traffic(scene: Scene) -> AsyncIterator[None]:
    """Mail comes in, some each half second, as long as the block lasts."""
    clock, over = SystemClock(), asyncio.Event()

    async def produce() -> None:
        for number in range(10_000):
            await scene.put((5, 7, 9, 8, 4)[number // 8 % 5])
            if await clock.wait(over, 0.5):
                return

    producing = asyncio.create_task(produce())
    try:
        yield
    finally:
        over.set()
        await producing


async def lasted(visit: Visit, pattern: str) -> None:
    """Until the plots go back as far as that, in the words of `words.span`."""
    plot = visit.page.get_by_role("img", name="Emails a second")
    await expect(plot).to_have_attribute("aria-label", re.compile(f"over the last {pattern}:"), timeout=180_000)


@pytest.fixture
def payloads(scene: Scene) -> Iterator[None]:
    """A folder for payload files with a name that can be seen on a picture."""
    with tempfile.TemporaryDirectory(prefix="payloads-") as folder:
        scene.folder = Path(folder)
        yield


@pytest.mark.usefixtures("payloads")
async def test_screenshots(browser: Browser, scene: Scene, tmp_path: Path) -> None:
    folder = Path(FOLDER or tmp_path)
    calm, troubled = (r"(7|8)\d s", r"2 min") if FOLDER else (r"\d+ s", r"\d+ s")
    async with (
        replica(scene, "mail-1", scale=1.0) as service,
        replica(scene, "mail-2", scale=1.0),
        visiting(browser, service.admin_port, width=WIDE, height=1180) as wide,
        visiting(browser, service.admin_port, width=WIDE, height=1180, scheme="dark") as dark,
        visiting(browser, service.admin_port, width=NARROW, height=812) as phone,
    ):
        scene.relay.answer("rcpt", "550 5.1.1 <unknown@example.org>: no such user", times=3)
        (wrong, *_) = await scene.put(3)
        await scene.finished()
        async with traffic(scene):
            for visit in (wide, dark, phone):
                await visit.sign_in()
            await lasted(wide, calm)
            await scene.relay.stop()
            for visit in (wide, dark, phone):
                await expect(visit.problem("The relay takes no mail")).to_be_visible(timeout=PATIENT)
                await lasted(visit, troubled)
            await wide.page.screenshot(path=folder / "overview.png")
            await dark.page.screenshot(path=folder / "overview-dark.png")
            await phone.page.screenshot(path=folder / "phone.png")
        await wide.page.set_viewport_size({"width": WIDE, "height": 760})
        await wide.go("#/mysql/emails?status=READY")
        await expect(wide.page.locator("tbody a.id")).not_to_have_count(0)
        await wide.page.screenshot(path=folder / "list.png")
        await wide.go(f"#/mysql/emails/{wrong}")
        await expect(wide.page.get_by_role("region", name="why")).to_contain_text("no such user")
        await wide.page.screenshot(path=folder / "email.png")
        await wide.page.get_by_role("button", name="Requeue…").click()
        await expect(wide.page.get_by_role("dialog")).to_be_visible()
        await wide.page.screenshot(path=folder / "dialog.png")

    names = ["overview", "overview-dark", "phone", "list", "email", "dialog"]
    assert all((folder / f"{name}.png").stat().st_size > AN_IMAGE for name in names)
