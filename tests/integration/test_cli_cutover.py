"""cutover status beside a running service's queues: what is told, and how it ends where there is little to tell."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailculator import __version__, config
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.model import Status, StatusCount
from mailculator.stores import registry
from mailculator.stores.base import Minute
from tests.integration.cli_shell import type_in
from tests.support import mariadb
from tests.support.service import environment

pytestmark = pytest.mark.timeout(300)

Variables = dict[str, object]


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture
async def empty(server: PrivateMariadb) -> Variables:
    """MariaDB, switched on, and no schema in it."""
    name = f"cutover_{os.getpid()}_{uuid.uuid4().hex[:6]}"
    await asyncio.to_thread(mariadb.execute, server, "mysql", f"CREATE DATABASE {name}")
    return {
        "MYSQL_PIPELINES_ENABLED": "true",
        "MYSQL_HOST": server.host,
        "MYSQL_PORT": server.port,
        "MYSQL_USER": server.user,
        "MYSQL_DATABASE": name,
    }


@pytest.fixture
async def mysql(empty: Variables) -> Variables:
    code, out, err = await type_in("schema", "apply", variables=empty)
    assert code == 0, out + err
    return empty


@pytest.fixture
def sqlite(tmp_path: Path) -> Variables:
    return {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": tmp_path / "queue.db"}


async def status(variables: Variables, *options: str) -> tuple[int, Any]:
    code, out, err = await type_in("cutover", "status", "--json", *options, variables=variables)
    assert err == ""
    return code, json.loads(out)


async def note(variables: Variables, store: str, **changes: object) -> None:
    """The last ten minutes, of one replica."""
    settings = config.load(environment(**variables), needs=())
    queue = await registry.backend(store).open_store(settings, service=False)
    last = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
    plain: dict[str, Any] = {"counts": {Status.READY: StatusCount(3)}, "entered": 6, "left": 5, "notes": {}}
    try:
        for ago in range(10):
            at = last - timedelta(minutes=ago)
            await queue.remember(Minute(at, "a", __version__, **(plain | changes)))
    finally:
        await queue.close()


async def test_no_switch_is_a_matter_of_settings() -> None:
    code, out, err = await type_in("cutover", "status", variables={})
    assert (code, out) == (78, "")
    assert "no queue is switched on" in err


async def test_an_embedded_queue_alone_is_in_no_phase(sqlite: Variables) -> None:
    await type_in("schema", "apply", variables=sqlite)
    await note(sqlite, "sqlite")

    code, found = await status(sqlite)

    assert (code, found["phase"]["id"], found["next"]["safe"]) == (3, "none", False)
    queue = found["stores"]["sqlite"]
    assert queue["rate"]["minutes_on_record"] == 10
    assert (queue["rate"]["entered_per_minute"], queue["rate"]["left_per_minute"]) == (6, 5)
    assert (queue["active"], queue["empty_in_s"], queue["empty_since"]) == (0, 0, None)
    assert queue["survey"]["exact"] is True


async def test_mariadb_alone_is_done_only_when_somebody_can_look_at_dynamodb(mysql: Variables) -> None:
    await note(mysql, "mysql")

    code, found = await status(mysql)

    assert (code, found["phase"]["id"]) == (3, "done")
    met = {one["name"]: one["met"] for one in found["next"]["prerequisites"]}
    assert met["mysql_ready"]
    assert met["replicas"]
    assert not met["dynamodb_ready"]
    assert not met["empty_now"]
    assert found["stores"]["dynamodb"] == {"enabled": False, "configured": False, "trouble": None}


async def test_a_half_configured_dynamodb_is_told_with_its_variable(mysql: Variables) -> None:
    code, found = await status({**mysql, "EMAIL_OUTBOX_TABLE": "emails"})
    assert code == 3
    assert "AWS_REGION: is required" in found["stores"]["dynamodb"]["trouble"]
    assert any("AWS_REGION" in line for line in found["attention"])


async def test_a_queue_that_is_away_is_69_and_the_others_are_told_all_the_same(
    mysql: Variables, sqlite: Variables
) -> None:
    await type_in("schema", "apply", variables=sqlite)
    code, found = await status({**mysql, **sqlite, "MYSQL_PORT": 1})
    assert code == 69
    assert "Connect call failed" in found["stores"]["mysql"]["trouble"]
    assert found["stores"]["sqlite"]["active"] == 0


async def test_a_missing_schema_is_78_where_the_queue_is_on_and_a_no_where_it_is_off(
    empty: Variables, sqlite: Variables
) -> None:
    code, found = await status(empty)
    assert code == 78
    assert "run: mailculator schema apply" in found["stores"]["mysql"]["trouble"]

    await type_in("schema", "apply", variables=sqlite)
    code, found = await status({**empty, **sqlite, "MYSQL_PIPELINES_ENABLED": "false"}, "--step", "both")
    assert code == 3
    ready = next(one for one in found["next"]["prerequisites"] if one["name"] == "mysql_ready")
    assert (ready["met"], "schema" in ready["evidence"]) == (False, True)


async def test_what_a_store_holds_does_not_steer_the_terminal(mysql: Variables) -> None:
    nasty = "\x1b]0;owned\x07\r\nsecond"
    await note(mysql, "mysql", notes={"relay": nasty})
    code, out, _ = await type_in("cutover", "status", variables=mysql)
    assert code == 3
    assert "relay: " in out
    assert not {"\x1b", "\x07", "\r"} & set(out)
