"""The demo as a person or a script starts it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import os
import pty
import re
import signal
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailculator.demo import samples
from mailculator.model import Status
from tests.support.service import ROOT, command, environment

pytestmark = pytest.mark.timeout(300)

KINDS = len(samples.KINDS)


def headings_and_rows(text: str) -> list[list[str]]:
    """The words of the demo's output that do not hang on chance: headings, kinds, how they ended, reasons, labels."""
    rows = []
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if cells[0] == "kind of mail":
            rows.append(cells)
        elif cells[0] in {kind.name for kind in samples.KINDS}:
            rows.append(cells[:2])  # behind that stand numbers
        elif line.startswith("  "):
            rows.append(cells[:1])
    return rows


async def test_every_kind_ends_as_it_should_and_the_document_says_so(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    code, out, err = await command(
        "demo", "--count", "40", "--until-done", "--json", "--directory", str(directory), environ=environment()
    )

    assert code == 0, out + err
    found = json.loads(out)
    assert set(found["counts"]) == {status.value for status in Status}
    assert sum(found["counts"].values()) == found["emails"] == 40
    assert sum(count for name, count in found["counts"].items() if Status(name) in ENDED) == 40
    assert all(found["counts"][status] > 0 for status in ENDED)
    assert found["as_expected"] is True
    assert found["seconds"] > 0
    assert found["emails_per_second"] == pytest.approx(40 / found["seconds"], abs=0.1)
    assert found["directory"] == str(directory)
    assert "40 of 40 have ended" in err

    sent = found["counts"]["SENT-ACKNOWLEDGED"]
    mails = [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in sorted((directory / "mails").glob("*.eml"))
    ]
    assert len(mails) == sent
    assert all(mail["Subject"] and not mail.defects for mail in mails)
    names = {part.get_filename() for mail in mails for part in mail.iter_attachments()}
    assert any(name and name.endswith("è qui.pdf") for name in names)
    callbacks = [json.loads(line) for line in (directory / "callbacks.jsonl").read_text("utf-8").splitlines()]
    assert Counter(one["code"] for one in callbacks) == {
        "TRAVELING": sent,
        "DISPATCH-ERROR": found["counts"]["FAILED-ACKNOWLEDGED"],
    }
    log = [json.loads(line) for line in (directory / "service.log").read_text("utf-8").splitlines()]
    assert log[-1]["event"] == "service.stopped"


ENDED = (Status.SENT_ACKNOWLEDGED, Status.FAILED_ACKNOWLEDGED, Status.INVALID)


async def test_on_a_private_mariadb() -> None:
    code, out, err = await command(
        "demo", "--count", str(KINDS), "--until-done", "--json", "--store", "mysql", environ=environment()
    )
    assert code == 0, out + err
    counts = json.loads(out)["counts"]
    assert sum(counts[status] for status in ENDED) == KINDS


async def test_the_readme_shows_what_it_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- demo -->\n```\n(.*?)```\n<!-- /demo -->", readme, re.DOTALL)
    assert shown is not None

    code, out, err = await command(
        "demo", "--count", "60", "--until-done", "--directory", str(tmp_path / "demo"), environ=environment()
    )

    assert code == 0, out + err
    wanted = headings_and_rows(shown[1])
    assert len(wanted) > 2 * KINDS
    assert headings_and_rows(out) == wanted
    for fixed in (
        r"60 sample mails on a SQLite queue, everything in /\S+",
        r"60 of 60 have ended",
        r"60 of 60 ended in [\d.]+ s \(\d+/s, the waits before retries included\); the sink took \d+ mails, the",
    ):
        assert re.search(fixed, shown[1]), fixed
        assert re.search(fixed, out), fixed


async def test_fewer_samples_than_kinds() -> None:
    code, out, err = await command("demo", "--count", "1", "--until-done", environ=environment())
    assert code == 0, out + err
    assert out.startswith("1 sample mail on ")
    assert "the sink took 1 mail, the receiver 1 callback." in out
    assert "reason" not in out


async def test_a_directory_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"somebody's")
    code, out, err = await command("demo", "--directory", str(tmp_path), environ=environment())
    assert (code, out) == (2, "")
    assert "not an empty directory" in err
    assert [path.name for path in tmp_path.iterdir()] == ["queue.db"]
    assert (tmp_path / "queue.db").read_bytes() == b"somebody's"


async def test_a_directory_that_cannot_be_made_is_told_in_words() -> None:
    code, out, err = await command("demo", "--directory", "/proc/nothing/here", environ=environment())
    assert (code, out) == (1, "")
    assert err.startswith("the demo's directory cannot be made: ")
    assert len(err.splitlines()) == 1


async def test_without_mariadbd_it_names_the_package(tmp_path: Path) -> None:
    # Empty but for the interpreter's own: the places that the demo looks at beside PATH are in the way here.
    code, out, err = await command(
        "demo",
        "--store",
        "mysql",
        "--until-done",
        environ=environment(PATH=tmp_path, PYTHONPATH=f"{_without_programs(tmp_path)}:{ROOT}"),
    )
    assert code == 1, out
    assert "apt-get install mariadb-server" in err
    assert "Traceback" not in err


def _without_programs(directory: Path) -> Path:
    """A path for Python's modules with which no program is found."""
    (directory / "sitecustomize.py").write_text("import shutil\nshutil.which = lambda *_, **__: None\n")
    return directory


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[int, list[str]]]:
    """A port that writes down who comes."""
    came: list[str] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(str(writer.get_extra_info("peername")))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


@pytest.mark.parametrize("store", ["sqlite", "mysql"])
async def test_no_configured_store_relay_or_callback_is_ever_touched(store: str, tmp_path: Path) -> None:
    configured = tmp_path / "configured.db"
    async with listener() as (port, came):
        variables = {
            "SQLITE_PIPELINES_ENABLED": "true",
            "SQLITE_PATH": configured,
            "MYSQL_PIPELINES_ENABLED": "true",
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_PORT": port,
            "MYSQL_USER": "root",
            "MYSQL_DATABASE": "mailculator",
            "MYSQL_TCP_PORT": port,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": port,
            "SMTP_FROM": "configured@example.com",
            "PIPELINE_CALLBACK_URL": f"http://127.0.0.1:{port}/callback",
            "ATTACHMENTS_BASE_PATH": tmp_path / "nowhere",
            "MAILCULATOR_HTTP_PORT": port,
            "HTTP_PROXY": f"http://127.0.0.1:{port}",
            "http_proxy": f"http://127.0.0.1:{port}",
        }
        code, out, err = await command(
            "demo", "--count", str(KINDS), "--json", "--store", store, environ=environment(**variables)
        )
        assert code == 0, out + err
        assert json.loads(out)["as_expected"] is True
        assert came == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_it_is_stopped_and_ends_with_0(number: signal.Signals, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailculator", "demo", "--count", "3", "--directory", str(tmp_path / "demo")),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        said = (await process.stdout.readuntil(b"Ctrl-C ends it.\n")).decode()
        [url] = re.findall(r"http://\S+/health", said)
        health = json.loads(await asyncio.to_thread(_get, url))
        assert health["status"] in {"pass", "warn"}  # it warns of the demo's quick retries
        process.send_signal(number)
        _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert err == b""


async def test_stopped_while_mariadb_starts_it_leaves_no_server_behind(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailculator", "demo", "--store", "mysql"),
        env=environment(TMPDIR=tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        await process.stdout.readuntil(b"a private MariaDB")
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert "Traceback" not in err.decode()
    assert _running_in(tmp_path) == []
    assert not list(tmp_path.glob("mdb-*"))


async def test_on_a_terminal_it_shows_a_bar_and_no_colours_where_none_are_wanted() -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailculator", "demo", "--count", str(KINDS), "--until-done"),
        env=environment(TERM="xterm", COLUMNS=80, NO_COLOR=1),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_read_all, ours)
    assert await process.wait() == 0
    assert f"{KINDS}/{KINDS}" in shown
    assert "━" in shown
    assert "\x1b[3" not in shown, "a colour"
    assert "have ended" in shown
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown)
    table = text[text.index("kind of mail") : text.index("ended in")]
    assert all(len(line.rstrip()) <= 80 for line in table.splitlines())


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def _read_all(descriptor: int) -> str:
    """Everything until the other end of the terminal is closed, which Linux tells by EIO."""
    pieces = []
    with open(descriptor, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(65536):
                pieces.append(piece)
        except OSError:
            pass
    return b"".join(pieces).decode()


def _running_in(directory: Path) -> list[str]:
    """Command lines of processes that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found
