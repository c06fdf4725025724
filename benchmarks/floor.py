"""The floor: the least that brings an email from ACCEPTED to SENT-ACKNOWLEDGED, every step durable and versioned.

    python -m benchmarks.floor        works on the queue that the service's own variables name, until it is ended

It is the limit to compare the service with, and nobody's to run: it believes every row and every payload, takes what a
peer says for yes or dies, holds no lease, and keeps no journal, log or metrics; what it held when it ended stays so.

One process. Three stages, each with a connection to MariaDB: claim up to 500, work on them, record them. Messages are
put together by hand and leave over raw SMTP sessions (MAIL, RCPT and DATA in one write, RFC 2920), callbacks over raw
connections that stay open. No task, future or timer belongs to a single email.
"""

from __future__ import annotations

import asyncio
import os
from binascii import b2a_base64, b2a_qp
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from time import gmtime, strftime
from typing import Any
from urllib.parse import urlsplit

import aiomysql
import orjson

from benchmarks.floor_lanes import HttpLane, Lanes, SmtpLane

BATCH = 500
SMTP_CONNECTIONS = 4
HTTP_CONNECTIONS = 4
IDLE = 0.1
"""Seconds between two looks at an empty queue."""

Row = tuple[str, str]
"""An email's id, and the path of its payload."""


@dataclass
class Stage:
    """One of three.

    Arguments:
        version: what the claim makes of it.
        work: what happens to those that were claimed.
    """

    waiting: str
    working: str
    done: str
    version: int
    work: Callable[[Sequence[Row]], Awaitable[None]]
    news: asyncio.Event = field(default_factory=asyncio.Event)


def message(row: Row) -> bytes:
    """A job for an SMTP lane: two parts in quoted-printable, as the service sends them; about 4 KB."""
    email_id, path = row
    mail = orjson.loads(_read(path))
    name, _, sender = mail["from"].rpartition(" ")
    head = (
        f"MIME-Version: 1.0\r\nDate: {DATE}\r\nMessage-ID: <{email_id}@{DOMAIN}>\r\n"
        f"From: {_word(name)} {sender}\r\nTo: {mail['to']}\r\nReply-To: {mail['reply_to']}\r\n"
        f"Subject: {_word(mail['subject'])}\r\nX-Mailculator-Id: {email_id}\r\n"
        f'Content-Type: multipart/alternative; boundary="{email_id}"\r\n'
    )
    plain, html = (_lines(mail[part]) for part in ("body_text", "body_html"))
    content = _MESSAGE % {b"head": head.encode(), b"id": email_id.encode(), b"plain": plain, b"html": html}
    commands = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{mail['to']}>\r\nDATA\r\n"
    return b"%s\0%s\r\n.\r\n" % (commands.encode(), content.replace(b"\r\n.", b"\r\n.."))


def _read(path: str) -> bytes:
    """Python's file objects take five times as long."""
    file = os.open(path, os.O_RDONLY)
    content = os.read(file, 1 << 20)
    os.close(file)
    return content


def _lines(text: str) -> bytes:
    return b2a_qp(text.replace("\n", "\r\n").encode())


def _word(text: str) -> str:
    """RFC 2047."""
    return f"=?utf-8?b?{b2a_base64(text.encode(), newline=False).decode()}?="


_PART = (
    b"\r\n--%%(id)s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"\r\n%%(%s)s"
)
_MESSAGE = b"%%(head)s%s%s\r\n--%%(id)s--" % (_PART % (b"plain", b"plain"), _PART % (b"html", b"html"))
_CALLBACK = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"

SENDER = os.environ.get("SMTP_FROM", "bounces@example.com")
DOMAIN = SENDER.rpartition("@")[2]
DATE = format_datetime(datetime.now(UTC))


def callback(row: Row, path: bytes, host: bytes) -> bytes:
    """A job for an HTTP lane."""
    now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
    told = {"code": "TRAVELING", "reached_at": now, "message_ids": [row[0]], "reason": "Consegnato al server di posta"}
    body = orjson.dumps(told)
    return _CALLBACK % (path, host, len(body), body)


async def work_off(connection: Any, stage: Stage, then: Stage | None) -> None:
    """One stage, for ever."""
    async with connection.cursor() as cursor:
        while True:
            stage.news.clear()
            rows = await claim(cursor, stage)
            if rows:
                await stage.work(rows)
                await move(cursor, rows, stage.done, stage.version + 1)
                await cursor.execute("COMMIT")
                if then is not None:
                    then.news.set()
            elif not stage.news.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE):
                        await stage.news.wait()


async def claim(cursor: Any, stage: Stage) -> Sequence[Row]:
    await cursor.execute(
        "SELECT id, payload_file_path FROM emails FORCE INDEX (idx_emails_due)"
        f" WHERE status = '{stage.waiting}' AND parked = 0 AND due_at <= NOW(6)"
        f" ORDER BY due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED"
    )
    rows: Sequence[Row] = await cursor.fetchall()
    if rows:
        await move(cursor, rows, stage.working, stage.version)
    await cursor.execute("COMMIT")
    return rows


async def move(cursor: Any, rows: Sequence[Row], status: str, version: int) -> None:
    ids = "','".join(email_id for email_id, _ in rows)
    await cursor.execute(f"UPDATE emails SET status = '{status}', version = {version} WHERE id IN ('{ids}')")
    notes = ",".join(f"('{email_id}','{status}',{version})" for email_id, _ in rows)
    await cursor.execute(f"INSERT INTO email_status_history (email_id, status, version) VALUES {notes}")


async def main() -> None:
    """Until it is ended."""
    smtp, http, url = Lanes(), Lanes(), urlsplit(os.environ["PIPELINE_CALLBACK_URL"])
    host, path = url.netloc.encode(), url.path.encode()
    await smtp.open(SmtpLane, os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"]), SMTP_CONNECTIONS)
    await http.open(HttpLane, str(url.hostname), int(url.port or 80), HTTP_CONNECTIONS)

    async def intake(_: Sequence[Row]) -> None:
        """Whoever checks nothing has nothing to do here."""

    async def send(rows: Sequence[Row]) -> None:
        await smtp.run(map(message, rows), len(rows))

    async def call_back(rows: Sequence[Row]) -> None:
        await http.run((callback(row, path, host) for row in rows), len(rows))

    stages = (
        Stage("ACCEPTED", "INTAKING", "READY", 2, intake),
        Stage("READY", "PROCESSING", "SENT", 4, send),
        Stage("SENT", "CALLING-SENT-CALLBACK", "SENT-ACKNOWLEDGED", 6, call_back),
    )
    connections = [await connect() for _ in stages]
    async with asyncio.TaskGroup() as group:
        for connection, stage, then in zip(connections, stages, (*stages[1:], None), strict=True):
            group.create_task(work_off(connection, stage, then))


async def connect() -> Any:
    return await aiomysql.connect(
        host=os.environ["MYSQL_HOST"],
        port=int(os.environ["MYSQL_PORT"]),
        user=os.environ["MYSQL_USER"],
        db=os.environ["MYSQL_DATABASE"],
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )


if __name__ == "__main__":
    asyncio.run(main())
