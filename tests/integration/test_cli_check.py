"""check: everything up, each dependency down, and what is only worth a warning."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailculator.cli import output
from mailculator.cli.checks import Finding, Verdict, exit_code, judge_server
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.lifecycle import SENDER
from mailculator.stores.base import Ping
from mailculator.stores.dynamodb import layout
from tests.integration.cli_shell import type_in
from tests.support import mariadb
from tests.support.callback_peer import CallbackPeer
from tests.support.certificates import Certificates
from tests.support.dynamodb_records import Records, meta, now, plain_client
from tests.support.moto_server import KEY, REGION, MotoServer, shared_moto
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(300)

Variables = dict[str, object]


@pytest.fixture
async def relay() -> AsyncIterator[SmtpPeer]:
    async with SmtpPeer() as peer:
        yield peer


@pytest.fixture
async def callback() -> AsyncIterator[CallbackPeer]:
    async with CallbackPeer() as peer:
        yield peer


@pytest.fixture
async def variables(tmp_path: Path, relay: SmtpPeer, callback: CallbackPeer) -> Variables:
    """A SQLite queue with its schema, a relay and a callback URL, all of them up."""
    found: Variables = {
        "SQLITE_PIPELINES_ENABLED": "true",
        "SQLITE_PATH": tmp_path / "queue.db",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": relay.port,
        "SMTP_FROM": "bounces@example.com",
        "MAILCULATOR_SMTP_TLS": "none",
        "PIPELINE_CALLBACK_URL": callback.url,
    }
    code, out, err = await type_in("schema", "apply", variables=found)
    assert code == 0, out + err
    return found


async def check(variables: Variables) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and verdict and detail by subject."""
    code, out, err = await type_in("check", "--json", variables=variables)
    assert err == ""
    findings: list[dict[str, Any]] = json.loads(out)
    return code, {one["subject"]: (one["verdict"], one["detail"]) for one in findings}


async def test_with_everything_up(variables: Variables, relay: SmtpPeer, callback: CallbackPeer) -> None:
    code, found = await check(variables)

    assert code == 0
    assert {subject: verdict for subject, (verdict, _) in found.items()} == {
        "settings": "ok",
        "sqlite schema": "ok",
        "sqlite": "ok",
        "sqlite histories": "ok",
        "smtp": "ok",
        "callback": "ok",
        "journal": "ok",
    }
    assert callback.calls == [], "nothing may be posted"
    assert relay.accepted == []
    code, out, err = await type_in("check", variables=variables)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["verdict", "subject", "detail"]


async def test_a_journal_that_cannot_be_kept(variables: Variables, tmp_path: Path) -> None:
    nowhere = tmp_path / "not mounted" / "journal"
    code, found = await check(variables | {"MAILCULATOR_JOURNAL_DIR": nowhere})
    assert (code, found["journal"][0]) == (78, "config")
    assert str(nowhere.parent) in found["journal"][1]
    there = tmp_path / "journal"
    there.mkdir()
    code, found = await check(variables | {"MAILCULATOR_JOURNAL_DIR": there})
    assert (code, found["journal"]) == (0, ("ok", f"{there} takes writes"))
    assert list(there.iterdir()) == []
    code, found = await check(variables | {"MAILCULATOR_JOURNAL_DIR": "/proc"})
    assert (code, found["journal"][0]) == (69, "down")


async def test_each_dependency_that_is_down_is_named(
    variables: Variables, relay: SmtpPeer, callback: CallbackPeer
) -> None:
    await relay.stop()
    await callback.stop()
    code, found = await check(variables)
    assert code == 69
    assert found["smtp"][0] == found["callback"][0] == "down"
    assert str(relay.port) in found["smtp"][1]
    assert str(callback.port) in found["callback"][1]
    assert found["sqlite"][0] == "ok"


async def test_a_database_that_is_away_is_down(variables: Variables) -> None:
    mysql = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": 1, "MYSQL_USER": "u", "MYSQL_DATABASE": "d"}
    code, found = await check({**variables, **mysql, "MYSQL_PIPELINES_ENABLED": "true"})
    assert code == 69
    assert found["mysql"][0] == "down"
    assert "d on 127.0.0.1:1" in found["mysql"][1]
    assert found["sqlite"][0] == found["smtp"][0] == "ok"


async def test_a_relay_that_refuses_the_password_is_down(variables: Variables, relay: SmtpPeer) -> None:
    relay.users = {"alice": "right"}
    code, found = await check({**variables, "SMTP_USER": "alice", "SMTP_PASS": "wrong"})
    assert code == 69
    assert found["smtp"][0] == "down"
    assert "535" in found["smtp"][1]
    assert "wrong" not in found["smtp"][1]


async def test_the_callbacks_certificate_is_verified(variables: Variables, certificates: Certificates) -> None:
    async with CallbackPeer(tls=certificates.server("127.0.0.1")) as peer:
        unknown = {**variables, "PIPELINE_CALLBACK_URL": peer.url}
        code, found = await check(unknown)
        assert code == 69
        assert found["callback"][0] == "down"
        assert "certificate" in found["callback"][1]

        code, found = await check({**unknown, "MAILCULATOR_CALLBACK_CA_FILE": certificates.ca_file})
        assert (code, found["callback"][0]) == (0, "ok")
        assert peer.calls == []


async def test_a_missing_schema_is_exit_code_78_before_69(
    variables: Variables, relay: SmtpPeer, tmp_path: Path
) -> None:
    await relay.stop()
    code, found = await check({**variables, "SQLITE_PATH": tmp_path / "other.db"})
    assert code == 78
    assert found["sqlite schema"][0] == "config"
    assert "run: mailculator schema apply" in found["sqlite schema"][1]
    assert found["smtp"][0] == "down"
    assert not (tmp_path / "other.db").exists()


async def test_what_the_schema_lacks_is_named(variables: Variables) -> None:
    with sqlite3.connect(str(variables["SQLITE_PATH"])) as connection:
        connection.execute("DROP INDEX emails_due")
    connection.close()
    _, found = await check(variables)
    verdict, detail = found["sqlite schema"]
    assert verdict in {"warn", "config"}
    assert "emails_due" in detail


async def test_bad_input_48_a_gap_in_a_history_is_reported(variables: Variables) -> None:
    with sqlite3.connect(str(variables["SQLITE_PATH"])) as connection:
        connection.execute("INSERT INTO emails (id, status, version) VALUES ('odd', 'READY', 3)")
        connection.execute(
            "INSERT INTO email_status_history (email_id, status, version) VALUES ('odd', 'READY', 3)",
        )
    connection.close()
    code, found = await check(variables)
    assert code == output.FAILURE
    assert found["sqlite histories"] == ("wrong", "1 of 1 emails looked at: odd lacks version 2")


async def test_a_misspelt_variable_is_a_warning(variables: Variables) -> None:
    code, out, _ = await type_in("check", variables={**variables, "MAILCULATOR_BATCHSIZE": 7})
    assert code == 0
    assert "warn     settings" in out
    assert "MAILCULATOR_BATCHSIZE" in out


async def test_a_kind_of_server_that_is_not_tested_is_named(variables: Variables, tmp_path: Path) -> None:
    data = tmp_path / "m"
    async with PrivateMariadb(data) as server:
        database = (await mariadb.new_database(server)).mysql_database
    # The same data under a server that calls itself by another number.
    async with PrivateMariadb(data, arguments=("--version=11.4.2-MariaDB",)) as server:
        mysql = {
            "MYSQL_PIPELINES_ENABLED": "true",
            "MYSQL_HOST": server.host,
            "MYSQL_PORT": server.port,
            "MYSQL_USER": server.user,
            "MYSQL_DATABASE": database,
        }
        code, found = await check({**variables, **mysql})
    assert code == 0
    verdict, detail = found["mysql"]
    assert verdict == "warn"
    assert "MariaDB 11.4.2" in detail
    assert "not tested against" in detail


@pytest.fixture(scope="session")
async def moto() -> AsyncIterator[MotoServer]:
    async with shared_moto() as running:
        yield running


@pytest.fixture
async def table(moto: MotoServer) -> AsyncIterator[Records]:
    """A live table of the older service."""
    async with plain_client(moto.endpoint) as client:
        records = Records(client, f"check-{uuid.uuid4()}")
        await records.create()
        yield records
        await records.drop()


@pytest.fixture
def with_table(variables: Variables, moto: MotoServer, table: Records) -> Variables:
    return {
        **variables,
        "DYNAMODB_PIPELINES_ENABLED": "true",
        "EMAIL_OUTBOX_TABLE": table.table,
        "AWS_BASE_ENDPOINT": moto.endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
    }


async def test_what_a_table_lacks_is_named_until_it_is_applied(
    with_table: Variables, table: Records, moto: MotoServer
) -> None:
    code, found = await check(with_table)
    place = f"{table.table} at {moto.endpoint}"
    assert code == 78
    assert found["dynamodb schema"] == ("config", f"{place}: WorkIndex is missing; run: mailculator schema apply")
    assert found["sqlite"][0] == "ok"

    code, out, err = await type_in("schema", "apply", "--store", "dynamodb", variables=with_table)
    assert code == 0, out + err

    code, found = await check(with_table)
    assert (code, found["dynamodb schema"]) == (0, ("ok", "up to date (0001_work_index)"))
    assert found["dynamodb"][0] == "ok"
    assert found["dynamodb"][1].startswith(f"{place}: DynamoDB")


async def test_a_table_that_is_not_there_is_named(with_table: Variables) -> None:
    code, found = await check({**with_table, "EMAIL_OUTBOX_TABLE": "nowhere"})
    assert code == 78
    assert found["dynamodb schema"][0] == "config"
    assert "the table nowhere does not exist; run: mailculator schema apply" in found["dynamodb schema"][1]


async def test_an_endpoint_that_is_away_is_down(with_table: Variables) -> None:
    code, found = await check({**with_table, "AWS_BASE_ENDPOINT": "http://127.0.0.1:1"})
    assert code == 69
    assert found["dynamodb"][0] == "down"
    assert "no connection to 127.0.0.1:1" in found["dynamodb"][1]
    assert KEY not in found["dynamodb"][1].split()


async def test_peer_mode_is_refused_while_it_would_do_harm(
    with_table: Variables, table: Records, tmp_path: Path
) -> None:
    code, out, err = await type_in("schema", "apply", "--store", "dynamodb", variables=with_table)
    assert code == 0, out + err
    prepared = meta("prepared-here", "READY", version=2, PayloadFilePath="/payload.json")
    seen = {layout.STATE: "READY", layout.SEEN: prepared["Attributes"]["UpdatedAt"], layout.DUE_AT: now() * 1000}
    await table.put({**prepared, **seen, layout.WORK_KEY: layout.work_key(SENDER, "prepared-here")})
    peer = {**with_table, "MAILCULATOR_DYNAMODB_PEER_CONSUMER": "true", "EML_STORAGE_PATH": tmp_path}

    code, found = await check(peer)

    assert code == 78
    verdict, detail = found["dynamodb"]
    assert verdict == "config"
    assert detail.startswith("MAILCULATOR_DYNAMODB_PEER_CONSUMER: prepared-here is READY without an EML file")
    assert (await check(with_table))[0] == 0


@pytest.mark.parametrize(
    ("ping", "verdict"),
    [
        (Ping("MariaDB 10.11.19", tested=True, writable=True, seconds=0.001), "ok"),
        (Ping("MySQL Community Server 8.0.36", tested=False, writable=True, seconds=0.001), "warn"),
        (Ping("MariaDB 10.11.19", tested=True, writable=False, seconds=0.001), "down"),
        (Ping("MySQL Community Server 8.0.36", tested=False, writable=False, seconds=0.001), "down"),
    ],
)
def test_a_server_is_judged_by_its_answer_and_named(ping: Ping, verdict: Verdict) -> None:
    found = judge_server("mysql", "d on db:3306", ping)
    assert found.verdict == verdict
    assert ping.server in found.detail


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["ok"], output.OK),
        (["ok", "warn"], output.OK),
        (["wrong", "ok"], output.FAILURE),
        (["wrong", "down", "warn", "ok"], output.UNAVAILABLE),
        (["down", "config"], output.CONFIG),
    ],
)
def test_the_worst_verdict_decides(verdicts: list[Verdict], code: int) -> None:
    assert exit_code([Finding("it", verdict, "") for verdict in verdicts]) == code
