"""What an operator waits for at the page, in chromium: the first paint, the counts, a list, an email.

By the browser's own clock. A visit is one with an empty cache: every file of the page is fetched.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from playwright.async_api import Browser, Page

from benchmarks.mail_parts import PATIENCE
from benchmarks.page_queue import FREQUENT, RARE
from tests.support.browser import WIDE

STORE = "mysql"
LISTS: Mapping[str, str] = MappingProxyType(
    {
        "READY": "status=READY",
        "READY, from the middle": "status=READY&after=8",
        "FAILED": "status=FAILED",
        "FAILED, from the middle": "status=FAILED&after=8",
        "INVALID, all at the end of the ids": "status=INVALID",
        "PROCESSING, of which there is none": "status=PROCESSING",
        "SENT-ACKNOWLEDGED, nearly the last": "status=SENT-ACKNOWLEDGED&after=fff",
        "parked": "parked=1",
        "parked, from the middle": "parked=1&after=8",
        "to a frequent domain": f"domain={FREQUENT}",
        "to a frequent domain, from the middle": f"domain={FREQUENT}&after=8",
        "to a frequent domain, nearly the last": f"domain={FREQUENT}&after=fff",
        "to a rare domain": f"domain={RARE}",
        "READY, to a rare domain": f"status=READY&domain={RARE}",
        "READY, to a frequent domain": f"status=READY&domain={FREQUENT}",
        "FAILED, to a frequent domain": f"status=FAILED&domain={FREQUENT}",
        "INVALID, all at the end, to a frequent domain": f"status=INVALID&domain={FREQUENT}",
        "PROCESSING, to a frequent domain": f"status=PROCESSING&domain={FREQUENT}",
        "parked, to a rare domain": f"parked=1&domain={RARE}",
        "of unknown outcome": "unknown=1",
        "of unknown outcome, from the middle": "unknown=1&after=8",
        "FAILED-ACKNOWLEDGED, of unknown outcome": "unknown=1&status=FAILED-ACKNOWLEDGED",
    }
)
"""The lists that are looked at, by what they are called: each the query of the page's address."""
EMAIL = "an email's own page"

# When the counts stand there: of what waits, and of what has ended.
_WATCH = """
window.seen = {};
new MutationObserver(() => {
    if (document.querySelector("[data-key='READY'] .count")) seen.counted ??= performance.now();
    if (document.querySelector("[data-key='SENT-ACKNOWLEDGED'] .count:not(.unknown)")) seen.ended ??= performance.now();
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
_PAINTED = """() => new Promise((done) => {
    const look = () => {
        const [paint] = performance.getEntriesByName("first-contentful-paint");
        if (paint && seen.counted && seen.ended) done([paint.startTime, seen.counted, seen.ended]);
        else requestAnimationFrame(look);
    };
    look();
})"""
# From the click, which changes the address, until the frame in which it is drawn; and the answer of the API by itself.
_SHOWN = """([hash, part]) => new Promise((done) => {
    performance.clearResourceTimings();
    const began = performance.now();
    const look = () => {
        if (!document.querySelector(part)) return requestAnimationFrame(look);
        const ended = performance.now();
        const asked = performance.getEntriesByType("resource").filter((one) => one.name.includes("/emails"));
        done([ended - began, asked.at(-1).duration, document.querySelectorAll("main tbody tr").length]);
    };
    window.addEventListener("hashchange", () => requestAnimationFrame(look), { once: true });
    window.location.hash = hash;
})"""


@dataclass(frozen=True)
class Paint:
    """A visit to the overview: seconds since the address was entered.

    Arguments:
        first: the first paint with something on it.
        counted: what waits is counted.
        ended: what has ended is counted, too.
    """

    first: float
    counted: float
    ended: float


@dataclass(frozen=True)
class View:
    """A list, or an email: seconds, and rows on the page.

    Arguments:
        answered: by the API.
        shown: from the click until it is drawn.
    """

    answered: float
    shown: float
    rows: int


def middle(views: Sequence[View]) -> View:
    """The medians of several looks at one."""
    return View(
        statistics.median(one.answered for one in views),
        statistics.median(one.shown for one in views),
        views[-1].rows,
    )


@asynccontextmanager
async def visit(browser: Browser, port: int) -> AsyncIterator[Page]:
    """A new tab of somebody who has signed in and whose browser has nothing of the page yet."""
    base = f"http://127.0.0.1:{port}"
    context = await browser.new_context(base_url=base, viewport={"width": WIDE, "height": 900})
    try:
        answer = await context.request.post("/api/session", data={"name": "anna"})
        if not answer.ok:
            raise SystemExit(f"signing in: {answer.status} {await answer.text()}")
        await context.add_init_script(_WATCH)
        yield await context.new_page()
    finally:
        await context.close()


async def paint(page: Page) -> Paint:
    """Enter the address of the overview. TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        await page.goto("/")
        first, counted, ended = await page.evaluate(_PAINTED)
    return Paint(first / 1000, counted / 1000, ended / 1000)


async def look(page: Page, hash_: str, part: str) -> View:
    """Follow a link from the overview until that part is there. TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        await page.evaluate("window.location.hash = '#/'")
        await page.locator(".flow").first.wait_for()
        shown, answered, rows = await page.evaluate(_SHOWN, [hash_, part])
    return View(answered / 1000, shown / 1000, int(rows))


async def lists(page: Page, repeats: int) -> dict[str, View]:
    """Each list, and the page of one email, so often; the medians."""
    found = {}
    for name, query in LISTS.items():
        views = [await look(page, f"#/{STORE}/emails?{query}", "[data-key='list']") for _ in range(repeats)]
        found[name] = middle(views)
        print(f"{name}: {found[name]}", flush=True)
    email = await _some_email(page)
    views = [await look(page, f"#/{STORE}/emails/{email}", "[data-key='steps']") for _ in range(repeats)]
    return found | {EMAIL: middle(views)}


async def _some_email(page: Page) -> str:
    answer = await page.context.request.get(f"/api/stores/{STORE}/emails", params={"status": "READY", "after": "8"})
    return str((await answer.json())["emails"][0]["id"])
