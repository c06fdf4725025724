"""A callback receiver on a real socket: answers what it is told to, and writes each request down before it answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Call:
    """One request as it came.

    Arguments:
        port: the client's; calls over one connection share it.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int


@dataclass
class CallbackPeer:
    """The server. `async with CallbackPeer() as peer:` starts and stops it; `peer.url` is where it listens.

    Arguments:
        status: the usual answer.
        script: answers that come first, one each: a status, a Response, or what makes one of the request.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    status: int = 200
    script: list[int | web.StreamResponse | Behaviour] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _called: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/callback"

    async def __aenter__(self) -> CallbackPeer:
        await self.start()
        return self

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port again."""
        server = web.Application(client_max_size=2**24)
        server.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(server, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def called(self, times: int = 1) -> None:
        """Wait until that many requests have come."""
        while len(self.calls) < times:
            self._called.clear()
            await self._called.wait()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert request.transport is not None
        port = request.transport.get_extra_info("peername")[1]
        self.calls.append(Call(request.method, request.path, dict(request.headers), body, port))
        self._called.set()
        answer = self.script.pop(0) if self.script else self.status
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, web.StreamResponse):
            return answer
        return await answer(request)


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """200 with a body that announces 5 GB and comes as fast as it is taken."""
    response = web.StreamResponse(headers={"Content-Length": str(5 * 2**30)})
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def stalling(request: web.Request) -> web.StreamResponse:
    """200, the beginning of a body, and nothing more."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"begun")
    await asyncio.Event().wait()
    return response
