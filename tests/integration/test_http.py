"""The health port over real sockets: paths, methods, limits, and what it does not tell."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from mailculator.errors import ConfigError
from mailculator.events import Lifetime
from mailculator.metrics import MetricsObserver
from mailculator.web import server
from mailculator.web.health import Health, Limits

Session = aiohttp.ClientSession


@dataclass
class Service:
    """A health port, what it reports on, and a client of it."""

    health: Health
    runner: web.ServerRunner
    port: int
    session: Session
    now: list[float] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.session.get(self.url(path)) as answer:
            assert answer.content_type == "application/json"
            assert answer.headers["Server"] == "mailculator"
            return answer.status, json.loads(await answer.read())

    async def raw(self, request: bytes) -> bytes:
        """What comes back for bytes that no client would send, until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


class Bug(Collector):
    """A metric that cannot be collected."""

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        raise RuntimeError("CANARY")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    now = [1000.0]
    health = Health("9.9.9", Limits(stuck=30.0, fresh=20.0), stores=("mysql",), clock=lambda: now[0])
    health.register("mysql", "sender", lambda: 1000.0)
    health.store_answered("mysql", seconds=0.002, writable=True)
    registry = CollectorRegistry()
    MetricsObserver(registry)
    runner, port = await server.start(health, registry, port=0)
    async with Session(timeout=aiohttp.ClientTimeout(10)) as session:
        yield Service(health, runner, port, session, now)
    await runner.cleanup()


async def test_the_ladder_over_http(service: Service) -> None:
    assert (await service.get("/health"))[1]["status"] == "pass"
    assert await service.get("/health-check") == await service.get("/health")
    assert await service.get("/readyz") == (200, {"status": "pass", "reasons": []})
    service.health.store_silent("mysql")
    status, body = await service.get("/health")
    assert (status, body["status"]) == (200, "warn")
    assert await service.get("/readyz") == (
        503,
        {"status": "fail", "reasons": ["store:mysql: does not answer"]},
    )
    service.now[0] += 31.0
    status, body = await service.get("/health-check")
    assert (status, body["status"]) == (503, "fail")
    assert body["checks"]["pipeline:mysql/sender"]["detail"] == "stuck"
    assert await service.get("/livez") == (200, {"status": "pass"})


async def test_draining_is_told_at_once_and_the_port_goes_on_answering(service: Service) -> None:
    service.health(Lifetime("stopping"))
    assert (await service.get("/readyz"))[0] == 503
    assert (await service.get("/health"))[0] == 503
    assert (await service.get("/livez"))[0] == 200


@pytest.mark.parametrize(
    ("accept", "expected"), [("*/*", "text/plain"), ("application/openmetrics-text", "application/openmetrics-text")]
)
async def test_metrics_come_in_the_form_that_is_asked_for(service: Service, accept: str, expected: str) -> None:
    async with service.session.get(service.url("/metrics"), headers={"Accept": accept}) as answer:
        assert answer.status == 200
        assert answer.content_type == expected
        assert answer.headers["Server"] == "mailculator"
        text = await answer.text()
    assert "mailculator_build_info{" in text
    if expected == "text/plain":
        assert "mailculator_build_info" in {family.name for family in text_string_to_metric_families(text)}


@pytest.mark.parametrize("path", ["/health", "/health-check", "/livez", "/readyz", "/metrics"])
async def test_head_is_answered_without_a_body(service: Service, path: str) -> None:
    async with service.session.head(service.url(path)) as answer:
        assert answer.status == 200
        assert await answer.read() == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_another_method_is_refused_in_json(service: Service, method: str) -> None:
    async with service.session.request(method, service.url("/health"), data=b"x") as answer:
        assert answer.status == 405
        assert {part.strip() for part in answer.headers["Allow"].split(",")} == {"GET", "HEAD"}
        assert await answer.json() == {"status": 405, "error": "Method Not Allowed"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/health/", "/metrics/x", "/../etc/passwd", "/readyz%00"])
async def test_another_path_is_refused_in_json(service: Service, path: str) -> None:
    assert await service.get(path) == (404, {"status": 404, "error": "Not Found"})


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 10_000 + b"\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_is_too_long_or_no_http_gets_400_and_no_version_of_ours(
    service: Service, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await service.raw(request_bytes)
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"aiohttp" not in answer.lower()
    assert b"python" not in answer.lower()
    assert b"aaaa" not in answer
    assert b"nonsense" not in answer
    assert caplog.records == []
    assert (await service.get("/livez"))[0] == 200


async def test_a_bug_of_ours_is_a_500_that_is_logged_and_tells_nothing(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    registry.register(Bug())
    runner, port = await server.start(service.health, registry, port=0)
    async with service.session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 500
        assert await answer.json() == {"status": 500, "error": "Internal Server Error"}
    await runner.cleanup()
    assert "CANARY" in caplog.text


async def test_the_port_is_open_on_all_addresses(service: Service) -> None:
    assert (await service.get("/livez"))[0] == 200
    bound = [sock.getsockname()[0] for site in service.runner.sites for sock in _sockets(site)]
    assert bound in (["::"], ["0.0.0.0"])
    if bound == ["::"]:
        async with service.session.get(f"http://[::1]:{service.port}/livez") as answer:
            assert answer.status == 200


def _sockets(site: web.BaseSite) -> list[socket.socket]:
    assert isinstance(site, web.SockSite)
    return [site._sock]


async def test_a_port_that_is_taken_is_an_error_of_its_setting(service: Service) -> None:
    with pytest.raises(ConfigError) as caught:
        await server.start(service.health, CollectorRegistry(), port=service.port)
    [problem] = caught.value.problems
    assert problem.variable == "MAILCULATOR_HTTP_PORT"
    assert problem.message == f"cannot listen on port {service.port}: Address already in use"


async def test_one_address_can_be_chosen(service: Service) -> None:
    runner, port = await server.start(service.health, CollectorRegistry(), port=0, host="127.0.0.1")
    try:
        assert runner.addresses == [("127.0.0.1", port)]
    finally:
        await runner.cleanup()


async def test_without_ipv6_it_listens_on_ipv4(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.create_server

    def without_ipv6(address: tuple[str, int], **options: Any) -> socket.socket:
        if options["family"] == socket.AF_INET6:
            raise OSError(99, "Cannot assign requested address")
        return real(address, **options)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    runner, port = await server.start(service.health, CollectorRegistry(), port=0)
    try:
        async with service.session.get(f"http://127.0.0.1:{port}/livez") as answer:
            assert answer.status == 200
    finally:
        await runner.cleanup()


async def test_after_the_stop_nobody_listens(service: Service) -> None:
    runner, port = await server.start(service.health, CollectorRegistry(), port=0)
    await runner.cleanup()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
