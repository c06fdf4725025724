"""Connections that anybody may open: what is no HTTP, comes in drips or does not come is cut off in few words.

They stand on aiohttp's low-level server: what is no HTTP must neither be quoted back, nor fill the log with
tracebacks, nor learn our versions.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from mailculator.web import listening

KEEP_ALIVE = 30.0
"""Seconds that a connection is kept for a request that does not come."""
LINGER = 1.0
"""Seconds for the rest of a request that was answered before it was all there."""
STOP_TIMEOUT = 2.0
"""Seconds that answers under way have when the server stops."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How one server speaks.

    Arguments:
        name: what it is, for the log.
        answer: answers a request.
        refuse: the answer to what is no request, by its HTTP status.
        line_limit, field_limit: octets of a request's first line, and of each of its header fields.
    """

    name: str
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    refuse: Callable[[int], web.Response]
    line_limit: int = 4096
    field_limit: int = 4096


async def serve(manners: Manners, listeners: Sequence[socket.socket]) -> web.ServerRunner:
    """Answer on these sockets until the runner's `cleanup`; they are closed with it, or at once where this fails."""
    runner = web.ServerRunner(_Server(manners), handle_signals=False, shutdown_timeout=STOP_TIMEOUT)
    try:
        await runner.setup()
        for listener in listeners:
            await web.SockSite(runner, listener, backlog=listening.BACKLOG).start()
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return runner


class _Server(web.Server):
    def __init__(self, manners: Manners) -> None:
        super().__init__(manners.answer)
        self.manners = manners

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGER,
            max_line_size=self.manners.line_limit,
            max_field_size=self.manners.field_limit,
        )


class _Connection(web.RequestHandler):
    """One connection; what is no HTTP is refused without a line in the log."""

    __slots__ = ("_manners",)

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._manners = server.manners

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last answer on this connection."""
        if status >= 500:
            self.log_exception(f"{self._manners.name} failed", exc_info=exc)
        refused = self._manners.refuse(status)
        refused.force_close()
        return refused
