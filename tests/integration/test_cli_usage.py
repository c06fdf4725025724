"""The command line itself: help, mistyped input, exit codes, pipes and terminals."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from mailculator import __version__
from mailculator.cli.stores import StoreName
from mailculator.stores import registry
from tests.integration.cli_shell import type_in
from tests.support.service import ROOT, ServiceProcess, command, environment

COMMANDS = (
    ["run"],
    ["check"],
    ["status"],
    ["top"],
    ["schema", "apply"],
    ["schema", "status"],
    ["demo"],
    ["enqueue"],
    ["queue", "summary"],
    ["queue", "list"],
    ["queue", "show"],
    ["queue", "why"],
    ["requeue"],
    ["retry"],
    ["park"],
    ["release"],
    ["cancel"],
    ["pause"],
    ["resume"],
    ["drain"],
    ["audit"],
    ["dynamodb", "adopt"],
    ["dynamodb", "resume"],
    ["send-test"],
    ["healthcheck"],
    ["completion"],
    ["version"],
)
ID = "550e8400-e29b-41d4-a716-446655440000"


async def mailculator(*arguments: str, **variables: object) -> tuple[int, str, str]:
    """In a process of its own."""
    return await command(*arguments, environ=environment(**variables))


async def test_help_names_every_command_in_words_that_are_not_cut_short() -> None:
    code, out, err = await mailculator("--help")

    assert (code, err) == (0, "")
    for name in {words[0] for words in COMMANDS}:
        assert re.search(rf"^  {name} +\S", out, re.MULTILINE), name
    assert "..." not in out.replace("[ARGS]...", "")
    assert "--install-completion" not in out
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
async def test_each_command_says_how_it_is_used(words: list[str]) -> None:
    code, out, err = await type_in(*words, "-h", variables={})

    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: mailculator {' '.join(words)} [OPTIONS]")
    options = out.partition("Options:")[2]
    assert "--help" in options
    assert not re.search(r"<[a-z]", options), "a type of Python's instead of a word"
    assert all(len(line) <= 80 for line in out.splitlines())


async def test_without_a_command_it_shows_the_help() -> None:
    code, out, err = await mailculator()
    assert code == 2
    assert (out + err).startswith("Usage: mailculator [OPTIONS] COMMAND")


async def test_version() -> None:
    assert await mailculator("version") == (0, f"mailculator {__version__}\n", "")
    code, out, _ = await mailculator("version", "--json")
    assert (code, json.loads(out)) == (0, {"version": __version__})


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["quue"], "quue"),
        (["queue", "sumary"], "sumary"),
        (["queue", "list", "--limits", "3"], "--limits"),
        (["queue", "list", "--limit", "many"], "--limit"),
        (["queue", "list", "--limit", "0"], "--limit"),
        (["queue", "list", "--status", "delivered"], "SENT-ACKNOWLEDGED"),
        (["queue", "summary", "--store", "postgres"], "--store"),
        (["queue", "show"], "ID"),
        (["requeue", ID], "--why"),
        (["requeue", ID, "--why", " "], "--why"),
        (["release", "--why", "x"], "ID"),
        (["release", ID, "--all", "--why", "x"], "ID"),
        (["park", "--domain", "example.com", "--why", "x"], "--all"),
        (["park", "--all", "--limit", "3", "--why", "x"], "--all"),
        (["park", "--all", "--domain", "no domain", "--why", "x"], "--domain"),
        (["park", "--all", "--status", "processing", "--why", "x"], "READY"),
        (["requeue", "--all", "--why", "x", "--yes"], "--status"),
        (["requeue", "--all", "--status", "failed", "--why", "x"], "--yes"),
        (["cancel", "--all", "--why", "x"], "--yes"),
        (["pause", "sending", "--why", "x"], "sent-callback"),
        (["pause", "--for", "soon", "--why", "x"], "--for"),
        (["pause", "--until", "soon", "--why", "x"], "--until"),
        (["pause", "--for", "1h", "--until", "2026-11-28", "--why", "x"], "--until"),
        (["pause", "--store", "sqlite", "--all-stores", "--why", "x"], "--all-stores"),
        (["resume"], "--why"),
        (["drain", "--timeout", "1h", "--why", "x"], "--timeout"),
        (["completion", "tcsh"], "fish"),
        (["status", "5"], "SECONDS"),
        (["status", "--watch", "--json"], "--json"),
        (["enqueue"], "FILE"),
        (["send-test", "nobody"], "ADDRESS"),
        (["send-test", "a@example.com, b@example.com"], "ADDRESS"),
        (["demo", "--count", "0"], "--count"),
        (["demo", "--store", "oracle"], "--store"),
        (["demo", "--store", "dynamodb"], "--store"),
        (["dynamodb", "adpot"], "adpot"),
        (["dynamodb", "adopt", "--rate", "0"], "--rate"),
        (["dynamodb", "adopt", "--rate", "fast"], "--rate"),
        (["dynamodb", "adopt", "--store", "mysql"], "--store"),
        (["dynamodb", "resume"], "--why"),
        (["dynamodb", "resume", "--why", " "], "--why"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_what_is_mistyped_is_named_with_exit_code_2(arguments: list[str], word: str) -> None:
    code, out, err = await type_in(*arguments, variables={"SQLITE_PIPELINES_ENABLED": "true"})

    assert (code, out) == (2, "")
    assert word in err
    assert "Traceback" not in err


async def test_several_enabled_queues_have_to_be_named_where_one_is_meant() -> None:
    both = {"SQLITE_PIPELINES_ENABLED": "true", "MYSQL_PIPELINES_ENABLED": "true"}
    mysql = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": 1, "MYSQL_USER": "u", "MYSQL_DATABASE": "d"}
    code, _, err = await type_in("queue", "list", variables={**both, **mysql})
    assert code == 2
    assert "--store" in err
    assert "mysql, sqlite" in err


@pytest.mark.parametrize("words", [["run"], ["check"], ["check", "--json"]], ids=" ".join)
async def test_missing_settings_are_told_all_at_once_with_exit_code_78(words: list[str]) -> None:
    code, out, err = await mailculator(*words, SMTP_PORT="many", MAILCULATOR_LEASE="-1")

    assert (code, out) == (78, "")
    variables = {line.split(":")[0] for line in err.splitlines()}
    assert variables == {
        "MYSQL_PIPELINES_ENABLED",
        "SMTP_HOST",
        "SMTP_PORT",
        "SMTP_FROM",
        "PIPELINE_CALLBACK_URL",
        "MAILCULATOR_LEASE",
    }


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["queue", "summary"], {"MYSQL_PIPELINES_ENABLED"}),
        (["schema", "status", "--store", "mysql"], {"MYSQL_HOST", "MYSQL_USER", "MYSQL_DATABASE"}),
        (["schema", "status", "--store", "dynamodb"], {"EMAIL_OUTBOX_TABLE", "AWS_REGION"}),
        (["dynamodb", "adopt"], {"EMAIL_OUTBOX_TABLE", "AWS_REGION"}),
        (["dynamodb", "resume", "--why", "stopped it"], {"EMAIL_OUTBOX_TABLE", "AWS_REGION"}),
        (["send-test", "a@example.com"], {"SMTP_HOST", "SMTP_FROM"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_command_asks_only_for_the_settings_it_uses(words: list[str], missing: set[str]) -> None:
    code, _, err = await type_in(*words, variables={})
    assert code == 78
    assert {line.split(":")[0] for line in err.splitlines()} == missing


async def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    variables = environment(SQLITE_PIPELINES_ENABLED="true", SQLITE_PATH=tmp_path / "queue.db")
    assert (await command("schema", "apply", environ=variables))[0] == 0
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m mailculator queue summary | head -n 1",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out.startswith(b"store ")
    assert err == b""


async def test_a_terminal_that_knows_no_utf8_costs_no_traceback() -> None:
    code, out, err = await mailculator("queue", "show", "Perché", PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert (code, out) == (78, "")
    code, out, err = await mailculator("send-test", "Perché", PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_the_names_of_the_stores_are_the_registrys() -> None:
    assert [name.value for name in StoreName] == list(registry.NAMES)


async def test_help_imports_nothing_heavy() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "mailculator",
        "--help",
        env=environment(),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in err.decode().splitlines()}
    heavy = {
        "aioboto3",
        "aiobotocore",
        "botocore",
        "aiohttp",
        "aiomysql",
        "aiosmtplib",
        "aiosmtpd",
        "asyncio",
        "orjson",
        "pydantic",
        "rich",
        "structlog",
        "uvloop",
    }
    assert not loaded & heavy


class TestHealthcheck:
    async def test_of_a_running_service(self, tmp_path: Path) -> None:
        variables = {
            "SQLITE_PIPELINES_ENABLED": "true",
            "SQLITE_PATH": tmp_path / "queue.db",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": 1,
            "SMTP_FROM": "bounces@example.com",
            "PIPELINE_CALLBACK_URL": "http://127.0.0.1:1/",
        }
        async with ServiceProcess(variables) as service:
            code, out, err = await mailculator("healthcheck", MAILCULATOR_HTTP_PORT=service.port)
            assert (code, err) == (0, "")
            assert json.loads(out)["status"] in {"pass", "warn"}

            code, _, err = await mailculator("healthcheck", "--url", f"http://127.0.0.1:{service.port}/nothing")
            assert code == 1
            assert "404" in err
            assert await service.stop() == 0

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/health", "nonsense", "ftp://127.0.0.1:1/"])
    async def test_of_no_service_is_a_sentence(self, url: str) -> None:
        code, out, err = await type_in("healthcheck", "--url", url, variables={})
        assert (code, out) == (1, "")
        assert err.startswith(url)
        assert "urlopen" not in err
        assert "Traceback" not in err

    @pytest.mark.parametrize("port", ["0", "many"])
    async def test_a_port_that_is_none_names_its_variable(self, port: str) -> None:
        code, _, err = await type_in("healthcheck", variables={"MAILCULATOR_HTTP_PORT": port})
        assert code == 78
        assert err.startswith("MAILCULATOR_HTTP_PORT: ")

    async def test_of_what_speaks_no_http_is_a_sentence(self) -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 ready\r\n")
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            code, out, err = await type_in("healthcheck", variables={"MAILCULATOR_HTTP_PORT": port})
        assert (code, out) == (1, "")
        assert "Traceback" not in err
