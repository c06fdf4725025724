"""A browser for all tests here, and the running service on a MariaDB of its own for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.acceptance.conftest import callback, mariadb_queue, mariadb_server, relay
from tests.support.browser import Visit, chromium, visiting
from tests.support.counting_sink import CountingCallback
from tests.support.outage_bench import Scene
from tests.support.scenario import Queue
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

__all__ = ["callback", "mariadb_queue", "mariadb_server", "relay"]

SCALE = 0.2
"""Of leases and delays: an outage is over, and a retry due, in a fifth of the time."""


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@pytest.fixture
def scene(mariadb_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path) -> Scene:
    return Scene(dict(mariadb_queue.variables), mariadb_queue.producer, relay, callback, tmp_path)


def replica(scene: Scene, name: str, *, scale: float = SCALE, port: int = 0, **variables: object) -> ServiceProcess:
    """One of the scene's service processes, with a page on that port, or on a free one."""
    return ServiceProcess(scene.of_replica(name, scale=scale, connections=4, MAILCULATOR_ADMIN_PORT=port, **variables))


@pytest.fixture
async def service(scene: Scene) -> AsyncIterator[ServiceProcess]:
    async with replica(scene, "first") as process:
        yield process


@pytest.fixture
async def visit(browser: Browser, service: ServiceProcess) -> AsyncIterator[Visit]:
    """Somebody called anna, who has signed in."""
    async with visiting(browser, service.admin_port) as opened:
        await opened.sign_in()
        yield opened
