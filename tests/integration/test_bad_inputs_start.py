"""Bad inputs 42 to 46 and 49 by their numbers (docs/bad-inputs.md): what a start is refused for, in real processes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from mailculator.config import Settings, load, unknown_variables
from mailculator.errors import ConfigError
from mailculator.stores.sqlite_schema import SqliteSchema
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.smtp import SmtpRelay
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

GOOD = {
    "SQLITE_PIPELINES_ENABLED": "true",
    "SMTP_HOST": "relay.example.com",
    "SMTP_FROM": "bounces@example.com",
    "PIPELINE_CALLBACK_URL": "https://producer.example.com/callbacks",
}
CANARY = "hunter2-canary"


async def run(tmp_path: Path, **variables: str) -> ServiceProcess:
    """A service with these settings, which has ended by itself; its exit code is 78."""
    service = ServiceProcess({**GOOD, "SQLITE_PATH": tmp_path / "queue.db", **variables})
    await service.start(until_started=False)
    try:
        async with asyncio.timeout(60):
            code = await service.wait()
    finally:
        if service.process.returncode is None:
            service.process.kill()
            await service.wait()
    assert code == 78, service.errors
    assert "Traceback" not in service.errors
    return service


async def refused(tmp_path: Path, **variables: str) -> list[str]:
    """The lines on standard error that a service ends with whose settings are wrong."""
    service = await run(tmp_path, **variables)
    assert service.lines == [], "nothing was begun"
    return service.errors.splitlines()


def told(**environ: str) -> dict[str, str]:
    """Variable → message of everything that is wrong."""
    with pytest.raises(ConfigError) as caught:
        load({**GOOD, **environ})
    return {problem.variable: problem.message for problem in caught.value.problems}


async def test_bad_input_42_all_that_is_wrong_is_told_at_once_by_name(tmp_path: Path) -> None:
    wrong = {
        "SMTP_HOST": "",
        "SMTP_PORT": "abc",
        "MYSQL_PORT": "70000",
        "PIPELINE_INTERVAL": "1e9",
        "MYSQL_TLS": "yes please",
        "SMTP_ALLOW_INSECURE_TLS": "yes please",
    }
    lines = await refused(tmp_path, SMTP_PASS=CANARY, **wrong)
    found = {line.split(":", 1)[0].strip() for line in lines}
    assert set(wrong) <= found
    assert not any(CANARY in line for line in lines)
    assert not (tmp_path / "queue.db").exists()


@pytest.mark.parametrize(
    ("variable", "values"),
    [
        ("SMTP_PORT", ["abc", "0", "70000", "-1", "25.5"]),
        ("MYSQL_PORT", ["abc", "0", "70000"]),
        ("PIPELINE_INTERVAL", ["0", "-1", "1e9", "nan", "soon"]),
        ("MAILCULATOR_SMTP_CONNECTIONS", ["0", "-3"]),
        ("MYSQL_PIPELINES_ENABLED", ["yes please", "2"]),
        ("SMTP_HOST", ["", "smtp://relay", "relay:25"]),
    ],
)
def test_bad_input_42_each_by_itself(variable: str, values: list[str]) -> None:
    for value in values:
        assert set(told(**{variable: value})) == {variable}


def test_bad_input_42_no_queue_switched_on_and_a_number_of_tries_that_nobody_reads() -> None:
    off = {"SQLITE_PIPELINES_ENABLED": "false", "MYSQL_PIPELINES_ENABLED": "false"}
    assert set(told(**off)) == {"MYSQL_PIPELINES_ENABLED"}
    # How often a mail is tried is no setting: age decides. A name with our prefix is told, another program's is not.
    (sentence,) = unknown_variables({"MAILCULATOR_MAX_RETRIES": "0", "MAX_RETRIES": "0"})
    assert sentence.startswith("MAILCULATOR_MAX_RETRIES is not a setting")


ODD_SECRETS = ['p"w', "#pw", "$HOME${X}", "p@w", "two\nlines\n", "100%s%(x)s", " blanks ", "\\n", "'`$(x)`"]


@pytest.mark.parametrize("secret", ODD_SECRETS, ids=ascii)
async def test_bad_input_43_a_password_of_any_characters_logs_in(secret: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(secret + "\n")
    account = {"SMTP_USER": "we", "SMTP_HOST": "127.0.0.1", "MAILCULATOR_SMTP_TLS": "none"}
    for given in ({"SMTP_PASS": secret}, {"SMTP_PASS_FILE": str(tmp_path / "secret")}):
        settings: Settings = load({**GOOD, **account, **given})
        password = settings.smtp_pass.get_secret_value()
        async with SmtpPeer(users={"we": secret}) as peer:
            relay = SmtpRelay(
                RelaySettings("127.0.0.1", peer.port, tls="none", user="we", password=password), settings.timing
            )
            await relay.ping()
            await relay.close()
            assert peer.logins == 1


URLS = [
    "ftp://host/x",
    "file:///etc/passwd",
    "http://user:pw@host/",
    "http:///x",
    "http://169.254.169.254/latest",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://0xA9FEA9FE/",
    "http://2852039166/",
    "http://168.63.129.16/",
    "http://host:0/",
    "http://ho st/",
]


@pytest.mark.parametrize("url", URLS)
def test_bad_input_44_a_callback_url_that_leads_nowhere_good(url: str) -> None:
    found = told(PIPELINE_CALLBACK_URL=url)
    assert set(found) == {"PIPELINE_CALLBACK_URL"}
    assert url not in found["PIPELINE_CALLBACK_URL"]


async def test_bad_input_44_https_where_it_is_required(tmp_path: Path) -> None:
    url = f"http://producer.example.com/?token={CANARY}"
    lines = await refused(tmp_path, PIPELINE_CALLBACK_URL=url, MAILCULATOR_CALLBACK_REQUIRE_HTTPS="true")
    assert any("PIPELINE_CALLBACK_URL: must begin with https://" in line for line in lines)
    assert not any(CANARY in line for line in lines)


async def test_bad_input_45_a_password_in_clear_to_another_machine(tmp_path: Path) -> None:
    plain = {"MAILCULATOR_SMTP_TLS": "none", "SMTP_USER": "u", "SMTP_PASS": CANARY}
    lines = await refused(tmp_path, **plain)
    assert any("MAILCULATOR_SMTP_TLS" in line for line in lines)
    assert not any(CANARY in line for line in lines)
    assert load({**GOOD, **plain, "SMTP_HOST": "127.0.0.1"}).smtp_user == "u"
    assert load({**GOOD, **plain, "MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH": "true"}).smtp_user == "u"


@pytest.mark.parametrize("lease", ["0", "5", "14.9", "3601", "-90"])
def test_bad_input_45_a_lease_too_short_to_be_renewed(lease: str) -> None:
    assert set(told(MAILCULATOR_LEASE=lease)) == {"MAILCULATOR_LEASE"}


@pytest.mark.parametrize("lease", ["15", "90", "3600"])
def test_bad_input_45_a_lease_is_three_heartbeats_whatever_it_is(lease: str) -> None:
    timing = load({**GOOD, "MAILCULATOR_LEASE": lease}).timing
    assert timing.lease >= 3 * timing.renew_every > 0


async def test_bad_input_46_base_directories_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lines = await refused(tmp_path, ATTACHMENTS_BASE_PATH=str(tmp_path / "file"), EML_STORAGE_PATH="relative")
    assert {line.split(":", 1)[0].strip() for line in lines} >= {"ATTACHMENTS_BASE_PATH", "EML_STORAGE_PATH"}


@pytest.mark.parametrize("variable", ["ATTACHMENTS_BASE_PATH", "EML_STORAGE_PATH"])
def test_bad_input_46_each_by_itself(variable: str, tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("/")
    for path in ("/", "/tmp/..", "data", "./data", str(tmp_path / "gone"), str(tmp_path / "root")):
        assert set(told(**{variable: path})) == {variable}


@pytest.mark.parametrize("directory", ["file", "not mounted/journal"])
async def test_bad_input_46_a_journal_that_cannot_be_kept(tmp_path: Path, directory: str) -> None:
    (tmp_path / "file").touch()
    lines = await refused(tmp_path, MAILCULATOR_JOURNAL_DIR=str(tmp_path / directory))
    assert any("MAILCULATOR_JOURNAL_DIR" in line and directory in line for line in lines), lines


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE mailculator_meta SET value = '99.0' WHERE name = 'oldest_service'", "99.0"),
        ("DROP TABLE mailculator_schema", "mailculator schema apply"),
        ("DELETE FROM mailculator_schema WHERE name LIKE '0002%'", "mailculator schema apply"),
        ("ALTER TABLE emails DROP COLUMN claim_token", "emails lacks the column claim_token"),
        ("DROP TABLE email_status_history", "email_status_history is missing"),
    ],
)
async def test_bad_input_49_a_queue_without_its_schema_or_with_a_later_one(
    tmp_path: Path, change: str, words: str
) -> None:
    path = tmp_path / "queue.db"
    await SqliteSchema(path).apply(lambda _: None)
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    service = await run(tmp_path)
    said = service.errors + json.dumps([line for line in service.lines if line["level"] != "info"])
    assert "sqlite" in said
    assert words in said
