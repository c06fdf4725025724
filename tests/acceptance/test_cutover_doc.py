"""docs/cutover.md, command by command: each is run in the scene it stands in, and must say and end as it is written."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from mailculator.cutover.evidence import NEW, OLD
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import SENT_CALLBACK, Park
from mailculator.model import Status, StatusCount
from tests.integration.cli_shell import type_in
from tests.support import mariadb
from tests.support.counting_sink import CountingCallback
from tests.support.cutover_stage import CutoverStage, milliseconds, to
from tests.support.dynamodb_records import Records, meta, plain_client, status_record
from tests.support.moto_server import KEY, REGION, shared_moto
from tests.support.older_dynamodb import OlderProducer
from tests.support.producer import write_payload
from tests.support.scenario import Variables, delivery
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(300)

DOC = Path(__file__).parents[2] / "docs" / "cutover.md"
SCENE = re.compile(r"<!-- scene: (?P<scene>.+?) -->\n```console\n(?P<text>.*?)```", re.DOTALL)
TEST_MESSAGE = "5f0c3d0e-6f4b-4c3a-9a53-0e5c3c1d7a01"
PARKED = "7a1e0c52-0f0e-4f6c-8a5f-3f0a64a1c002"
POISONED = "7a1e0c52-0f0e-4f6c-8a5f-3f0a64a1c003"
DAY, HERE = "24.0 h", "60 min"
"""What the text waits for, and what is waited for here: a day of minutes is more than moto can carry."""
QUIET = 60
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Command:
    """One `$` line with what is shown beneath it.

    Arguments:
        lines: what it prints; `…` alone stands for any lines, within a line for any words.
        code: None for one that prints nothing of its own (`export`).
    """

    words: str
    lines: tuple[str, ...]
    code: int | None


def commands(text: str) -> list[Command]:
    """The commands of a block."""
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        words, *lines = part.replace(DAY, HERE).splitlines()
        codes = [int(line.removeprefix("# exit code ")) for line in lines if line.startswith("# exit code ")]
        found.append(Command(words, tuple(line for line in lines if not line.startswith("#")), next(iter(codes), None)))
    return found


def pattern(lines: tuple[str, ...]) -> re.Pattern[str]:
    """What is printed, with any amount of blanks between words."""
    parts = []
    for line in lines:
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            words = [re.escape(word).replace("…", "[^\\n]*?") for word in line.split()]
            parts.append(r"[ ]*" + r"[ ]+".join(words).replace("[ ]+[^\\n]*?", "[^\\n]*?") + r"[ ]*\n")
    return re.compile("".join(parts))


class Scenes:
    """Makes the world what the text says it is at that place. Scenes go on from one another."""

    def __init__(self, stage: CutoverStage, mysql: Variables, folder: Path, server: PrivateMariadb) -> None:
        self.stage = stage
        self.mysql = mysql
        self.folder = folder
        self.server = server
        self.producer = OlderProducer(stage.records)

    def make(self, scene: str) -> Callable[[], Awaitable[None]]:
        """By the words of the text."""
        found: Callable[[], Awaitable[None]] = getattr(self, re.sub(r"\W+", "_", scene).lower())
        return found

    async def disable_is_asked_for_in_phase_1(self) -> None:
        settings = await mariadb.new_database(self.server)
        self.stage.variables |= {
            **self.mysql,
            "MYSQL_DATABASE": settings.mysql_database,
            "MYSQL_PIPELINES_ENABLED": "true",
        }
        await self.stage.note(OLD, range(30), entered=2, left=2)
        await self.stage.note(NEW, range(30), entered=1, left=1)

    async def a_table_with_a_past(self) -> None:
        for name in (*self.mysql, "MYSQL_PIPELINES_ENABLED"):
            del self.stage.variables[name]
        for status in ("READY", "SENT-ACKNOWLEDGED", "INVALID"):
            email_id = str(uuid.uuid4())
            await self.stage.records.put(meta(email_id, status, PayloadFilePath="/payloads/some.json"))
            await self.stage.records.put(status_record(email_id, "ACCEPTED"))

    async def mariadb_is_made_ready(self) -> None:
        self.stage.variables |= self.mysql

    async def both_are_switched_on(self) -> None:
        await self.stage.drain()
        await self.stage.note(OLD, range(3), entered=1, left=1)
        await self.stage.note(NEW, range(3))

    async def a_test_message_goes_through_mariadb(self) -> None:
        (statement,) = re.findall(r"```sql\n(.*?);\n```", DOC.read_text(encoding="utf-8"), re.DOTALL)
        payload = write_payload(self.folder / "test.json", id=TEST_MESSAGE, to="operator@example.com")
        await asyncio.to_thread(self.stage.sql, statement.replace("/payloads/test.json", str(payload)))
        async with ServiceProcess({**self.stage.variables, "MAILCULATOR_REPLICA": "mail-3"}) as service:
            await service.expect("mail.acknowledged")
            assert await service.stop() == 0
        await self.stage.note(OLD, range(3), entered=1, left=1)
        await self.stage.note(NEW, range(3))

    async def the_producer_went_back_to_dynamodb(self) -> None:
        await self.stage.note(NEW, range(20, 30), entered=3, left=3)
        await self.stage.note(OLD, range(3), entered=4, left=4)

    async def dynamodb_drains(self) -> None:
        await self.stage.forget(OLD, NEW)
        waiting = {Status.READY: StatusCount(2, 0, 30.0)}
        await self.stage.note(OLD, range(20, 30), entered=4, left=4, counts=waiting)
        await self.stage.note(OLD, range(20), left=1, counts=waiting)
        await self.stage.note(NEW, range(20), entered=4, left=4)
        for number in range(2):
            await self.stage.put(OLD, f"7a1e0c52-0f0e-4f6c-8a5f-3f0a64a1d00{number}", to(Status.READY))
        await self.stage.control(ProducerLast=milliseconds(timedelta(minutes=20)))
        await self.stage.records.remove([("_mailculator", "sweep")])

    async def mail_is_parked(self) -> None:
        await self.stage.put(OLD, PARKED, to(Status.SENT, SENT_CALLBACK, Park("HTTP 503")))

    async def a_record_is_poisoned(self) -> None:
        await self.stage.records.put({"Id": POISONED, "Status": "_META", "Attributes": "?"})
        await self.stage.sweep()

    async def an_older_consumer_still_runs(self) -> None:
        await self.stage.control(Stopped="3 writes of another consumer within a minute", Foreign=[])

    async def dynamodb_has_been_empty_for_a_day(self) -> None:
        await self.stage.drain()
        await self.stage.control(ProducerLast=milliseconds(26 * HOUR))
        await self.stage.sweep()
        await self.stage.forget(OLD, NEW)
        await self.stage.note(OLD, range(30, QUIET + 3), replicas=("mail-1",))
        await self.stage.note(OLD, range(30))
        await self.stage.note(NEW, range(30), entered=3, left=3)

    async def dynamodb_is_switched_off(self) -> None:
        await self.stage.forget(OLD, NEW)
        await self.stage.note(OLD, range(20, 30))
        await self.stage.note(NEW, range(20), entered=3, left=3, notes={"stores": NEW, "guard": "on"})

    async def somebody_still_writes_to_dynamodb(self) -> None:
        await self.producer.put(str(uuid.uuid4()), "/payloads/some.json", int(time.time()) + 3600)

    async def dynamodb_is_switched_on_again(self) -> None:
        await self.stage.drain()
        await self.stage.note(OLD, range(14))
        await self.stage.note(NEW, range(14), entered=3, left=3)


@pytest.fixture
async def scenes(
    mariadb_server: PrivateMariadb, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> AsyncIterator[Scenes]:
    name = f"cutover_{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(mariadb.execute, mariadb_server, "mysql", f"CREATE DATABASE {name}")
    mysql: Variables = {
        "MYSQL_HOST": mariadb_server.host,
        "MYSQL_PORT": mariadb_server.port,
        "MYSQL_USER": mariadb_server.user,
        "MYSQL_DATABASE": name,
    }
    async with shared_moto() as moto, plain_client(moto.endpoint) as client:
        records = Records(client, f"cutover-{uuid.uuid4().hex[:8]}")
        await records.create()
        variables: Variables = {
            "DYNAMODB_PIPELINES_ENABLED": "true",
            "MAILCULATOR_CUTOVER_QUIET": QUIET * 60,
            "EMAIL_OUTBOX_TABLE": records.table,
            "AWS_BASE_ENDPOINT": moto.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            **delivery(callback, relay.port),
        }
        code, out, err = await type_in("schema", "apply", "--store", "dynamodb", variables=variables)
        assert code == 0, out + err

        def sql(statement: str) -> object:
            return mariadb.execute(mariadb_server, name, statement)

        yield Scenes(CutoverStage(records, variables, sql), mysql, tmp_path, mariadb_server)
        await records.drop()
    await asyncio.to_thread(mariadb.execute, mariadb_server, "mysql", f"DROP DATABASE {name}")


async def test_every_command_does_what_the_text_says(scenes: Scenes) -> None:
    blocks = [(match["scene"], commands(match["text"])) for match in SCENE.finditer(DOC.read_text(encoding="utf-8"))]
    assert len(blocks) >= 14
    for scene, block in blocks:
        await scenes.make(scene)()
        for command in block:
            if command.words.startswith("export "):
                variable, _, value = command.words.removeprefix("export ").partition("=")
                scenes.stage.variables[variable] = value
                continue
            program, *arguments = shlex.split(command.words)
            code, out, err = await type_in(*arguments, variables=scenes.stage.variables)
            shown = f"{scene}: $ {command.words}\n{out}{err}"
            assert program == "mailculator"
            assert code == command.code, f"exit code {code} instead of {command.code}, {shown}"
            assert pattern(command.lines).fullmatch(out), f"not what is written: {command.lines}, {shown}"


def test_no_command_stands_outside_of_a_scene() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert text.count("```console") == len(SCENE.findall(text))
    tested = {" ".join(shlex.split(one.words)) for match in SCENE.finditer(text) for one in commands(match["text"])}
    for block in re.findall(r"```\n(mailculator .*?)```", text, re.DOTALL):
        assert {line for line in block.splitlines() if line} <= tested
    for inline in re.findall(r"`(mailculator [^`]*)`", text):
        assert inline in tested
    silent = [one for block in SCENE.findall(text) for one in commands(block[1]) if one.code is None]
    assert all(one.words.startswith("export ") for one in silent)
