"""Bad inputs by their numbers (docs/bad-inputs.md), all at once before one running service: each gets its own result,
and good mail among them goes its way."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest

from mailculator.model import Status
from mailculator.stores.sqlite_schema import SqliteSchema
from tests.support.callback_peer import CallbackPeer
from tests.support.producer import SqliteProducer
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import Received, SmtpPeer

pytestmark = pytest.mark.timeout(120)

HOSTILE = "a\n.\nb\r.\rc\r\n.\r\nMAIL FROM:<smuggled@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\nd\n\r.\n\re"
INJECTED = "=?utf-8?q?a=0D=0ABcc:_e@x?="

SENT: dict[str, dict[str, Any]] = {
    "plain": {},
    "another id": {"id": "123E4567-E89B-42D3-A456-426614174000", "priority": 1},
    "encoded word": {"subject": INJECTED},
    "international domain": {"to": "Ada <a@exämple.com>"},
    "display name": {"to": '"x@evil.com, Mario" <mario@example.org>', "from": "Però <sender@example.com>"},
    "hostile body": {"body_text": HOSTILE, "body_html": HOSTILE},
    "empty attachment": {"attachments": ["/empty.txt"]},
}
INVALID: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "empty file": (b"", "json_empty"),
    "a list": (b"[]", "json_type"),
    "nested": (b"[" * 200_000, "json_depth"),
    "UTF-16": (json.dumps({"id": "x"}).encode("utf-16"), "encoding"),
    "two keys": (b'{"to":"a@b.com","to":"c@d.com"}', "json_duplicate_key"),
    "surrogate": ({"subject": "\ud800"}, "text_surrogate"),
    "no body": ({"body_text": ""}, "body_missing"),
    "control": ({"subject": "a\r\nBcc: e@x.com"}, "header_control"),
    "two recipients": ({"to": "a@b.com, c@d.com"}, "address_multiple"),
    "command": ({"to": "a@b.com\r\nRCPT TO:<v@x>"}, "address_control"),
    "reserved": ({"custom_headers": {"bCC": "e@x.com"}}, "header_reserved"),
    "passwd": ({"attachments": ["../../../../etc/passwd"]}, "attachment_path"),
    "metadata": ({"attachments": ["http://169.254.169.254/"]}, "attachment_scheme"),
    "environment": ({"attachments": ["/environ"]}, "attachment_not_regular"),
}
FAILED = {"local part": {"to": "ü@ex.com"}}


@dataclass(frozen=True)
class Aftermath:
    """What became of everything, once nothing was left to be done.

    Arguments:
        ids: by what each is.
        rows: status and reason by id.
    """

    ids: dict[str, str]
    rows: dict[str, tuple[str, str | None]]
    notes: dict[str, list[str]]
    mails: list[Received]
    calls: list[dict[str, Any]]
    stopped: int

    def of(self, name: str) -> tuple[str, str | None]:
        return self.rows[self.ids[name]]

    def mail(self, name: str) -> Received:
        (found,) = [mail for mail in self.mails if f"Message-ID: <{self.ids[name]}@".encode() in mail.content]
        return found

    def read(self, name: str) -> EmailMessage:
        return email.message_from_bytes(self.mail(name).content, policy=email.policy.SMTP)

    def call(self, name: str) -> dict[str, Any]:
        (found,) = [call for call in self.calls if call["message_ids"] == [self.ids[name]]]
        return found


def write_all(folder: Path) -> dict[str, Path]:
    """A payload file for each, and the directory of attachments."""
    (folder / "attachments").mkdir()
    (folder / "attachments" / "empty.txt").touch()
    (folder / "attachments" / "environ").symlink_to("/proc/self/environ")
    paths = {}
    for name, given in {**SENT, **{name: one for name, (one, _) in INVALID.items()}, **FAILED}.items():
        paths[name] = folder / f"{name}.json"
        if isinstance(given, bytes):
            paths[name].write_bytes(given)
        else:
            plain = {"id": str(uuid.uuid4()), "from": "sender@example.com", "reply_to": "reply@example.com",
                     "to": "recipient@example.org", "subject": "Oggetto", "body_text": "Testo"}  # fmt: skip
            paths[name].write_text(json.dumps(plain | given))
    return paths


@pytest.fixture(scope="module")
async def aftermath(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Aftermath]:
    folder = tmp_path_factory.mktemp("bad")
    queue = folder / "queue.db"
    await SqliteSchema(queue).apply(lambda _: None)
    paths = write_all(folder)
    producer = SqliteProducer(queue)
    ids = {name: str(uuid.uuid4()) for name in (*paths, "missing", "no path")}
    producer.put_many([(ids[name], path) for name, path in paths.items()])
    producer.put(ids["missing"], folder / "missing.json")
    producer.run("INSERT INTO emails (id, status) VALUES (?, 'ACCEPTED')", ids["no path"])
    async with SmtpPeer(extensions=("8BITMIME",)) as relay, CallbackPeer() as callback:
        variables: dict[str, object] = {
            "SQLITE_PIPELINES_ENABLED": "true",
            "SQLITE_PATH": queue,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": relay.port,
            "SMTP_FROM": "bounce@mta.example",
            "MAILCULATOR_SMTP_TLS": "none",
            "PIPELINE_CALLBACK_URL": callback.url,
            "PIPELINE_INTERVAL": "0.1",
            "ATTACHMENTS_BASE_PATH": folder / "attachments",
            "MAILCULATOR_JOURNAL_DIR": folder / "journal",
        }
        async with ServiceProcess(variables) as service, asyncio.timeout(60):
            await service.expect("mail.invalid", len(INVALID))
            await service.expect("mail.acknowledged", len(SENT) + len(FAILED))
            await service.expect("mail.retry", where=lambda line: line["email_id"] == ids["missing"])
            await service.expect("mail.park", where=lambda line: line["email_id"] == ids["no path"])
            stopped = await service.stop()
        notes: dict[str, list[str]] = {}
        for email_id, note in producer.run("SELECT email_id, reason FROM email_status_history ORDER BY id"):
            notes.setdefault(email_id, []).append(note or "")
        found = producer.run("SELECT id, status, reason FROM emails")
        producer.close()
        rows = {email_id: (status, reason) for email_id, status, reason in found}
        calls = [json.loads(call.body) for call in callback.calls]
        yield Aftermath(ids, rows, notes, relay.accepted, calls, stopped)


def test_nothing_is_lost_nothing_crashes_and_nobody_is_held_up(aftermath: Aftermath) -> None:
    assert aftermath.stopped == 0
    assert set(aftermath.rows) == set(aftermath.ids.values())
    assert {name: aftermath.of(name)[0] for name in SENT} == dict.fromkeys(SENT, Status.SENT_ACKNOWLEDGED)
    assert len(aftermath.mails) == len(SENT)
    assert len(aftermath.calls) == len(SENT) + len(FAILED)


@pytest.mark.parametrize("name", INVALID)
def test_bad_inputs_3_5_6_7_9_10_14_15_18_22_30_35_36_41_are_invalid_with_a_reason_to_read(
    aftermath: Aftermath, name: str
) -> None:
    status, reason = aftermath.of(name)
    assert status == Status.INVALID
    assert reason is not None
    assert reason.startswith(f"{INVALID[name][1]}: ")
    assert reason.isprintable()
    assert aftermath.notes[aftermath.ids[name]][-1] == reason, "the history says it, too"


def test_bad_input_1_a_file_that_is_not_there_yet_is_looked_for_again(aftermath: Aftermath) -> None:
    assert aftermath.of("missing")[0] in {Status.ACCEPTED, Status.INTAKING}


def test_bad_inputs_12_and_13_sent_under_the_rows_id_with_a_note(aftermath: Aftermath) -> None:
    assert aftermath.read("another id")["message-id"] == f"<{aftermath.ids['another id']}@mta.example>"
    (note,) = [note for note in aftermath.notes[aftermath.ids["another id"]] if "payload id differs" in note]
    assert "123E4567-E89B-42D3-A456-426614174000" in note
    assert "ignored fields: 1" in note


def test_bad_input_16_an_encoded_word_arrives_as_it_was_written(aftermath: Aftermath) -> None:
    mail = aftermath.read("encoded word")
    assert (mail["subject"], mail["bcc"]) == (INJECTED, None)


def test_bad_input_23_recipient_and_header_name_the_same_domain(aftermath: Aftermath) -> None:
    assert aftermath.mail("international domain").recipient == "a@xn--exmple-cua.com"
    (shown,) = aftermath.read("international domain")["to"].addresses
    assert (shown.display_name, shown.addr_spec) == ("Ada", "a@xn--exmple-cua.com")


def test_bad_input_24_without_smtputf8_it_fails_and_its_producer_hears_of_it(aftermath: Aftermath) -> None:
    status, reason = aftermath.of("local part")
    assert status == Status.FAILED_ACKNOWLEDGED
    assert "smtputf8_unsupported" in str(reason)
    call = aftermath.call("local part")
    assert (call["code"], call["reason"]) == ("DISPATCH-ERROR", reason)


def test_bad_input_26_the_relay_gets_the_bare_address(aftermath: Aftermath) -> None:
    mail = aftermath.mail("display name")
    assert mail.envelope == ("bounce@mta.example", "mario@example.org")
    (shown,) = aftermath.read("display name")["to"].addresses
    assert (shown.display_name, shown.addr_spec) == ("x@evil.com, Mario", "mario@example.org")


def test_bad_input_33_no_bare_line_end_leaves_and_no_second_mail(aftermath: Aftermath) -> None:
    for name in SENT:
        octets = aftermath.mail(name).octets
        bare = octets.replace(b"\r\n", b"")
        assert b"\r" not in bare
        assert b"\n" not in bare
        assert octets.count(b"\r\n.\r\n") == 1
        assert octets.endswith(b"\r\n.\r\n")
    text = cast(EmailMessage, aftermath.read("hostile body").get_body(("plain",))).get_content()
    assert text.splitlines() == HOSTILE.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def test_bad_input_37_an_empty_attachment_is_one(aftermath: Aftermath) -> None:
    (part,) = aftermath.read("empty attachment").iter_attachments()
    assert (part.get_filename(), part.get_payload(decode=True)) == ("empty.txt", b"")


def test_bad_input_47_a_row_without_any_path_is_set_aside(aftermath: Aftermath) -> None:
    assert aftermath.of("no path")[0] == Status.ACCEPTED
    assert any(note.startswith("row_corrupt: ") for note in aftermath.notes[aftermath.ids["no path"]])


async def test_bad_input_57_a_relay_without_starttls_costs_no_mail(tmp_path: Path) -> None:
    queue = tmp_path / "queue.db"
    await SqliteSchema(queue).apply(lambda _: None)
    ids = [str(uuid.uuid4()) for _ in range(8)]
    path = write_all(tmp_path)["plain"]
    producer = SqliteProducer(queue)
    producer.put_many([(one, path) for one in ids])
    producer.close()
    async with SmtpPeer(users={"we": "secret-canary"}) as relay, CallbackPeer() as callback:
        variables: dict[str, object] = {
            "SQLITE_PIPELINES_ENABLED": "true",
            "SQLITE_PATH": queue,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": relay.port,
            "SMTP_FROM": "bounce@mta.example",
            "SMTP_USER": "we",
            "SMTP_PASS": "secret-canary",
            "PIPELINE_CALLBACK_URL": callback.url,
            "PIPELINE_INTERVAL": "0.1",
            "MAILCULATOR_JOURNAL_DIR": tmp_path / "journal",
        }
        async with ServiceProcess(variables) as service, asyncio.timeout(60):
            await service.expect("breaker.opened", where=lambda line: "STARTTLS" in line["reason"])
            assert await service.stop() == 0
        assert {command.split()[0] for command in relay.commands} <= {"EHLO", "QUIT"}
        assert callback.calls == []
        assert "secret-canary" not in json.dumps(service.lines) + service.errors
    with sqlite3.connect(queue) as connection:
        statuses = {status for (status,) in connection.execute("SELECT status FROM emails")}
    connection.close()
    assert statuses <= {Status.ACCEPTED, Status.READY}
