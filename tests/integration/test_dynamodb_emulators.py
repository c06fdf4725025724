"""What the tests of the DynamoDB store stand on: moto made safe, a plain client's records, DynamoDB Local's helper."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support import dynamodb_local
from tests.support.dynamodb_records import FAR, Records, expired, meta, older, plain_client, status_record
from tests.support.moto_server import shared_moto

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
async def endpoint() -> AsyncIterator[str]:
    if named := os.environ.get(dynamodb_local.ENDPOINT):
        yield named
        return
    async with shared_moto() as server:
        yield server.endpoint


@pytest.fixture
async def records(endpoint: str) -> AsyncIterator[Records]:
    async with plain_client(endpoint) as client:
        table = Records(client, f"mailculator-emulator-{os.getpid()}-{next(_numbers)}")
        await table.create()
        yield table
        await table.drop()


def code(answer: object) -> str:
    assert isinstance(answer, ClientError), answer
    return str(answer.response["Error"]["Code"])


@pytest.mark.dynamodb
async def test_of_many_conditional_writes_at_once_one_wins(records: Records) -> None:
    for number in range(5):
        await records.put(meta(f"email-{number}", "ACCEPTED"))

        answers = await asyncio.gather(
            *(
                records.update(
                    f"email-{number}",
                    "SET #A.#Latest = :to, #Token = :me",
                    "#A.#Latest = :from",
                    **{"to": "INTAKING", "from": "ACCEPTED", "me": str(writer)},
                )
                for writer in range(20)
            ),
            return_exceptions=True,
        )

        winners = [writer for writer, answer in enumerate(answers) if answer is None]
        assert len(winners) == 1
        assert {code(answer) for answer in answers if answer is not None} == {"ConditionalCheckFailedException"}
        stored = await records.get(f"email-{number}")
        assert stored is not None
        assert stored["Token"] == str(winners[0])


@pytest.mark.dynamodb
async def test_transactions_at_once_neither_break_nor_undo_each_other(records: Records) -> None:
    """Without the lock moto answers some of these with HTTP 500, and lets a failing one undo another's success."""
    ids = [f"email-{number}" for number in range(10)]
    for email_id in ids:
        await records.put(meta(email_id, "READY"))

    def claim(email_id: str) -> Awaitable[None]:
        moving = records.moving(
            email_id, "SET #A.#Latest = :to", "#A.#Latest = :from", **{"to": "PROCESSING", "from": "READY"}
        )
        return records.transact(moving, records.putting(status_record(email_id, "PROCESSING")))

    answers = await asyncio.gather(*(claim(email_id) for email_id in ids * 3), return_exceptions=True)

    refused = [answer for answer in answers if answer is not None]
    assert len(refused) == 2 * len(ids)
    assert {code(answer) for answer in refused} <= {"TransactionCanceledException", "TransactionConflictException"}
    assert {item["Attributes"]["Latest"] for item in await records.emails()} == {"PROCESSING"}
    assert len(await records.all()) == 2 * len(ids)


async def test_motos_answers_tell_the_time_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of this process, which a test may have changed to see that nobody goes by it."""
    async with shared_moto() as server, plain_client(server.endpoint) as client:
        monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
        answer = await client.list_tables()
        monkeypatch.undo()

    date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert abs(date.timestamp() - time.time()) < 60


@pytest.mark.dynamodb
async def test_a_table_of_any_size_is_read_whole(records: Records) -> None:
    """A page of a scan ends at a megabyte."""
    padding = "x" * 300_000
    for number in range(9):
        await records.put({**meta(f"email-{number}", "READY"), "Padding": padding})

    assert len(await records.emails()) == 9
    await records.remove([(item["Id"], item["Status"]) for item in await records.all()])
    assert await records.all() == []


# Making records older


def test_every_time_of_a_record_gets_older_and_nothing_else() -> None:
    item = {
        "Id": "1",
        "Status": "_META",
        "TTL": 5_000,
        "Attributes": {
            "Latest": "READY",
            "CreatedAt": "2026-11-20T08:00:00Z",
            "UpdatedAt": "2026-11-20T10:01:00+02:00",
            "Reason": "2026-11-20T08:00:00Z said the relay",
            "TTL": 7_000,
        },
        "Seen": "2026-11-20T10:01:00+02:00",
        "Version": 3,
        "DueAt": 100_000,
        "LeaseUntil": 200_000,
        "LeaseFor": 60_000,
        "FailingSince": 300_000,
        "ReachedAt": 400_000,
        "Expires": 6_000,
        "Hist": ["|ACCEPTED|90000|", "2|INTAKING|91000|@tester", "3|READY|92000|a | b"],
    }

    assert older(item, 60) == {
        "Id": "1",
        "Status": "_META",
        "TTL": 4_940,
        "Attributes": {
            "Latest": "READY",
            "CreatedAt": "2026-11-20T07:59:00Z",
            "UpdatedAt": "2026-11-20T10:00:00+02:00",
            "Reason": "2026-11-20T08:00:00Z said the relay",
            "TTL": 6_940,
        },
        "Seen": "2026-11-20T10:00:00+02:00",
        "Version": 3,
        "DueAt": 40_000,
        "LeaseUntil": 140_000,
        "LeaseFor": 60_000,
        "FailingSince": 240_000,
        "ReachedAt": 340_000,
        "Expires": 5_940,
        "Hist": ["|ACCEPTED|30000|", "2|INTAKING|31000|@tester", "3|READY|32000|a | b"],
    }


def test_a_ttl_that_is_out_of_the_way_stays_there() -> None:
    assert older({"TTL": FAR}, 60) == {"TTL": FAR}


@pytest.mark.parametrize(
    ("ttl", "deleted"),
    [(999_999_999, True), (1_000_000_000, False), (FAR, False), (1, False), ("999999999", False), (None, False)],
    ids=["past", "now", "far", "over five years past", "text", "null"],
)
def test_dynamodb_deletes_what_is_past_its_ttl_but_not_by_long(ttl: object, deleted: bool) -> None:
    assert expired({"TTL": ttl}, 1_000_000_000) is deleted
    assert expired({}, 1_000_000_000) is False


# A command beside DynamoDB Local

ECHO = "import os; print(os.environ['DYNAMODB_TEST_ENDPOINT']); raise SystemExit(3)"


def beside(*command: str, endpoint: str | None, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    environment.pop(dynamodb_local.ENDPOINT, None)
    if endpoint is not None:
        environment[dynamodb_local.ENDPOINT] = endpoint
    return subprocess.run(
        [sys.executable, "-m", "tests.support.dynamodb_local", *command],
        cwd=dynamodb_local.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_one_that_is_running_is_used(endpoint: str) -> None:
    done = beside(sys.executable, "-c", ECHO, endpoint=endpoint)

    assert (done.returncode, done.stdout, done.stderr) == (3, f"{endpoint}\n", "")


def test_one_that_does_not_answer_is_said_to(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        gone = f"http://127.0.0.1:{closed.server_port}"

    done = beside("touch", str(tmp_path / "ran"), endpoint=gone)

    assert done.returncode == 69
    assert done.stderr == f"nothing answers at DYNAMODB_TEST_ENDPOINT={gone}\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_lacking_is_said_and_nothing_runs(tmp_path: Path) -> None:
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name in ("bash", "env", "dirname"):
        (stubs / name).symlink_to(Path("/usr/bin") / name)

    done = beside(str(tmp_path / "never"), endpoint=None, path=str(stubs))

    assert done.returncode == 69
    assert "there is no java" in done.stderr


JAVA = """
import http.server, sys
arguments = sys.argv[1:]
assert "-inMemory" in arguments and "-sharedDb" in arguments and "-disableTelemetry" in arguments, arguments
port = int(arguments[arguments.index("-port") + 1])
http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler).serve_forever()
"""


def stub_java(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    java = folder / "java"
    java.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_server_is_started_and_ended_by_its_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_java(tmp_path, monkeypatch, JAVA)
    local = dynamodb_local.DynamodbLocal(tmp_path)
    # That one answers with 501 to a GET, and the real one with 400: whatever speaks HTTP is up.
    local.start()
    pid = local.pid
    assert pid is not None
    assert dynamodb_local.answers(local.endpoint)

    local.close()
    local.close()

    assert not dynamodb_local.answers(local.endpoint)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_last_words_of_one_that_does_not_come_up_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_java(tmp_path, monkeypatch, "raise SystemExit('no space left for a heap')")

    with pytest.raises(dynamodb_local.Unavailable, match="no space left for a heap"):
        dynamodb_local.DynamodbLocal(tmp_path).start()


def test_a_command_is_needed() -> None:
    assert beside(endpoint=None).returncode == 2
