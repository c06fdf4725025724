"""schema, queue, enqueue, requeue and release against every kind of queue, as operators type them."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest

from mailculator import config
from mailculator.lifecycle import INTAKE, Prepared, Retry, move
from mailculator.model import NewEmail, Status
from mailculator.stores import registry
from mailculator.stores.dynamodb.schema import APPLIED_NAMES
from mailculator.stores.schema_files import schema_files
from tests.integration.cli_desk import Desk, of_table
from tests.integration.cli_shell import type_in
from tests.support.moto_server import MotoServer

pytestmark = pytest.mark.timeout(300)


def write_payload(path: Path, **changes: object) -> str:
    email_id = str(uuid.uuid4())
    fields = {
        "id": email_id,
        "from": "sender@example.com",
        "reply_to": "reply@example.com",
        "to": "recipient@example.com",
        "subject": "Perché no",
        "body_text": "sì",
        **changes,
    }
    path.write_text(json.dumps(fields), encoding="utf-8")
    return email_id


def schema_names(store: str) -> list[str]:
    if store == "dynamodb":
        return list(APPLIED_NAMES)
    return [file.name for file in schema_files("mariadb" if store == "mysql" else store)]


class TestSchema:
    async def test_from_nothing_to_up_to_date_and_again(self, empty: Desk) -> None:
        assert (await empty.type("schema", "status"))[0] == 1
        names = schema_names(empty.store)

        code, out, err = await empty.type("schema", "apply")
        assert (code, out) == (0, f"{empty.store}: applied {', '.join(names)}\n")
        steps = err.splitlines()
        assert steps
        assert all(step.count(f"{empty.store}: ") == 1 for step in steps)

        code, out, err = await empty.type("schema", "apply")
        assert (code, out, err) == (0, f"{empty.store}: nothing to do, the schema is up to date\n", "")
        assert await empty.read("schema", "apply") == {empty.store: []}
        state = (await empty.read("schema", "status"))[empty.store]
        assert (state["applied"], state["pending"], state["refusal"]) == (names, [], None)

    @pytest.mark.parametrize(
        "words", [["queue", "summary"], ["queue", "show", "x"], ["release", "x", "--why", "y"]], ids=" ".join
    )
    async def test_a_queue_without_a_schema_is_told_in_words(self, empty: Desk, words: list[str]) -> None:
        code, out, err = await empty.type(*words)
        assert (code, out) == (78, "")
        assert "run: mailculator schema apply" in err
        assert len(err.splitlines()) == 1
        assert empty.place in err


class TestDown:
    async def test_a_server_that_is_away_is_exit_code_69(self) -> None:
        variables = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": 1, "MYSQL_USER": "u", "MYSQL_DATABASE": "d"}
        code, out, err = await type_in("queue", "summary", "--store", "mysql", "--json", variables=variables)
        assert (code, out) == (69, "")
        assert "Connect call failed" in err
        assert len(err.splitlines()) == 1

    async def test_an_endpoint_that_is_away_is_exit_code_69(self) -> None:
        variables = {**of_table(MotoServer(), "Outbox"), "AWS_BASE_ENDPOINT": "http://127.0.0.1:1"}
        code, out, err = await type_in("queue", "summary", "--store", "dynamodb", "--json", variables=variables)
        assert (code, out) == (69, "")
        assert "no connection to 127.0.0.1:1" in err
        assert len(err.splitlines()) == 1

    async def test_a_file_that_cannot_be_made_is_told_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        variables = {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": tmp_path / "file" / "queue.db"}
        code, out, err = await type_in("schema", "apply", variables=variables)
        assert (code, out) == (69, "")
        assert str(tmp_path / "file") in err
        assert len(err.splitlines()) == 1

    async def test_a_file_that_is_no_database_is_told_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("remember the milk\n" * 100)
        variables = {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": tmp_path / "notes.txt"}
        code, out, err = await type_in("queue", "summary", variables=variables)
        assert (code, out) == (1, "")
        assert "not a database" in err


class TestEnqueue:
    async def test_several_files_with_every_kind_of_answer(self, desk: Desk, tmp_path: Path) -> None:
        first, again = write_payload(tmp_path / "a.json"), tmp_path / "again.json"
        assert [one["result"] for one in await desk.read("enqueue", str(tmp_path / "a.json"))] == ["created"]
        write_payload(again, id=first)
        fresh = write_payload(tmp_path / "b.json")
        write_payload(tmp_path / "bad.json", to="one@example.com, two@example.com")
        os.mkfifo(tmp_path / "pipe")
        names = ["missing.json", "again.json", "bad.json", "b.json", "pipe", "."]

        code, out, _ = await desk.type("enqueue", *(str(tmp_path / name) for name in names), "--json")

        assert code == 1
        results = json.loads(out)
        assert [one["result"] for one in results] == ["refused", "exists", "refused", "created", "refused", "refused"]
        assert results[0]["detail"] == "No such file or directory"
        assert results[2]["detail"].startswith("address_multiple: ")
        rows = {row["id"]: row for row in await desk.read("queue", "list")}
        assert set(rows) == {first, fresh}
        assert rows[first]["payload_file_path"] == str(tmp_path / "a.json")

    async def test_a_path_is_kept_absolute_and_its_links_as_they_are(
        self, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "share").symlink_to(tmp_path / "real")
        email_id = write_payload(tmp_path / "real" / "one.json")
        monkeypatch.chdir(tmp_path)

        code, out, _ = await desk.type("enqueue", "share/one.json", "--ttl", "3600")

        assert code == 0
        assert [line.split()[:2] for line in out.splitlines()] == [["result", "id"], ["created", email_id]]
        [row] = (await desk.read("queue", "show", email_id)).values()
        assert row["payload_file_path"] == str(tmp_path / "share" / "one.json")
        assert row["ttl"] > 1_700_000_000 + 3600
        assert [one["reason"] for one in row["history"]] == ["enqueued"]

    async def test_an_id_that_is_there_already_is_no_error(self, desk: Desk, tmp_path: Path) -> None:
        write_payload(tmp_path / "a.json")
        twice = str(tmp_path / "a.json")
        assert [one["result"] for one in await desk.read("enqueue", twice, twice)] == ["created", "exists"]
        assert [one["result"] for one in await desk.read("enqueue", twice)] == ["exists"]


class TestLook:
    async def test_summary_counts_and_names_what_is_parked(self, desk: Desk) -> None:
        for _ in range(3):
            await desk.put(Status.READY)
        await desk.put(Status.SENT, parked=True)

        found = (await desk.read("queue", "summary"))[desk.store]
        assert set(found) == {status.value for status in Status}
        assert (found["READY"]["count"], found["READY"]["parked"]) == (3, 0)
        assert (found["SENT"]["count"], found["SENT"]["parked"]) == (1, 1)

        code, out, err = await desk.type("queue", "summary")
        assert (code, err) == (0, "")
        lines = {line.split()[1]: line.split() for line in out.splitlines()[1:]}
        assert lines["READY"][:3] == [desk.store, "READY", "3"]
        assert lines["SENT"][2:4] == ["1", "1"]

    async def test_list_goes_page_by_page(self, desk: Desk) -> None:
        ids = sorted([await desk.put(Status.READY) for _ in range(5)])
        seen: list[str] = []
        after: list[str] = []
        for _ in range(3):
            page = [row["id"] for row in await desk.read("queue", "list", "--limit", "2", *after)]
            seen += page
            after = ["--after", page[-1]]
        assert seen == ids

        _, _, err = await desk.type("queue", "list", "--limit", "2")
        assert err == f"next page: --after {ids[1]}\n"
        assert await desk.type("queue", "list", "--after", ids[-1]) == (0, "no such emails\n", "")
        assert await desk.read("queue", "list", "--after", ids[-1]) == []

    async def test_list_by_status_and_by_parking(self, desk: Desk) -> None:
        ready, aside = await desk.put(Status.READY), await desk.put(Status.SENT, parked=True)
        await desk.put(Status.SENT)
        calling = await desk.put(Status.CALLING_SENT_CALLBACK)

        assert [row["id"] for row in await desk.read("queue", "list", "--status", "ready")] == [ready]
        assert [row["id"] for row in await desk.read("queue", "list", "--parked")] == [aside]
        both = await desk.read("queue", "list", "--status", "sent", "--parked")
        assert [row["id"] for row in both] == [aside]
        underscored = await desk.read("queue", "list", "--status", "calling_sent_callback")
        assert [row["id"] for row in underscored] == [calling]
        _, out, _ = await desk.type("queue", "list", "--parked")
        assert "SENT (parked)" in out

    async def test_list_of_mail_that_the_relay_may_have(self, desk: Desk) -> None:
        why = "outcome unknown: rescued: the lease of blue expired"
        failed = [await desk.put(status, reason=why) for status in (Status.FAILED, Status.FAILED_ACKNOWLEDGED)]
        held = await desk.put(Status.READY, reason=why, parked=True)
        await desk.put(Status.FAILED, reason="rcpt: 550 no such user")
        await desk.put(Status.READY)

        assert [row["id"] for row in await desk.read("queue", "list", "--unknown")] == sorted([*failed, held])
        assert [row["id"] for row in await desk.read("queue", "list", "--unknown", "--parked")] == [held]
        of_one = await desk.read("queue", "list", "--unknown", "--status", "failed")
        assert [row["id"] for row in of_one] == [failed[0]]
        first = await desk.read("queue", "list", "--unknown", "--limit", "1")
        rest = await desk.read("queue", "list", "--unknown", "--after", first[0]["id"])
        assert [row["id"] for row in [*first, *rest]] == sorted([*failed, held])
        assert await desk.type("queue", "list", "--unknown", "--status", "sent") == (0, "no such emails\n", "")

    async def test_show_tells_which_attempt_each_step_belongs_to(self, desk: Desk) -> None:
        variables = {name: str(value) for name, value in desk.variables.items()}
        store = await registry.backend(desk.store).open_store(config.load(variables, needs={"store"}), service=False)
        email_id = str(uuid.uuid4())
        await store.enqueue([NewEmail(email_id, "/payload.json")])
        for stage, outcome in ((INTAKE, Retry("no file", 0.0)), (INTAKE, Prepared("example.com"))):
            (email,) = await store.claim(stage, 1, lease=60.0, holder="tester")
            await store.record([move(email, outcome)])
        await store.close()

        [row] = (await desk.read("queue", "show", email_id)).values()
        _, out, _ = await desk.type("queue", "show", email_id)

        assert [(one["version"], one["attempt"]) for one in row["history"]] == [
            (None, None),
            *((2, 1), (3, 1), (4, 2), (5, 2)),
        ]
        assert "when version attempt status note" in [" ".join(line.split()) for line in out.splitlines()]

    async def test_show_of_an_unknown_id(self, desk: Desk) -> None:
        code, out, err = await desk.type("queue", "show", "nothing", "--json")
        assert (code, out) == (1, "")
        assert err == f"nothing: no such email in {desk.store}\n"

    async def test_what_the_database_holds_does_not_steer_the_terminal(self, desk: Desk) -> None:
        nasty = "\x1b]0;owned\x07 \x9b31m \u202egnp.exe\r\nsecond"
        email_id = await desk.put(Status.INVALID, reason=nasty)

        for words in (["queue", "list"], ["queue", "show", email_id], ["queue", "show", "\x1b[31mx"]):
            _, out, err = await desk.type(*words)
            assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(out + err), words
        code, out, _ = await desk.type("queue", "show", email_id, "--json")
        assert code == 0
        assert out.replace("\n", "").isprintable()
        assert json.loads(out)[desk.store]["reason"] == nasty


class TestSteer:
    async def test_requeue_answers_for_each_id_and_the_history_says_who_and_why(self, desk: Desk) -> None:
        invalid, ready = await desk.put(Status.INVALID, reason="bad"), await desk.put(Status.READY)

        code, out, err = await desk.type(
            "requeue", invalid, ready, "nothing", "--why", "payload mended", "--as", "Ada", "--json"
        )

        assert (code, err) == (1, "")
        assert [one["result"] for one in json.loads(out)] == [
            "requeued",
            "neither terminal nor failed: nothing to start anew",
            "no such email",
        ]
        [row] = (await desk.read("queue", "show", invalid)).values()
        assert (row["status"], row["version"]) == ("ACCEPTED", 2)
        last = row["history"][-1]
        assert (last["status"], last["version"]) == ("ACCEPTED", 2)
        assert "Ada" in last["reason"]
        assert "payload mended" in last["reason"]

    async def test_release_lets_parked_mail_go_on_and_is_a_note(self, desk: Desk) -> None:
        aside, ready = await desk.put(Status.SENT, parked=True), await desk.put(Status.READY)

        code, out, _ = await desk.type("release", aside, ready, "--why", "their server is back", SUDO_USER="grace")

        assert code == 1
        assert [line.split(maxsplit=1) for line in out.splitlines()[1:]] == [[aside, "released"], [ready, "not parked"]]
        [row] = (await desk.read("queue", "show", aside)).values()
        assert (row["parked"], row["status"], row["version"]) == (False, "SENT", 1)
        last = row["history"][-1]
        assert last["version"] is None
        assert "grace" in last["reason"]
        assert "their server is back" in last["reason"]
        assert await desk.read("release", await desk.put(Status.READY, parked=True), "--why", "x") != []
