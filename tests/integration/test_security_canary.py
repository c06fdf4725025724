"""No secret, body or full address comes out where it must not, whatever goes wrong (docs/security.md).

One process, unique strings in everything that is confidential, every error path that quotes somebody, and then a search
for the strings.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import urllib.parse
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mailculator.model import Status
from mailculator.stores.sqlite_schema import SqliteSchema
from tests.support.callback_peer import Call, CallbackPeer
from tests.support.producer import SqliteProducer, write_payload
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(120)

CANARIES: Mapping[str, str] = {
    "relay's password": "cnr1-smtp-p%ss",
    "callback secret": "cnr2-callback-secret",
    "callback header": "cnr3-bearer-token",
    "callback URL": "cnr4-url-token",
    "MariaDB's password": "cnr5-mysql-p%ss",
    "AWS secret": "cnr6-aws-secret",
    "body": "cnr7-what-the-letter-says",
    "local part": "cnr8.somebody",
    "subject": "cnr9-subject",
    "attachment path": "cnr10-folder",
}
LOGIN = b"\0we\0" + CANARIES["relay's password"].encode()
LOCAL, BODY, SUBJECT = CANARIES["local part"], CANARIES["body"], CANARIES["subject"]
PASSWORD = CANARIES["relay's password"]
ADDRESS = f"{LOCAL}@example.org"
AUTH_LINE = f"AUTH PLAIN {base64.b64encode(LOGIN).decode()}"
ECHO = f"{AUTH_LINE} ({base64.b64encode(PASSWORD.encode()).decode()}, {PASSWORD})"
"""What a relay that means no harm may quote of us."""
REFUSAL = f"550 5.1.1 <{ADDRESS}>: {ADDRESS} is not known, nor is {LOCAL}+tag@example.org, said {ECHO}"
GOOD = 4

WRONG: Mapping[str, bytes | dict[str, object]] = {
    "no JSON": f'{{"body_text": "{BODY}", "to": "{ADDRESS}" oops}}'.encode(),
    "no UTF-8": f'{{"body_text": "{BODY}", "to": "{ADDRESS}"'.encode() + b"\xff}",
    "a string": json.dumps(f"{BODY} {ADDRESS}").encode(),
    "two recipients": {"to": f"{ADDRESS}, {LOCAL}@example.com"},
    "a quoted recipient": {"to": f'"{LOCAL}"@example.org'},
    "a command": {"to": f"{ADDRESS}\r\nRCPT TO:<{LOCAL}@example.net>"},
    "a sender that is none": {"from": f"{LOCAL} at example"},
    "an injected header": {"subject": f"{SUBJECT}\r\nBcc: {ADDRESS}"},
    "a header too long": {"custom_headers": {"X-Long": SUBJECT * 200}},
    "a body that is a list": {"body_text": [BODY]},
    "a file elsewhere": {"attachments": [f"../../{CANARIES['attachment path']}/x.pdf"]},
}


@dataclass(frozen=True)
class Traces:
    """Everything that a run left behind, by where it can be read, and what its peers were given.

    Arguments:
        places: octets by place.
        statuses: of every email.
        reasons: what the history says.
        stranger: calls to a URL that stands in payloads alone.
    """

    places: Mapping[str, bytes]
    statuses: list[str]
    reasons: list[str]
    relay: SmtpPeer
    calls: list[Call]
    stranger: list[Call]


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it is, and as it would stand in JSON, in a URL and in an AUTH command."""
    raw = secret.encode()
    yield raw
    yield urllib.parse.quote(secret, safe="").encode()
    yield base64.b64encode(raw)
    yield base64.b64encode(b"\0we\0" + raw)


async def echo(request: web.Request) -> web.StreamResponse:
    """A 500 whose page quotes what was posted, as frameworks in debug mode do."""
    asked = f"{request.path_qs} {dict(request.headers)}"
    return web.Response(status=500, text=f"Traceback: cannot handle {(await request.read()).decode()} {asked}")


async def probe(service: ServiceProcess, places: dict[str, bytes], when: str) -> None:
    """What the open port tells at this moment."""
    async with aiohttp.ClientSession() as session:
        for path in ("/health", "/readyz", "/livez", "/metrics"):
            async with session.get(f"http://127.0.0.1:{service.port}{path}") as answer:
                places[f"{path} {when}"] = await answer.read()


def fill(folder: Path, producer: SqliteProducer, stranger: str) -> None:
    """Mail that is fine and mail that is wrong in as many ways, all of it full of what must not come out."""
    mail = {
        "from": f"{LOCAL} <{LOCAL}@example.com>",
        "reply_to": f"{LOCAL}+reply@example.com",
        "to": f"{LOCAL} <{ADDRESS}>",
        "subject": SUBJECT,
        "body_text": f"{BODY} {ADDRESS}",
        "custom_headers": {"X-Ref": SUBJECT},
        "callback_url": stranger,
        BODY: ADDRESS,
    }
    for number in range(GOOD):
        path = write_payload(folder / f"good-{number}.json", **mail | {"id": str(uuid.uuid4())})
        producer.put(str(uuid.uuid4()), path)
    for number, wrong in enumerate(WRONG.values()):
        path = folder / f"wrong-{number}.json"
        if isinstance(wrong, bytes):
            path.write_bytes(wrong)
        else:
            write_payload(path, **mail | {"id": str(uuid.uuid4())} | wrong)
        producer.put(str(uuid.uuid4()), path)


@pytest.fixture(scope="module", params=["info", "debug"])
async def traces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traces]:
    folder = tmp_path_factory.mktemp("run")
    kept = folder / "kept"
    (folder / "attachments").mkdir()
    kept.mkdir()
    await SqliteSchema(kept / "queue.db").apply(lambda _: None)
    producer = SqliteProducer(kept / "queue.db")
    places: dict[str, bytes] = {}
    async with (
        SmtpPeer(users={"we": "another"}) as relay,
        CallbackPeer(status=500) as callback,
        CallbackPeer() as stranger,
    ):
        fill(folder, producer, stranger.url)
        relay.answer("auth", f"535 5.7.8 bad credentials: {ECHO}")
        relay.answer("rcpt", REFUSAL, times=1)
        relay.answer("dot", f"451 4.3.0 try later, {ADDRESS} {ECHO}", times=1)
        relay.answer("after_dot", f"250 2.0.0 taken for <{ADDRESS}> from {ECHO}", times=1)
        callback.script = [echo] * 8
        variables: dict[str, object] = {
            "SQLITE_PIPELINES_ENABLED": "true",
            "SQLITE_PATH": kept / "queue.db",
            "MAILCULATOR_JOURNAL_DIR": kept / "journal",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": relay.port,
            "SMTP_FROM": "bounce@mta.example",
            "SMTP_USER": "we",
            "SMTP_PASS": PASSWORD,
            "MAILCULATOR_SMTP_TLS": "none",
            "PIPELINE_CALLBACK_URL": f"{callback.url}?token={CANARIES['callback URL']}",
            "MAILCULATOR_CALLBACK_SECRET": CANARIES["callback secret"],
            "MAILCULATOR_CALLBACK_HEADERS": json.dumps({"Authorization": f"Bearer {CANARIES['callback header']}"}),
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_PASSWORD": CANARIES["MariaDB's password"],
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": CANARIES["AWS secret"],
            "ATTACHMENTS_BASE_PATH": folder / "attachments",
            "PIPELINE_INTERVAL": "0.1",
            "MAILCULATOR_LOG_LEVEL": request.param,
            "MAILCULATOR_TIME_SCALE": "0.05",
        }
        async with ServiceProcess(variables) as service, asyncio.timeout(90):
            await service.expect("breaker.opened", where=lambda line: line["breaker"] == "relay")
            await service.expect("mail.invalid", len(WRONG))
            await probe(service, places, "while the password is refused")
            relay.users = {"we": PASSWORD}
            del relay.faults["auth"]
            await service.expect("breaker.opened", where=lambda line: line["breaker"] == "callback")
            await probe(service, places, "while callbacks are refused")
            callback.status = 200
            await service.expect("mail.acknowledged", GOOD)
            await probe(service, places, "at the end")
            assert await service.stop() == 0
        places["standard output"] = "\n".join(json.dumps(line, ensure_ascii=False) for line in service.lines).encode()
        places["standard error"] = service.errors.encode()
        producer.close()
        for path in kept.rglob("*"):
            if path.is_file():
                places[str(path.relative_to(kept))] = path.read_bytes()
        for number, call in enumerate(callback.calls):
            places[f"callback {number}"] = call.body
        with sqlite3.connect(kept / "queue.db") as connection:
            statuses = [status for (status,) in connection.execute("SELECT status FROM emails")]
            reasons = [reason for (reason,) in connection.execute("SELECT reason FROM email_status_history") if reason]
        connection.close()
        yield Traces(places, statuses, reasons, relay, callback.calls, stranger.calls)


def test_every_error_path_was_taken_and_the_strings_were_in_it(traces: Traces) -> None:
    """Without this, nothing would be found where nothing had happened."""
    assert Counter(traces.statuses) == {
        Status.SENT_ACKNOWLEDGED: GOOD - 1,
        Status.FAILED_ACKNOWLEDGED: 1,
        Status.INVALID: len(WRONG),
    }
    assert len(traces.relay.accepted) == GOOD - 1
    assert all(BODY.encode() in mail.content and mail.recipient == ADDRESS for mail in traces.relay.accepted)
    assert AUTH_LINE in traces.relay.commands
    assert all(CANARIES["callback header"] in call.headers["Authorization"] for call in traces.calls)
    for said in (
        "550 5.1.1 <***@example.org>",
        "451 4.3.0",
        "250 2.0.0 taken for <***@example.org>",
        "5.7.8 bad credentials: AUTH PLAIN *** (***, ***)",
    ):
        assert any(said in reason for reason in traces.reasons), said
    assert any("500 Traceback: cannot handle {" in reason for reason in traces.reasons)
    assert any("/callback?***" in reason and "'Authorization': '***'" in reason for reason in traces.reasons)
    journals = [place for place in traces.places if place.startswith("journal/")]
    assert any(b"taken for <***@example.org>" in traces.places[place] for place in journals)
    assert any(b"550 5.1.1 <***@example.org>" in call.body for call in traces.calls), "what the producer is told"
    assert b'"status":"warn"' in traces.places["/health while the password is refused"]


@pytest.mark.parametrize("kind", CANARIES)
def test_what_is_confidential_stands_nowhere(traces: Traces, kind: str) -> None:
    secrets = set(forms(CANARIES[kind]))
    assert [place for place, octets in traces.places.items() if any(one in octets for one in secrets)] == []


def test_callbacks_go_where_the_settings_say_and_nowhere_else(traces: Traces) -> None:
    assert traces.stranger == [], "a URL in a payload leads nowhere"
    assert {call.path for call in traces.calls} == {"/callback"}
