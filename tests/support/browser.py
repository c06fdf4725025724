"""Debian's chromium, driven by Playwright: what a person does with the operators' page, and what must hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, async_playwright, expect

CHROMIUM = "/usr/bin/chromium"
WIDE, NARROW = 1440, 375
SOON = 15_000
"""Milliseconds: three times those within which an operator is to see what happened, since this machine may be busy."""
PATIENT = 30_000
"""Milliseconds for what may take longer; only a test that fails comes near it."""
AXE = Path(__file__).resolve().parents[1] / "browser" / "vendored" / "axe.min.js"
_LOCAL = {"127.0.0.1", "localhost"}
_AXE_RUN = """async () => {
    const found = await axe.run(document, { resultTypes: ["violations"] });
    return found.violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`);
}"""

Scheme = Literal["light", "dark"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser. `make test` installs it; where it is missing this fails, and nothing is skipped."""
    async with async_playwright() as playwright:
        # It has a sandbox for which root lacks the rights, and the page is ours.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass
class Visit:
    """A tab on the page of one service.

    Arguments:
        base: the page's address, without a path.
        hosts: of all requests so far.
        complaints: errors of scripts and of the content-security policy.
    """

    page: Page
    base: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    async def sign_in(self, name: str = "anna", hash_: str = "#/") -> None:
        """As a person does it, at the view that a link leads to."""
        await self.page.goto(f"{self.base}/{hash_}")
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        # It leads to a store, and comes with the first overview.
        await expect(self.page.get_by_role("link", name="Emails")).to_be_visible(timeout=SOON)

    async def go(self, hash_: str) -> None:
        """Follow a link that a colleague sent."""
        await self.page.goto(f"{self.base}/{hash_}")

    def status(self, name: str) -> Locator:
        """The count of a status in the flow."""
        flow = self.page.get_by_role("list", name="Statuses of")
        return flow.locator(f"[data-key='{name}'] .count")

    def problem(self, text: str) -> Locator:
        """A problem, by the words it is told in."""
        return self.page.locator(".problem").filter(has_text=text)

    async def confirm(self, button: str, why: str) -> None:
        """Give a reason in the dialog that is open, and do it."""
        dialog = self.page.get_by_role("dialog")
        await dialog.get_by_label("Why").fill(why)
        await dialog.get_by_role("button", name=button, exact=True).click()
        await expect(dialog).to_have_count(0, timeout=PATIENT)

    async def focused(self) -> str:
        """What the keyboard is at: the label of a control, or its text."""
        say = "(one => one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent)"
        return str(await self.page.evaluate(f"{say}(document.activeElement)")).strip()

    async def tab_to(self, label: str, limit: int = 80) -> None:
        """Press Tab until that has the focus. AssertionError when it is not reached."""
        for _ in range(limit):
            await self.page.keyboard.press("Tab")
            if await self.focused() == label:
                return
        raise AssertionError(f"{label} is not reached by the Tab key")

    async def scrolls_sideways(self) -> bool:
        """Whether something sticks out of the page."""
        return bool(await self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))

    async def axe(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        if not await self.page.evaluate("'axe' in window"):
            # Not as an element, which the page's policy would refuse, but as a debugger does it.
            await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[str] = await self.page.evaluate(_AXE_RUN)
        return found


@asynccontextmanager
async def visiting(
    browser: Browser, port: int, *, width: int = WIDE, height: int = 900, scheme: Scheme = "light", **options: Any
) -> AsyncIterator[Visit]:
    """A new tab. At its end no request has left the machine, and no script and no policy has complained."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB", timezone_id="UTC", **options
    )
    page = await context.new_page()
    visit = Visit(page, f"http://127.0.0.1:{port}")

    def requested(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"}:
            visit.hosts.add(address.hostname or "")

    def said(message: ConsoleMessage) -> None:
        # That a resource could not be loaded is shown by the page itself, where a test takes the service away.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            visit.complaints.append(message.text)

    context.on("request", requested)
    page.on("console", said)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        yield visit
    finally:
        await context.close()
    assert visit.hosts <= _LOCAL, f"requests left the machine: {visit.hosts}"
    assert visit.complaints == []
