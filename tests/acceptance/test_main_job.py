"""The main job, against the running process: a producer's row becomes a delivered mail and an acknowledged callback."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from email.utils import format_datetime
from pathlib import Path

import pytest

from mailculator.model import Status
from tests.support.callback_peer import Call
from tests.support.counting_sink import Accepted, CountingCallback
from tests.support.invariants import Books
from tests.support.producer import LAST_FIVE_MINUTES, UUID_EMAIL, write_payload
from tests.support.real_relays import NOBODY, AiosmtpdRelay, Delivered, PostfixSink, Relay
from tests.support.scenario import DOMAIN, SENDER, Queue, Variables, assert_holds, delivery
from tests.support.service import ServiceProcess, command, environment

pytestmark = pytest.mark.timeout(120)

KEY = b"a key that only the two of us know"
SECRET = "whsec_" + base64.b64encode(KEY).decode()

# Written by hand, as a producer writes it.
FULL = """\
{"id": "550e8400-e29b-41d4-a716-446655440000", "from": "Società Però <sender@example.com>", "reply_to": "reply@example.com",
 "to": "Mario Rossi <recipient@example.com>", "subject": "Oggetto: così è, se vi pare",
 "body_html": "<p>Perché no? È così.</p>", "body_text": "Perché no? È così.\\n.\\nUna riga con un punto.",
 "attachments": ["/2026/a.pdf", {"path": "/2026/b.pdf", "name": "fattura è pronta.pdf"}],
 "custom_headers": {"X-Custom-Header": "Value", "X-Citta": "Forlì"}}
"""  # noqa: E501
PLAIN = """\
{"id": "2f1b9c54-8a52-4d5e-9d33-0c5a4f7f6a10", "from": "Ufficio Posta <sender@example.com>",
 "reply_to": "sender@example.com", "to": "recipient@example.com", "subject": "Solo testo", "body_text": "Due righe.\\nPunto."}
"""  # noqa: E501
PDF = {"a.pdf": b"%PDF-1.4\r\n\x00\xff\r\n.\r\n" * 40, "b.pdf": b"%PDF-1.7\n" + bytes(range(256))}

FULL_ID = "550e8400-e29b-41d4-a716-446655440000"
PLAIN_ID = "2f1b9c54-8a52-4d5e-9d33-0c5a4f7f6a10"


@dataclass(frozen=True)
class Files:
    """What the producer has put on the shared file system."""

    attachments: Path
    prepared: Path
    full: Path
    plain: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    shared = tmp_path / "shared"
    (shared / "attachments" / "2026").mkdir(parents=True)
    (shared / "eml").mkdir()
    for name, content in PDF.items():
        (shared / "attachments" / "2026" / name).write_bytes(content)
    (shared / "full.json").write_text(FULL, encoding="utf-8")
    (shared / "plain.json").write_text(PLAIN, encoding="utf-8")
    return Files(shared / "attachments", shared / "eml", shared / "full.json", shared / "plain.json")


@pytest.fixture(params=["mariadb_queue", "sqlite_queue"])
def queue(request: pytest.FixtureRequest) -> Queue:
    found: Queue = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[PostfixSink, AiosmtpdRelay])
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    async with request.param() as server:
        yield server


@pytest.fixture
async def aiosmtpd() -> AsyncIterator[AiosmtpdRelay]:
    async with AiosmtpdRelay() as server:
        yield server


def variables(queue: Queue, callback: CountingCallback, relay: Relay, files: Files, **more: object) -> Variables:
    return {
        **queue.variables,
        **delivery(callback, relay.port),
        "ATTACHMENTS_BASE_PATH": files.attachments,
        "EML_STORAGE_PATH": files.prepared,
        **more,
    }


async def test_a_row_is_delivered_and_called_back(
    queue: Queue, relay: Relay, callback: CountingCallback, files: Files
) -> None:
    omitted, late = str(uuid.uuid4()), str(uuid.uuid4())
    ids = {FULL_ID, PLAIN_ID, omitted, late}
    queue.producer.put(FULL_ID, files.full, int(time.time()) + 3600, history="together")
    queue.producer.put(PLAIN_ID, files.plain, history="apart")
    async with ServiceProcess(variables(queue, callback, relay, files)) as service:
        await service.expect("mail.acknowledged", 2)
        queue.producer.put(omitted, files.plain, history="omitted")
        queue.producer.put(late, files.full, history="omitted")
        await service.expect("mail.acknowledged", 4)
        queue.producer.note(late)  # its second transaction comes when all is over
        assert await service.stop() == 0

    mails = {message_id(mail): mail for mail in relay.delivered()}
    assert set(mails) == ids
    assert len(relay.delivered()) == len(ids)
    created = dict(await times(queue, "created_at"))
    for one in (FULL_ID, late):
        assert_full(mails[one], one, created[one])
    for one in (PLAIN_ID, omitted):
        assert_plain(mails[one], one, created[one])

    reached = dict(await times(queue, "reached_at"))
    assert {call_id(call) for call in callback.calls} == ids
    for call in callback.calls:
        assert_sent_call(call, call_id(call), reached[call_id(call)])

    standings = await queue.standings()
    assert_holds(Books(frozenset(ids), standings, accepted(relay), callback.answers))
    for standing in standings:
        assert [(status.value, version) for version, status in standing.moves] == [
            ("INTAKING", 2),
            ("READY", 3),
            ("PROCESSING", 4),
            ("SENT", 5),
            ("CALLING-SENT-CALLBACK", 6),
            ("SENT-ACKNOWLEDGED", 7),
        ]
        notes = [note for note in standing.history if note.version is None]
        assert [(note.status, note.reason) for note in notes] == (
            [] if standing.id == omitted else [("ACCEPTED", "Created by producer")]
        )
    remarks = {one.id: one.history for one in standings}
    assert any("payload id differs" in (note.reason or "") for note in remarks[late])
    assert not any("payload id differs" in (note.reason or "") for note in remarks[FULL_ID])


async def test_a_row_with_the_databases_own_id_and_clock(
    mariadb_queue: Queue, aiosmtpd: AiosmtpdRelay, callback: CountingCallback, files: Files
) -> None:
    await mariadb_queue.run(UUID_EMAIL.format(path=files.full))
    ((row_id, ttl),) = await mariadb_queue.run("SELECT id, ttl FROM emails")
    assert abs(ttl - 3600 - time.time()) < 60
    async with ServiceProcess(variables(mariadb_queue, callback, aiosmtpd, files)) as service:
        await service.expect("mail.acknowledged")
        assert await service.stop() == 0
    (mail,) = aiosmtpd.delivered()
    ((_, created),) = await times(mariadb_queue, "created_at")
    assert_full(mail, row_id, created)
    ((_, reached),) = await times(mariadb_queue, "reached_at")
    (call,) = callback.calls
    assert_sent_call(call, row_id, reached)
    assert_holds(Books(frozenset({row_id}), await mariadb_queue.standings(), accepted(aiosmtpd), callback.answers))


@pytest.mark.parametrize("zone", ["+02:00", "-05:00", "SYSTEM"])
async def test_operators_count_what_came_in_the_last_five_minutes(
    mariadb_queue: Queue, files: Files, zone: str
) -> None:
    await mariadb_queue.run(f"SET time_zone = '{zone}'")
    for _ in range(3):
        mariadb_queue.producer.put(str(uuid.uuid4()), files.plain)
    await mariadb_queue.run("SET time_zone = '+09:00'")
    old = str(uuid.uuid4())
    mariadb_queue.producer.put(old, files.plain)
    await mariadb_queue.run("UPDATE emails SET created_at = NOW() - INTERVAL 6 MINUTE WHERE id = ?", old)
    assert await mariadb_queue.run(LAST_FIVE_MINUTES) == ((3,),)


async def test_callbacks_are_signed(
    sqlite_queue: Queue, aiosmtpd: AiosmtpdRelay, callback: CountingCallback, files: Files
) -> None:
    sqlite_queue.producer.put(PLAIN_ID, files.plain)
    signed = variables(sqlite_queue, callback, aiosmtpd, files, MAILCULATOR_CALLBACK_SECRET=SECRET)
    async with ServiceProcess(signed) as service:
        await service.expect("mail.acknowledged")
        assert await service.stop() == 0
    (call,) = callback.calls
    ((_, reached),) = await times(sqlite_queue, "reached_at")
    assert_sent_call(call, PLAIN_ID, reached, signed=True)
    text = b"%s.%s.%s" % (call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body)
    signature = base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
    assert call.headers["webhook-signature"] == f"v1,{signature}"


async def test_mail_that_fails_is_called_back_and_invalid_mail_is_not(
    queue: Queue, aiosmtpd: AiosmtpdRelay, callback: CountingCallback, files: Files, tmp_path: Path
) -> None:
    refused, invalid, good = (str(uuid.uuid4()) for _ in range(3))
    queue.producer.put(refused, write_payload(tmp_path / f"{refused}.json", to=NOBODY))
    queue.producer.put(invalid, write_payload(tmp_path / f"{invalid}.json", to="a@example.com, b@example.com"))
    async with ServiceProcess(variables(queue, callback, aiosmtpd, files)) as service:
        await queue.until_finished(service)
        # A mail that goes the whole way afterwards: what else was to be called back has been by then.
        queue.producer.put(good, files.plain)
        await queue.until_finished(service)
        assert await service.stop() == 0

    rows = {id_: (status, reason) for id_, status, reason in await queue.run("SELECT id, status, reason FROM emails")}
    assert {id_: status for id_, (status, _) in rows.items()} == {
        refused: Status.FAILED_ACKNOWLEDGED,
        invalid: Status.INVALID,
        good: Status.SENT_ACKNOWLEDGED,
    }
    reason = rows[refused][1]
    assert "550 5.1.1 no such user here" in reason
    assert rows[invalid][1].startswith("address_multiple: to: ")
    reached = dict(await times(queue, "reached_at"))
    calls = {call_id(call): call for call in callback.calls}
    assert set(calls) == {refused, good}
    assert_failed_call(calls[refused], refused, reached[refused], reason)
    everyone = frozenset(rows)
    assert_holds(Books(everyone, await queue.standings(), accepted(aiosmtpd), callback.answers))


async def test_expired_mail_is_told_of_not_sent_and_deleted(
    queue: Queue, aiosmtpd: AiosmtpdRelay, callback: CountingCallback, files: Files
) -> None:
    expired, kept = str(uuid.uuid4()), str(uuid.uuid4())
    queue.producer.put(expired, files.plain, int(time.time()) - 60)
    queue.producer.put(kept, files.plain)
    async with ServiceProcess(variables(queue, callback, aiosmtpd, files, MAILCULATOR_TIME_SCALE=0.05)) as service:
        await service.expect("mail.acknowledged", 2)
        await service.expect("mail.purged")
        assert await service.stop() == 0

    failed = [line for line in service.lines if line["event"] == "mail.failed"]
    assert [(line["email_id"], line["reason"]) for line in failed] == [(expired, "expired")]
    (call,) = (call for call in callback.calls if call_id(call) == expired)
    reached = json.loads(call.body)["reached_at"]
    assert abs(datetime.fromisoformat(reached).timestamp() - time.time()) < 120
    assert_failed_call(call, expired, datetime.fromisoformat(reached).timestamp(), "expired")
    assert [message_id(mail) for mail in aiosmtpd.delivered()] == [kept]
    assert [row[0] for row in await queue.run("SELECT id FROM emails")] == [kept]
    assert {row[0] for row in await queue.run("SELECT email_id FROM email_status_history")} == {kept}
    assert files.plain.read_text(encoding="utf-8") == PLAIN


async def test_a_prepared_row_is_sent_as_its_file_stands(
    queue: Queue, relay: Relay, callback: CountingCallback, files: Files
) -> None:
    stands = (
        b"From: Ufficio <sender@example.com>\nTo: Mario <Recipient@example.com>\r\n"
        b"Subject: =?utf-8?q?gi=C3=A0_pronta?=\nMessage-ID: <older@example.com>\n"
        b"X-Odd:   three blanks\nMIME-Version: 1.0\n"
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n.una riga=\n\nFine.\n"
    )
    (files.prepared / "2026").mkdir()
    (files.prepared / "2026" / "ready.eml").write_bytes(stands)
    row_id = str(uuid.uuid4())
    path = str(files.prepared / "2026" / "ready.eml")
    await queue.run("INSERT INTO emails (id, status, eml_file_path) VALUES (?, 'READY', ?)", row_id, path)
    async with ServiceProcess(variables(queue, callback, relay, files)) as service:
        await service.expect("mail.acknowledged")
        assert await service.stop() == 0
    (mail,) = relay.delivered()
    assert mail.content == stands.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert mail.recipients == ("Recipient@example.com",)
    assert mail.sender == SENDER
    ((_, reached),) = await times(queue, "reached_at")
    (call,) = callback.calls
    assert_sent_call(call, row_id, reached)
    # It was born READY, so its history begins with the claim that came next.
    (standing,) = await queue.standings()
    assert [version for version, _ in standing.moves] == [2, 3, 4, 5]
    assert [status for _, status in standing.moves][:2] == [Status.PROCESSING, Status.SENT]


async def test_schema_apply_makes_an_empty_database_a_queue_once(mariadb_queue: Queue) -> None:
    code, out, err = await command("schema", "apply", environ=environment(**mariadb_queue.variables))
    assert (code, out) == (0, "mysql: nothing to do, the schema is up to date\n"), err
    assert await mariadb_queue.run("SELECT COUNT(*) FROM emails") == ((0,),)


def assert_full(mail: Delivered, row_id: str, created: float) -> None:
    assert (mail.sender, mail.recipients) == (SENDER, ("recipient@example.com",))
    parsed = parse(mail)
    lines = assert_common_headers(mail, row_id, created)
    assert b'To: "Mario Rossi" <recipient@example.com>' in lines
    assert b"Reply-To: reply@example.com" in lines
    assert b"X-Custom-Header: Value" in lines
    assert header(mail, b"From").endswith(b" <sender@example.com>")
    assert str(parsed["From"]) == "Società Però <sender@example.com>"
    assert parsed["Subject"] == "Oggetto: così è, se vi pare"
    assert parsed["X-Citta"] == "Forlì"

    assert parsed.get_content_type() == "multipart/mixed"
    alternatives, *attached = parsed.iter_parts()
    assert alternatives.get_content_type() == "multipart/alternative"
    plain, html = alternatives.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert text_of(plain) == "Perché no? È così.\n.\nUna riga con un punto.\n"
    assert html.get_content_type() == "text/html"
    assert text_of(html) == "<p>Perché no? È così.</p>\n"
    assert [part.get_content_disposition() for part in attached] == ["attachment"] * 2
    assert {part.get_filename(): part.get_content() for part in attached} == {
        "a.pdf": PDF["a.pdf"],
        "fattura è pronta.pdf": PDF["b.pdf"],
    }
    assert [part.get_content_type() for part in attached] == ["application/pdf"] * 2


def assert_plain(mail: Delivered, row_id: str, created: float) -> None:
    assert (mail.sender, mail.recipients) == (SENDER, ("recipient@example.com",))
    parsed = parse(mail)
    lines = assert_common_headers(mail, row_id, created)
    assert b'From: "Ufficio Posta" <sender@example.com>' in lines
    assert b"To: recipient@example.com" in lines
    assert b"Subject: Solo testo" in lines
    assert "Reply-To" not in parsed
    assert parsed.get_content_type() == "text/plain"
    assert text_of(parsed) == "Due righe.\nPunto.\n"


def assert_common_headers(mail: Delivered, row_id: str, created: float) -> list[bytes]:
    """What every mail carries, octet for octet, once each. Returns its header lines."""
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert b"\r" not in mail.content.replace(b"\r\n", b"")
    lines = mail.content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    written_at = datetime.fromtimestamp(int(created), UTC)
    for wanted in (
        b"MIME-Version: 1.0",
        f"Message-ID: <{row_id}@{DOMAIN}>".encode(),
        f"X-Mailculator-Id: {row_id}".encode(),
        f"Date: {format_datetime(written_at)}".encode(),
    ):
        name = wanted.partition(b":")[0].lower()
        assert [line for line in lines if line.lower().startswith(name + b":")] == [wanted]
    return lines


def assert_sent_call(call: Call, row_id: str, reached: float, *, signed: bool = False) -> None:
    at = datetime.fromtimestamp(int(reached), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = (
        f'{{"code":"TRAVELING","reached_at":"{at}","message_ids":["{row_id}"],'
        '"reason":"Consegnato al server di posta"}'
    )
    assert call.body == body.encode()
    assert_call_headers(call, f"{row_id}:sent", signed=signed)


def assert_failed_call(call: Call, row_id: str, reached: float, reason: str) -> None:
    at = datetime.fromtimestamp(int(reached), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    why = json.dumps(reason, ensure_ascii=False)
    body = f'{{"code":"DISPATCH-ERROR","reached_at":"{at}","message_ids":["{row_id}"],"reason":{why}}}'
    assert call.body == body.encode()
    assert_call_headers(call, f"{row_id}:failed")


def assert_call_headers(call: Call, webhook_id: str, *, signed: bool = False) -> None:
    assert (call.method, call.path) == ("POST", "/callback")
    assert call.headers["X-MTRAX-SOURCE"] == "MULTIDIALOGO"
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["webhook-id"] == webhook_id
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 120
    assert ("webhook-signature" in call.headers) is signed


def parse(mail: Delivered) -> EmailMessage:
    return email.message_from_bytes(mail.content, policy=email.policy.default)


def text_of(part: MIMEPart) -> str:
    text = part.get_content()
    assert text.endswith("\r\n")
    return str(text).replace("\r\n", "\n")


def header(mail: Delivered, name: bytes) -> bytes:
    """One header as it stands, its folding included."""
    head = mail.content.partition(b"\r\n\r\n")[0] + b"\r\n"
    return head.partition(b"\r\n" + name + b": ")[2].replace(b"\r\n ", b" ").partition(b"\r\n")[0]


def message_id(mail: Delivered) -> str:
    return header(mail, b"Message-ID").decode().strip("<>").partition("@")[0]


def call_id(call: Call) -> str:
    (one,) = json.loads(call.body)["message_ids"]
    return str(one)


def accepted(relay: Relay) -> list[Accepted]:
    """What the relay took, as the books are kept."""
    return [
        Accepted(
            email_id=message_id(mail),
            header_id=header(mail, b"X-Mailculator-Id").decode() or None,
            client="",
            sender=mail.sender,
            recipient=mail.recipients[0],
            sha256=hashlib.sha256(mail.content).hexdigest(),
        )
        for mail in relay.delivered()
    ]


async def times(queue: Queue, column: str) -> list[tuple[str, float]]:
    """A time column of every row that has it, as epoch seconds, whatever zone the producer's session is in."""
    seconds = f"UNIX_TIMESTAMP({column})" if queue.store == "mysql" else f"{column} / 1000.0"
    return [
        (str(id_), float(at))
        for id_, at in await queue.run(f"SELECT id, {seconds} FROM emails WHERE {column} IS NOT NULL")
    ]
