"""The three steps of an email as a task queue's user would write them: plain, blocking, one email at a time.

They make the very moves that the service makes, with the same history, so that the same check tells whether all was
done. It runs in the peers' own environment: nothing of this project is imported, and what is not in the standard
library is PyMySQL alone. A process, or a thread, keeps its connections.
"""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import threading
from email.message import EmailMessage
from pathlib import Path

import pymysql

_MOVE = "UPDATE emails SET status = %s, version = version + 1 WHERE id = %s AND status = %s AND version = %s"
_NOTE = "INSERT INTO email_status_history (email_id, status, version) VALUES (%s, %s, %s)"


class Connections(threading.local):
    """To the database, the relay and the callback server; each opened when it is first needed."""

    database: pymysql.Connection[pymysql.cursors.Cursor] | None = None
    relay: smtplib.SMTP | None = None
    callbacks: http.client.HTTPConnection | None = None


_open = Connections()


def intake(email_id: str) -> None:
    """Read the payload, make the mail, see that it can be written."""
    move(email_id, "ACCEPTED", "INTAKING", 2)
    letter(email_id).as_bytes()
    move(email_id, "INTAKING", "READY", 3)


def send(email_id: str) -> None:
    """Hand the mail to the relay."""
    move(email_id, "READY", "PROCESSING", 4)
    mail = letter(email_id)
    if _open.relay is None:
        _open.relay = smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"]))
    _open.relay.send_message(mail, os.environ["SMTP_FROM"], [mail["To"]])
    move(email_id, "PROCESSING", "SENT", 5)


def call_back(email_id: str) -> None:
    """Tell the producer."""
    move(email_id, "SENT", "CALLING-SENT-CALLBACK", 6)
    url = os.environ["PIPELINE_CALLBACK_URL"]
    host, _, path = url.removeprefix("http://").partition("/")
    if _open.callbacks is None:
        _open.callbacks = http.client.HTTPConnection(host)
    body = json.dumps({"code": "TRAVELING", "message_ids": [email_id]})
    _open.callbacks.request("POST", f"/{path}", body, {"Content-Type": "application/json"})
    answer = _open.callbacks.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the callback server says {answer.status}")
    move(email_id, "CALLING-SENT-CALLBACK", "SENT-ACKNOWLEDGED", 7)


def move(email_id: str, origin: str, to: str, version: int) -> None:
    """One move with its line of history, in one transaction."""
    database = _database()
    with database.cursor() as cursor:
        if cursor.execute(_MOVE, (to, email_id, origin, version - 1)) != 1:
            database.rollback()
            raise RuntimeError(f"{email_id} is not {origin} at version {version - 1}")
        cursor.execute(_NOTE, (email_id, to, version))
    database.commit()


def letter(email_id: str) -> EmailMessage:
    """The mail, out of its payload."""
    payload = json.loads(Path(os.environ["PEER_LETTERS"], f"{email_id}.json").read_text(encoding="utf-8"))
    mail = EmailMessage()
    for header, name in (("From", "from"), ("To", "to"), ("Reply-To", "reply_to"), ("Subject", "subject")):
        mail[header] = payload[name]
    mail["Message-ID"] = f"<{email_id}@example.com>"
    mail.set_content(payload["body_text"])
    mail.add_alternative(payload["body_html"], subtype="html")
    return mail


def _database() -> pymysql.Connection[pymysql.cursors.Cursor]:
    if _open.database is None:
        _open.database = pymysql.connect(
            host=os.environ["MYSQL_HOST"],
            port=int(os.environ["MYSQL_PORT"]),
            user=os.environ["MYSQL_USER"],
            database=os.environ["MYSQL_DATABASE"],
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )
    return _open.database
