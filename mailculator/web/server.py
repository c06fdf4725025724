"""The health port: probes and metrics, for anybody who reaches it, and nothing else.

Five fixed answers need no router.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mailculator.web import connections, listening
from mailculator.web.connections import Manners
from mailculator.web.health import Health, Report

VARIABLE = "MAILCULATOR_HTTP_PORT"

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
    listener = listening.everywhere(port, variable=VARIABLE, host=host)
    server = _Server(_routes(health, registry))
    runner = await connections.serve(Manners("the health port", server.answer, _refuse), [listener])
    return runner, listener.getsockname()[1]


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


def _refuse(status: int) -> web.Response:
    return _error(status, "Bad Request" if status < 500 else "Internal Server Error")


class _Server:
    """Answers by path and method."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._routes.get(request.path)
        if route is None:
            return _error(404, "Not Found")
        if request.method not in {"GET", "HEAD"}:
            refused = _error(405, "Method Not Allowed")
            refused.headers["Allow"] = "GET, HEAD"
            return refused
        return route(request)
