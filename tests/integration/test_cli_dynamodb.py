"""dynamodb adopt and resume, as operators type them, on a table that the older service has worked on for long."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from mailculator.cli.dynamodb import Teller
from mailculator.cli.progress import TELL_EVERY
from mailculator.stores.dynamodb.control import CONTROL
from mailculator.stores.dynamodb.sweep import Adoption
from tests.integration.cli_shell import type_in
from tests.support.dynamodb_records import OWN, Records, meta, plain_client, status_record
from tests.support.moto_server import KEY, REGION, MotoServer, shared_moto
from tests.support.service import ROOT, environment

pytestmark = pytest.mark.timeout(300)


@dataclass
class Desk:
    """A table, and a shell whose environment names it."""

    records: Records
    variables: dict[str, object]

    async def type(self, *arguments: str) -> tuple[int, str, str]:
        return await type_in("dynamodb", *arguments, variables=self.variables)

    async def past(self, *statuses: str) -> list[str]:
        """Emails as the older service leaves them, each with its ACCEPTED record."""
        ids = [str(uuid.uuid4()) for _ in statuses]
        for email_id, status in zip(ids, statuses, strict=True):
            await self.records.put(meta(email_id, status, PayloadFilePath="/payload.json"))
            await self.records.put(status_record(email_id, "ACCEPTED"))
        return ids

    async def inbox(self) -> int:
        return sum(item["Status"] == "ACCEPTED" for item in await self.records.all())


@pytest.fixture(scope="session")
async def moto() -> AsyncIterator[MotoServer]:
    async with shared_moto() as running:
        yield running


@pytest.fixture
async def desk(moto: MotoServer) -> AsyncIterator[Desk]:
    async with plain_client(moto.endpoint) as client:
        records = Records(client, f"cli-{uuid.uuid4()}")
        await records.create()
        variables: dict[str, object] = {
            "EMAIL_OUTBOX_TABLE": records.table,
            "AWS_BASE_ENDPOINT": moto.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
        }
        code, out, err = await type_in("schema", "apply", "--store", "dynamodb", variables=variables)
        assert code == 0, out + err
        yield Desk(records, variables)
        await records.drop()


async def test_adopt_goes_through_the_past_and_says_what_it_did(desk: Desk) -> None:
    ready, *_ = await desk.past("READY", "SENT-ACKNOWLEDGED", "INVALID")

    code, out, err = await desk.type("adopt")

    assert (code, err) == (0, "")
    assert out == "3 records seen, 1 emails taken up, 3 ACCEPTED records gone, everything gone through\n"
    assert await desk.inbox() == 0
    record = await desk.records.get(ready)
    assert record is not None
    assert record["WorkKey"].startswith("send#")


async def test_adopt_is_one_document_and_can_be_repeated(desk: Desk) -> None:
    await desk.past("SENT-ACKNOWLEDGED", "FAILED-ACKNOWLEDGED")

    code, out, err = await desk.type("adopt", "--rate", "500", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"seen": 2, "adopted": 0, "cleared": 2, "left": 0, "done": True}

    code, out, _ = await desk.type("adopt", "--json")
    assert (code, json.loads(out)["seen"]) == (0, 0)


async def test_adopt_keeps_what_it_is_told_to_keep(desk: Desk) -> None:
    await desk.past("SENT-ACKNOWLEDGED", "READY")
    desk.variables["MAILCULATOR_DYNAMODB_KEEP_ACCEPTED"] = "true"

    code, out, _ = await desk.type("adopt", "--json")

    assert (code, json.loads(out)["cleared"], json.loads(out)["adopted"]) == (0, 0, 1)
    assert await desk.inbox() == 2


async def test_adopt_names_what_it_cannot_take_up(desk: Desk) -> None:
    await desk.past("READY", "DELIVERED")

    code, out, _ = await desk.type("adopt")

    assert code == 0
    assert "1 emails taken up" in out
    assert "1 left: nobody can work on them" in out


async def test_adopt_that_is_ended_says_that_it_can_go_on_and_does(desk: Desk) -> None:
    await desk.past(*["SENT-ACKNOWLEDGED"] * 12)
    # One record a second: the end is seconds away, on a busy machine too.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailculator", "dynamodb", "adopt", "--rate", "1",
        env=environment(**desk.variables), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    first = (await process.stderr.readline()).decode()
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()

    assert (process.returncode, out) == (130, b"")
    assert first.startswith("1 records seen")
    assert err.decode().splitlines()[-1].startswith("ended before everything was gone through; run it again")
    left = await desk.inbox()
    assert 0 < left < 12

    code, text, _ = await desk.type("adopt", "--json")
    assert (code, json.loads(text)["seen"], await desk.inbox()) == (0, left, 0)


async def test_a_table_without_a_schema_is_told_in_words(desk: Desk) -> None:
    desk.variables["EMAIL_OUTBOX_TABLE"] = "nowhere"
    for words in (["adopt"], ["resume", "--why", "x"]):
        code, out, err = await desk.type(*words)
        assert (code, out) == (78, "")
        assert "run: mailculator schema apply" in err
        assert len(err.splitlines()) == 1


async def stop(desk: Desk) -> None:
    await desk.records.put({"Id": OWN, "Status": CONTROL, "Stopped": "3 writes of another consumer", "Version": 1})


async def control(desk: Desk) -> dict[str, Any]:
    return await desk.records.get(OWN, CONTROL) or {}


async def test_resume_lets_claims_go_on_and_keeps_who_and_why(desk: Desk) -> None:
    await stop(desk)

    code, out, err = await desk.type("resume", "--why", "the old task is gone", "--as", "Ada")

    assert (code, out, err) == (0, "claims from DynamoDB go on\n", "")
    kept = await control(desk)
    assert "Stopped" not in kept
    assert kept["Resumed"] == "resumed by Ada: the old task is gone"


async def test_resume_of_what_was_not_stopped_changes_nothing(desk: Desk) -> None:
    before = await control(desk)
    assert await desk.type("resume", "--why", "x") == (
        0,
        "nothing had stopped them: claims from DynamoDB go on\n",
        "",
    )
    code, out, _ = await desk.type("resume", "--why", "x", "--json")
    assert (code, json.loads(out)) == (0, {"resumed": False})
    assert await control(desk) == before

    await stop(desk)
    code, out, _ = await desk.type("resume", "--why", "x", "--json")
    assert (code, json.loads(out)) == (0, {"resumed": True})


def test_progress_is_told_now_and_then_and_not_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    tell = Teller(clock=lambda: now)

    for seconds in (0.0, 0.1, TELL_EVERY - 0.1, 0.1):
        now += seconds
        tell(Adoption(seen=int(now)))
    now += TELL_EVERY
    tell(Adoption(seen=1, done=True))

    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["100", "105"]
