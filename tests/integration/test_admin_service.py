"""The page beside the running service: its port, its stop, and mail that flows whatever becomes of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from mailculator.app import _terms
from mailculator.clock import SystemClock
from mailculator.config import Settings, load
from mailculator.errors import ConfigError
from mailculator.events import Lifetime
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.page import Page, Terms
from tests.support.admin_page import TOKEN, Operator
from tests.support.events import Recording
from tests.support.outage_bench import until
from tests.support.service import ServiceProcess

STOP_LIMIT = 15.0
"""Seconds, on a busy machine; the grace below is much longer."""


@pytest.fixture
def variables(tmp_path: Path) -> Mapping[str, object]:
    return {
        "SQLITE_PIPELINES_ENABLED": "true",
        "SQLITE_PATH": tmp_path / "queue.db",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": 9,
        "SMTP_FROM": "bounces@example.com",
        "MAILCULATOR_SMTP_TLS": "none",
        "PIPELINE_CALLBACK_URL": "http://127.0.0.1:9/callback",
        "MAILCULATOR_SHUTDOWN_GRACE": 600,
        "MAILCULATOR_ADMIN_TOKEN": TOKEN,
    }


@pytest.fixture
async def service(variables: Mapping[str, object]) -> AsyncIterator[ServiceProcess]:
    async with ServiceProcess(variables) as process:
        yield process


@pytest.fixture
async def operator(service: ServiceProcess) -> AsyncIterator[Operator]:
    operator = Operator(service.admin_port, host="127.0.0.2")
    yield operator
    await operator.close()


async def test_the_service_shows_itself_on_its_page(service: ServiceProcess, operator: Operator) -> None:
    assert (await operator.ask("GET", "/api/overview")).status == 401
    assert (await operator.sign_in("anna", TOKEN)).status == 200
    async with operator.session.get(f"http://127.0.0.2:{service.port}/health") as answer:
        assert answer.status == 200

    async def stores() -> bool:
        shown = (await operator.get("/api/overview"))["stores"]
        return [(one["store"], one["error"]) for one in shown] == [("sqlite", None)]

    await until(stores, "a store that is open")
    assert TOKEN not in str(service.lines)


async def test_a_stop_does_not_wait_for_a_stream(service: ServiceProcess, operator: Operator) -> None:
    await operator.sign_in("anna", TOKEN)
    async with operator.session.get(f"{operator.base}/api/events") as stream:
        assert (await stream.content.readline()) == b"event: overview\n"
        clock = SystemClock()
        began = clock.now()
        code, _ = await asyncio.gather(service.stop(), stream.content.read())
    assert code == 0
    assert clock.now() - began < STOP_LIMIT


async def test_a_port_that_was_chosen_and_is_taken_ends_the_start(variables: Mapping[str, object]) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        process = ServiceProcess({**variables, "MAILCULATOR_ADMIN_PORT": port})
        await process.start(until_started=False)
        assert await process.wait() == 78
    assert f"MAILCULATOR_ADMIN_PORT: cannot listen on port {port}" in process.errors


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_a_port_that_nobody_chose_and_that_is_taken_costs_the_page_alone(token: str) -> None:
    events = Recording()
    desk = Desk(("sqlite",), version="0.0.0", replica="test")
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        for wanted in (False, True):
            page = Page(Terms(port, wanted=wanted, token=token), desk, clock=SystemClock(), observer=events)
            if wanted:
                with pytest.raises(ConfigError, match="MAILCULATOR_ADMIN_PORT"):
                    await page.open()
            else:
                assert await page.open() is None
            await page.close()
    [told] = events.of(Lifetime)
    assert told.name == "warning"
    assert str(port) in str(told.fields)


def test_a_port_is_chosen_only_where_somebody_set_it() -> None:
    assert not _terms(Settings()).wanted
    assert not _terms(load({"MAILCULATOR_ADMIN_PORT": ""}, needs=())).wanted
    assert _terms(load({"MAILCULATOR_ADMIN_PORT": "8081"}, needs=())) == Terms(8081, wanted=True)
