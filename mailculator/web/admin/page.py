"""The page's server: its parts put together, and one door that every request comes through."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from aiohttp import web

from mailculator import address_mask
from mailculator.clock import Clock
from mailculator.errors import ConfigError, StoreError, StoreUnavailable
from mailculator.events import Lifetime, Observer
from mailculator.web import connections, listening
from mailculator.web.admin import answers, documents, openapi
from mailculator.web.admin.access import Access
from mailculator.web.admin.answers import Refusal
from mailculator.web.admin.asking import Call
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.documents import Text
from mailculator.web.admin.emails import Emails
from mailculator.web.admin.looks import Looks
from mailculator.web.admin.routing import Route, Routes
from mailculator.web.admin.signing import Signing
from mailculator.web.admin.static import Files
from mailculator.web.admin.steering import Steering
from mailculator.web.admin.stream import Stream
from mailculator.web.connections import Manners

VARIABLE = "MAILCULATOR_ADMIN_PORT"
_LINE_LIMIT = 8190
_FIELD_LIMIT = 16_380
"""Cookies of whatever else runs on localhost come along."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator's settings say of the page.

    Arguments:
        port: 0 takes a free one.
        wanted: the port was chosen; where it is taken the service must not start.
        token: "" = none: this machine alone.
        addresses: mail addresses are shown in full.
    """

    port: int
    wanted: bool
    token: str = ""
    addresses: bool = False


class Page:
    """Serves the operators' page from `open` until `close`.

    Arguments:
        desk: what it shows and steers.
        observer: told where there is no page.
    """

    def __init__(self, terms: Terms, desk: Desk, *, clock: Clock, observer: Observer) -> None:
        self._terms = terms
        self._desk = desk
        self._observer = observer
        self._text: Text = str if terms.addresses else address_mask.mask
        self._access = Access(terms.token, clock=clock)
        self._looks = Looks(desk, clock=clock)
        self.stream = Stream(self._compose, clock=clock)
        self._files = Files()
        self._runner: web.ServerRunner | None = None
        self.routes = Routes(self._table())

    async def open(self) -> int | None:
        """Begin to serve. Returns the port; None where it is taken and nobody chose it.

        Errors: ConfigError when a port that was chosen cannot be listened on.
        """
        port = self._terms.port
        try:
            if self._terms.token:
                listeners = [listening.everywhere(port, variable=VARIABLE)]
            else:
                listeners = listening.this_machine(port, variable=VARIABLE)
        except ConfigError as error:
            if self._terms.wanted:
                raise
            # Mail comes first: several replicas on one machine, or another program there, are no reason to stand still.
            self._observer(Lifetime("warning", (("detail", f"there is no page: {error}"),)))
            return None
        await asyncio.to_thread(self._files.read)
        manners = Manners("the page", self._answer, answers.refuse, _LINE_LIMIT, _FIELD_LIMIT)
        self._runner = await connections.serve(manners, listeners)
        taken: int = listeners[0].getsockname()[1]
        return taken

    def listeners(self) -> int:
        """How many event streams are open."""
        return self.stream.listeners

    def halt(self) -> None:
        """The service stops: no stream may hold it up."""
        self.stream.close()

    async def close(self) -> None:
        """Serve no more."""
        self.stream.close()
        self._looks.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _table(self) -> list[Route]:
        signing = Signing(self._access, self._desk, addresses_shown=self._terms.addresses)
        emails, steering = Emails(self._desk, self._looks, self._text), Steering(self._desk, self._looks, self._text)
        files = self._files
        return [
            Route("GET", "/api/session", signing.look, open=True),
            Route("POST", "/api/session", signing.sign_in, open=True),
            Route("DELETE", "/api/session", signing.sign_out, open=True),
            Route("GET", "/api/overview", self._overview),
            Route("GET", "/api/events", self._events),
            Route("GET", "/api/stores/{store}/emails", emails.list),
            Route("GET", "/api/stores/{store}/emails/{id}", emails.one),
            Route("POST", "/api/stores/{store}/actions", emails.act, acts=True),
            Route("POST", "/api/stores/{store}/pauses", steering.pause, acts=True),
            Route("DELETE", "/api/stores/{store}/pauses/{pipeline}", steering.resume, acts=True),
            Route("GET", "/api/stores/{store}/audit", steering.audit),
            Route("GET", "/openapi.json", self._describe, open=True),
            Route("GET", "/", files.start, open=True),
            Route("GET", "/assets/{name}", files.asset, open=True),
        ]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._access.check_origin(request)
            route, parameters = self.routes.find(request.method, request.raw_path)
            operator = self._access.admit(request, route)
            return await route.handle(Call(request, parameters, operator))
        except Refusal as refusal:
            return refusal.answer()
        except StoreError as error:
            away = isinstance(error, StoreUnavailable)
            status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.INTERNAL_SERVER_ERROR
            return answers.problem(status, self._text(str(error)))

    async def _compose(self) -> bytes:
        return orjson.dumps(documents.overview(await self._looks.all(), self._desk.assessment, self._text))

    async def _overview(self, _: Call) -> web.StreamResponse:
        return answers.encoded(await self._compose())

    async def _describe(self, _: Call) -> web.StreamResponse:
        return answers.json(openapi.document(self._desk.version))

    async def _events(self, call: Call) -> web.StreamResponse:
        session = self._access.session(call.request)
        return await self.stream.serve(call.request, lambda: session is None or self._access.lasts(session))
