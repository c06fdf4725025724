"""status, top, why, the actions by id and by filter, pauses, drain and audit, as operators type them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mailculator.config import load as load_settings
from mailculator.facts import Away, Facts
from mailculator.model import Status
from mailculator.stores import registry
from tests.integration.cli_desk import Desk
from tests.support.service import ROOT, environment

pytestmark = pytest.mark.timeout(300)

BY = ("--why", "list was wrong", "--as", "ada")


async def report(desk: Desk, name: str = "blue-1", **facts: Any) -> None:
    settings = load_settings({key: str(value) for key, value in desk.variables.items()}, needs={"store"})
    store = await registry.backend(desk.store).open_store(settings, service=False)
    try:
        await store.control.report(name, service="1.2.0", facts=Facts(**facts).document())
    finally:
        await store.close()


async def audited(desk: Desk) -> list[tuple[str, str, str]]:
    return [(one["who"], one["what"], one["why"]) for one in await desk.read("audit")]


class TestStatus:
    async def test_mail_flows(self, desk: Desk) -> None:
        await report(desk, in_flight={"sender": 2}, rates={"sent": 1.5})
        await desk.put(Status.READY)

        code, out, err = await desk.type("status")

        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert "mail flows; 1 email on the way" in lines[0]
        assert any(line.split()[:2] == ["READY", "1"] for line in lines)
        assert "1.5 sent" in out
        assert "replica blue-1 1.2.0: at work" in out

    async def test_what_is_wrong_comes_first_and_is_exit_code_1(self, desk: Desk) -> None:
        await report(desk, away={"relay": Away(1.0, "421 \x1b[31mtry later")})

        code, out, _ = await desk.type("status")

        assert code == 1
        assert "mail stands still" in out.splitlines()[0]
        assert out.splitlines()[1].startswith("  CRITICAL  The relay takes no mail, since 1970-01-01")
        assert "\x1b" not in out
        code, out, _ = await desk.type("status", "--json")
        found = json.loads(out)[desk.store]
        assert (code, found["problems"][0]["kind"]) == (1, "relay_away")

    async def test_a_store_that_is_away_keeps_no_other_from_being_shown(self, desk: Desk) -> None:
        if desk.store != "sqlite":
            pytest.skip("one pair of stores tells it")
        mysql = {"MYSQL_PIPELINES_ENABLED": "true", "MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": 1}
        for words in (["status"], ["top", "--once"]):
            code, out, _ = await desk.type(*words, **mysql, MYSQL_USER="u", MYSQL_DATABASE="d")
            assert code == 69, words
            assert "MariaDB at " in out
            assert "SQLite at " in out

    async def test_top_tells_the_work(self, desk: Desk) -> None:
        await report(desk, in_flight={"sender": 3}, rates={"sent": 1.5}, away={"callback": Away(1.0, "503")})
        code, out, _ = await desk.type("top")
        assert code == 1
        rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
        assert rows["sender"][-1] == "3"
        assert rows["blue-1"][:3] == ["3", "0.0", "1.5"]
        assert rows["blue-1"][-2:] == ["callback", "away"]

    async def test_watch_ends_cleanly_at_ctrl_c(self, tmp_path: Path) -> None:
        variables = environment(SQLITE_PIPELINES_ENABLED="true", SQLITE_PATH=tmp_path / "away" / "queue.db")
        arguments = ["-m", "mailculator", "status", "--watch", "0.1"]
        pipe = asyncio.subprocess.PIPE
        watching = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=variables, cwd=ROOT, stdout=pipe, stderr=pipe
        )
        assert watching.stdout is not None
        drawn = 0
        while drawn < 2:
            drawn += b"SQLite at" in await watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        out, err = await watching.communicate()
        assert (watching.returncode, err) == (0, b"")
        assert b"\x1b" not in out


class TestWhy:
    async def test_why_and_show_say_the_same(self, desk: Desk) -> None:
        email_id = await desk.put(Status.SENT, parked=True)
        found = (await desk.read("queue", "why", email_id))[desk.store]
        assert found["status"] == "SENT"
        assert found["why"][0].startswith("It is parked")
        assert (await desk.read("queue", "show", email_id))[desk.store]["why"] == found["why"]
        for words in (["queue", "why"], ["queue", "show"]):
            _, out, _ = await desk.type(*words, email_id)
            assert out.splitlines()[-1].startswith("It is parked")


class TestByIds:
    async def test_park_release_and_cancel(self, desk: Desk) -> None:
        email_id = await desk.put(Status.READY)
        code, out, err = await desk.type("park", email_id, *BY)
        assert code == 0
        assert out.splitlines()[1].split() == [email_id, "parked"]
        assert err.startswith(f"undo: mailculator release {email_id} --store {desk.store}")
        assert [one["result"] for one in await desk.read("release", email_id, *BY)] == ["released"]
        assert [one["result"] for one in await desk.read("cancel", email_id, *BY)] == ["cancelled"]
        row = (await desk.read("queue", "show", email_id))[desk.store]
        assert row["cancelled"] == "list was wrong"
        code, out, _ = await desk.type("retry", email_id, "nothing", *BY)
        assert code == 1
        assert "nothing to bring forward" in out
        assert "no such email" in out

    async def test_a_dry_run_changes_nothing(self, desk: Desk) -> None:
        email_id = await desk.put(Status.READY)
        code, out, _ = await desk.type("park", email_id, "--dry-run", *BY)
        assert (code, "would be parked" in out) == (0, True)
        assert (await desk.read("queue", "show", email_id))[desk.store]["parked"] is False

    async def test_a_dry_run_knows_that_parked_mail_is_released_wherever_it_was_brought_to(self, desk: Desk) -> None:
        """The older consumer takes no heed of what is parked."""
        email_id = await desk.put(Status.PROCESSING, parked=True)
        [would] = await desk.read("release", email_id, "--dry-run", *BY)
        assert would["result"] == "would be released"
        [done] = await desk.read("release", email_id, *BY)
        assert done["result"] == "released"


class TestByFilter:
    async def test_park_all_of_a_status_and_its_undo(self, desk: Desk) -> None:
        ready = [await desk.put(Status.READY) for _ in range(3)]
        sent = await desk.put(Status.SENT)

        code, out, err = await desk.type("park", "--status", "ready", "--all", *BY)

        assert (code, out) == (0, "3 emails parked\n")
        assert "nobody works on them until they are released" in err
        assert f"undo: mailculator release --status READY --all --store {desk.store}" in err
        assert [row["id"] for row in await desk.read("queue", "list", "--parked")] == sorted(ready)
        assert (await desk.read("queue", "show", sent))[desk.store]["parked"] is False
        assert await audited(desk) == [
            ("ada", "parked 3 emails by filter: --status READY --all", "list was wrong"),
        ]
        found = await desk.read("release", "--parked", "--all", "--yes", *BY)
        assert found == {"store": desk.store, "action": "release", "done": 3, "missed": 0}

    async def test_a_limit_and_a_dry_run(self, desk: Desk) -> None:
        for _ in range(3):
            await desk.put(Status.FAILED)
        would = await desk.read("requeue", "--status", "failed", "--limit", "2", "--dry-run", *BY)
        assert (would["would"], would["sends_mail"]) == ({"FAILED": 2}, True)
        assert await audited(desk) == []
        code, _, err = await desk.type("requeue", "--status", "failed", "--limit", "2", "--yes", *BY)
        assert code == 0
        assert "THIS SENDS MAIL" in err
        found = (await desk.read("queue", "summary"))[desk.store]
        assert (found["READY"]["count"], found["FAILED"]["count"]) == (2, 1)

    async def test_more_than_a_page(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailculator.cli.listing.PAGE", 2)
        for _ in range(5):
            await desk.put(Status.SENT)
        assert (await desk.read("park", "--all", *BY))["done"] == 5

    async def test_by_domain(self, desk: Desk) -> None:
        await desk.put(Status.READY)
        assert (await desk.read("park", "--domain", "Example.com", "--all", *BY))["done"] == 0
        assert await desk.read("queue", "list", "--domain", "example.com", "--status", "ready") == []
        assert await audited(desk) == []


class TestPauses:
    async def test_pause_audit_and_resume(self, desk: Desk) -> None:
        code, out, err = await desk.type("pause", "sender", "--for", "30m", *BY)
        assert (code, out) == (0, f"{desk.store}: paused sender for 1800 s\n")
        assert err == f"undo: mailculator resume sender --store {desk.store} --why …\n"
        assert (await desk.type("pause", *BY, "--all-stores"))[0] == 0
        code, _, err = await desk.type("resume", "sender", *BY)
        assert (code, "all pipelines are paused still" in err) == (1, True)
        assert await desk.read("resume", *BY) == {desk.store: ["all pipelines"]}
        told = [what for _, what, _ in await audited(desk)]
        deeds = ["resumed all pipelines", "resumed sender", "paused all pipelines", "paused sender for 1800 s"]
        # Each command is a client of its own, and DynamoDB's clock is known to each of them to the second only.
        assert sorted(told) == sorted(deeds) if desk.store == "dynamodb" else told == deeds
        _, out, err = await desk.type("audit", "--limit", "2")
        assert len(out.splitlines()) == 3
        key = err.split()[-1]
        assert [one["what"] for one in await desk.read("audit", "--after", key)] == told[2:]

    async def test_until_a_moment_that_is_past_is_refused(self, desk: Desk) -> None:
        code, _, err = await desk.type("pause", "--until", "2020-01-01", *BY)
        assert (code, "--until" in err) == (2, True)


class TestDrain:
    async def test_it_waits_for_what_was_taken_in_and_for_every_replica(self, desk: Desk) -> None:
        await desk.put(Status.ACCEPTED)
        await desk.put(Status.READY, parked=True)
        await report(desk, paused=("intake",))
        code, out, err = await desk.type("drain", "--wait", *BY)
        assert (code, out) == (0, f"{desk.store}: drained\n")
        assert "undo: mailculator resume intake" in err

        await report(desk, "blue-2")
        code, out, err = await desk.type("drain", "--wait", "--timeout", "0.1s", *BY)
        assert (code, "not drained" in out, "waiting for blue-2" in out) == (1, True, True)

    async def test_mail_on_its_way_is_waited_for(self, desk: Desk) -> None:
        await desk.put(Status.READY)
        code, out, _ = await desk.type("drain", "--wait", "--timeout", "0.1s", *BY)
        assert (code, "1 READY" in out) == (1, True)
