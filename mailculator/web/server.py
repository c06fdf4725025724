"""The health port: probes and metrics, for anybody who reaches it, and nothing else.

It stands on aiohttp's low-level server: five fixed answers need no router, and anybody may send anything here, so what
is no HTTP must neither be quoted back, nor fill the log with tracebacks, nor learn our versions.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mailculator.errors import ConfigError, Problem
from mailculator.web.health import Health, Report

VARIABLE = "MAILCULATOR_HTTP_PORT"
_LINE_LIMIT = 4096
_FIELD_LIMIT = 4096
_KEEP_ALIVE = 30.0
_LINGER = 1.0
_STOP_TIMEOUT = 2.0
_BACKLOG = 64

Route = Callable[[web.BaseRequest], web.Response]


async def start(
    health: Health, registry: CollectorRegistry, *, port: int, host: str = ""
) -> tuple[web.ServerRunner, int]:
    """Serve until the runner's `cleanup`; returns the runner and the port that was taken.

    Arguments:
        port: 0 takes a free one.
        host: one address to listen on; empty = all, IPv4 and IPv6.

    Errors: ConfigError when the port cannot be listened on.
    """
    listener = _listen(host, port)
    runner = web.ServerRunner(_Server(_routes(health, registry)), handle_signals=False, shutdown_timeout=_STOP_TIMEOUT)
    try:
        await runner.setup()
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    except BaseException:
        listener.close()
        raise
    return runner, listener.getsockname()[1]


def _listen(host: str, port: int) -> socket.socket:
    # One socket for both families: two would not agree on a port when the system chooses it.
    try:
        if host or not socket.has_dualstack_ipv6():
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family)
        try:
            return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            # IPv6 is compiled in and switched off, as in many containers.
            return socket.create_server((host, port), family=socket.AF_INET)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigError([Problem(VARIABLE, f"cannot listen on port {port}: {why}")]) from error


def _routes(health: Health, registry: CollectorRegistry) -> Mapping[str, Route]:
    def metrics(request: web.BaseRequest) -> web.Response:
        encoder: Callable[[CollectorRegistry], bytes]
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return _response(200, encoder(registry), content_type)

    return {
        "/health": _probe(health.health),
        "/health-check": _probe(health.health),
        "/livez": _probe(health.live),
        "/readyz": _probe(health.ready),
        "/metrics": metrics,
    }


def _probe(report: Callable[[], Report]) -> Route:
    def answer(_: web.BaseRequest) -> web.Response:
        result = report()
        return _json(result.status, result.body)

    return answer


def _response(status: int, body: bytes, content_type: str) -> web.Response:
    # A balancer between us and the reader must not answer for us. The server names itself without a version.
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "mailculator"}
    return web.Response(status=status, body=body, headers=headers)


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return _response(status, orjson.dumps(body), "application/json")


def _error(status: int, text: str) -> web.Response:
    return _json(status, {"status": status, "error": text})


class _Server(web.Server):
    """Answers by path and method."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        super().__init__(self._answer)
        self._routes = routes

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # how aiohttp is told to keep none
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
            max_line_size=_LINE_LIMIT,
            max_field_size=_FIELD_LIMIT,
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._routes.get(request.path)
        if route is None:
            return _error(404, "Not Found")
        if request.method not in {"GET", "HEAD"}:
            refused = _error(405, "Method Not Allowed")
            refused.headers["Allow"] = "GET, HEAD"
            return refused
        return route(request)


class _Connection(web.RequestHandler):
    """One connection; what is no HTTP is refused in few words and without a line in the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last answer on this connection."""
        if status >= 500:
            self.log_exception("the health port failed", exc_info=exc)
        refused = _error(status, "Bad Request" if status < 500 else "Internal Server Error")
        refused.force_close()
        return refused
