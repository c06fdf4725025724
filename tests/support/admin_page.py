"""The operators' page for tests: on a real socket, over real stores, asked by somebody who checks each answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from mailculator.clock import Clock, SystemClock
from mailculator.events import ignore
from mailculator.stores.base import Store
from mailculator.stores.watched import WatchedStore
from mailculator.web.admin import openapi
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.page import Page, Terms
from tests.support.api_contract import ApiContract
from tests.support.events import Recording

CONTRACT = ApiContract(openapi.document("0.0.0"))
TOKEN = "a-token-that-nobody-guesses"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.raw) if self.raw else None


class Operator:
    """Asks one server, and holds all that it says against its OpenAPI document.

    Arguments:
        port: the page's.
        host: the address that it is asked at.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self.base = f"http://{host}:{port}"
        self.port = port
        self.csrf = ""
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(30), cookie_jar=aiohttp.CookieJar(unsafe=True)
        )

    async def close(self) -> None:
        await self.session.close()

    async def sign_in(self, name: str = "anna", token: str = "") -> Answer:
        answer = await self.ask("POST", "/api/session", {"name": name, "token": token})
        if answer.status == 200:
            self.csrf = answer.document["csrf"]
        return answer

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, with the CSRF token unless `headers` have another."""
        head = {"X-CSRF-Token": self.csrf, **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            head = {"Content-Type": "application/json", **head}
        async with self.session.request(method, self.base + path, data=data, headers=head) as got:
            answer = Answer(got.status, got.headers, await got.read())
            kind = got.content_type
        is_json = kind.endswith("json") and bool(answer.raw)
        CONTRACT.check_answer(method, path, answer.status, kind, answer.document if is_json else None)
        if answer.status < 300:
            CONTRACT.check_request(method, path, body)
        return answer

    async def get(self, path: str) -> Any:
        """The document of an answer that must be good."""
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.raw
        return answer.document

    async def raw(self, request: bytes) -> bytes:
        """What comes back for octets that no client would send, until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@dataclass
class Stage:
    """A page that is open, its desk, and somebody who has not signed in yet."""

    page: Page
    desk: Desk
    operator: Operator
    events: Recording
    port: int


@asynccontextmanager
async def opened(
    *stores: Store, terms: Terms | None = None, clock: Clock | None = None, names: tuple[str, ...] = ()
) -> AsyncIterator[Stage]:
    """A page over these stores.

    Arguments:
        names: of the enabled stores, where there are others than those that are open.
    """
    events = Recording()
    clock = clock or SystemClock()
    desk = Desk(names or tuple(store.name for store in stores), version="0.0.0", replica="test-1")
    for store in stores:
        desk.joined(WatchedStore(store, observer=ignore, clock=clock))
    page = Page(terms or Terms(0, wanted=True), desk, clock=clock, observer=events)
    port = await page.open()
    assert port is not None
    operator = Operator(port)
    try:
        yield Stage(page, desk, operator, events, port)
    finally:
        await operator.close()
        await page.close()
