"""A queue of each kind with nothing in it, and a shell beside it: what the tests of the command line sit at."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.model import Status
from mailculator.stores.dynamodb import layout
from tests.integration.cli_shell import type_in
from tests.support import mariadb
from tests.support.dynamodb_records import Records, meta, now, plain_client
from tests.support.moto_server import KEY, REGION, MotoServer, shared_moto
from tests.support.producer import MariadbProducer, Producer, Rows, SqliteProducer

_numbers = itertools.count(1)


@dataclass
class Desk:
    """A queue, and a shell whose environment names it."""

    store: str
    place: str
    variables: dict[str, object]
    producer: Producer | None = None
    records: Records | None = None

    async def type(self, *arguments: str, **variables: object) -> tuple[int, str, str]:
        return await type_in(*arguments, variables={**self.variables, **variables})

    async def read(self, *arguments: str) -> Any:
        """The one document of a command that is expected to succeed."""
        code, out, err = await self.type(*arguments, "--json")
        assert code == 0, out + err
        return json.loads(out)

    async def run(self, sql: str, *parameters: object) -> Rows:
        assert self.producer is not None
        return await asyncio.to_thread(self.producer.run, sql, *parameters)

    async def put(self, status: Status, *, parked: bool = False, reason: str | None = None) -> str:
        email_id = str(uuid.uuid4())
        if self.records is not None:
            await self.records.put(_item(email_id, status, parked=parked, reason=reason))
            return email_id
        await self.run(
            "INSERT INTO emails (id, status, payload_file_path, parked, reason) VALUES (?, ?, '/payload.json', ?, ?)",
            email_id,
            status.value,
            int(parked),
            reason,
        )
        return email_id


def _item(email_id: str, status: Status, *, parked: bool, reason: str | None) -> dict[str, Any]:
    """A record that the service has taken up already."""
    item = meta(email_id, status.value, version=1, ttl=layout.FAR, PayloadFilePath="/payload.json", Reason=reason or "")
    item |= {layout.STATE: status.value, layout.SEEN: item["Attributes"]["UpdatedAt"]}
    stage = layout.stage_of(status)
    if stage is not None:
        key = layout.parked_key(email_id) if parked else layout.work_key(stage, email_id)
        item |= {layout.WORK_KEY: key, layout.DUE_AT: now() * 1000}
    return item | ({layout.PARKED: True} if parked else {})


@pytest.fixture(scope="session")
async def desk_moto() -> AsyncIterator[MotoServer]:
    async with shared_moto() as running:
        yield running


@pytest.fixture(scope="session")
async def desk_server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture(params=["sqlite", "mysql", "dynamodb"])
async def empty(
    request: pytest.FixtureRequest, desk_server: PrivateMariadb, desk_moto: MotoServer, tmp_path: Path
) -> Desk:
    """A queue without a schema; the SQLite file and the DynamoDB table are not there at all."""
    if request.param == "sqlite":
        path = tmp_path / "queue.db"
        return Desk("sqlite", str(path), {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": path})
    name = f"cli_{os.getpid()}_{next(_numbers)}"
    if request.param == "dynamodb":
        return Desk("dynamodb", name, of_table(desk_moto, name))
    await asyncio.to_thread(mariadb.execute, desk_server, "mysql", f"CREATE DATABASE {name}")
    variables: dict[str, object] = {
        "MYSQL_PIPELINES_ENABLED": "true",
        "MYSQL_HOST": desk_server.host,
        "MYSQL_PORT": desk_server.port,
        "MYSQL_USER": desk_server.user,
        "MYSQL_DATABASE": name,
    }
    return Desk("mysql", name, variables)


def of_table(moto: MotoServer, name: str) -> dict[str, object]:
    return {
        "DYNAMODB_PIPELINES_ENABLED": "true",
        "EMAIL_OUTBOX_TABLE": name,
        "AWS_BASE_ENDPOINT": moto.endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
    }


@pytest.fixture
async def desk(empty: Desk) -> AsyncIterator[Desk]:
    code, out, err = await empty.type("schema", "apply")
    assert code == 0, out + err
    if empty.store == "dynamodb":
        async with plain_client(str(empty.variables["AWS_BASE_ENDPOINT"])) as client:
            empty.records = Records(client, empty.place)
            yield empty
            await empty.records.drop()
        return
    if empty.store == "sqlite":
        empty.producer = SqliteProducer(Path(empty.place))
    else:
        port = int(str(empty.variables["MYSQL_PORT"]))
        empty.producer = await asyncio.to_thread(MariadbProducer, port=port, database=empty.place)
    yield empty
    empty.producer.close()
