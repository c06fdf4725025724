"""A producer: writes payload files, and puts rows on a queue with the very statements that producers use."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import pymysql
from pymysql.cursors import Cursor

EMAIL = "INSERT INTO emails (id, status, payload_file_path, ttl) VALUES (?, 'ACCEPTED', ?, ?)"
HISTORY = "INSERT INTO email_status_history (email_id, status, reason) VALUES (?, 'ACCEPTED', 'Created by producer')"
UUID_EMAIL = (
    "INSERT INTO emails (id, status, payload_file_path, ttl)"
    " VALUES (UUID(), 'ACCEPTED', '{path}', UNIX_TIMESTAMP() + 3600)"
)
LAST_FIVE_MINUTES = "SELECT COUNT(*) FROM emails WHERE created_at > NOW() - INTERVAL 5 MINUTE"

GROUP = 500
"""Rows in one multi-row INSERT."""

History = Literal["together", "apart", "omitted"]
"""The history row: committed with the email, after it, or never."""

Rows = Sequence[tuple[Any, ...]]


class Producer(Protocol):
    """What both kinds of producer do; each call blocks until it is committed."""

    def run(self, sql: str, *parameters: object) -> Rows:
        """One statement, committed; `?` marks a parameter. Returns the rows of a query."""

    def put(self, email_id: str, path: Path, ttl: int | None = None, history: History = "together") -> None:
        """One email, by the producers' two inserts."""

    def note(self, email_id: str) -> None:
        """The history row of an email that was put without one."""

    def put_many(self, emails: Iterable[tuple[str, Path]]) -> None:
        """Many emails by multi-row inserts, the history rows in the same transactions."""

    def close(self) -> None:
        """End the session."""


class MariadbProducer:
    """A session as a producer's library opens it: autocommit, server-side prepared statements, the server's zone."""

    def __init__(self, *, port: int, database: str, host: str = "127.0.0.1", user: str = "root") -> None:
        self._connection: pymysql.Connection[Cursor] = pymysql.connect(
            host=host,
            port=port,
            user=user,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,  # else it loads every CA of the machine first, for a server that has no TLS
        )

    def run(self, sql: str, *parameters: object) -> Rows:
        with self._connection.cursor() as cursor:
            if not parameters:
                cursor.execute(sql)
                return tuple(cursor.fetchall())
            names = [f"@p{number}" for number in range(len(parameters))]
            cursor.execute("PREPARE statement FROM %s", (sql,))
            cursor.execute("SET " + ", ".join(f"{name} = %s" for name in names), parameters)
            cursor.execute("EXECUTE statement USING " + ", ".join(names))
            rows = tuple(cursor.fetchall())
            cursor.execute("DEALLOCATE PREPARE statement")
            return rows

    def put(self, email_id: str, path: Path, ttl: int | None = None, history: History = "together") -> None:
        if history == "together":
            self._connection.begin()
        self.run(EMAIL, email_id, str(path), ttl)
        if history != "omitted":
            self.note(email_id)
        self._connection.commit()

    def note(self, email_id: str) -> None:
        self.run(HISTORY, email_id)

    def put_many(self, emails: Iterable[tuple[str, Path]]) -> None:
        for group in _groups(emails):
            self._connection.begin()
            with self._connection.cursor() as cursor:
                emails_sql, history_sql = (_many(sql, len(group)).replace("?", "%s") for sql in (EMAIL, HISTORY))
                cursor.execute(emails_sql, [value for one in group for value in (one[0], str(one[1]), None)])
                cursor.execute(history_sql, [one[0] for one in group])
            self._connection.commit()

    def close(self) -> None:
        self._connection.close()


class SqliteProducer:
    """A producer on the embedded queue, through the standard library's module."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)

    def run(self, sql: str, *parameters: object) -> Rows:
        return self._connection.execute(sql, parameters).fetchall()

    def put(self, email_id: str, path: Path, ttl: int | None = None, history: History = "together") -> None:
        if history == "together":
            self._connection.execute("BEGIN IMMEDIATE")
        self.run(EMAIL, email_id, str(path), ttl)
        if history != "omitted":
            self.note(email_id)
        if history == "together":
            self._connection.execute("COMMIT")

    def note(self, email_id: str) -> None:
        self.run(HISTORY, email_id)

    def put_many(self, emails: Iterable[tuple[str, Path]]) -> None:
        for group in _groups(emails):
            self._connection.execute("BEGIN IMMEDIATE")
            self.run(_many(EMAIL, len(group)), *(value for one in group for value in (one[0], str(one[1]), None)))
            self.run(_many(HISTORY, len(group)), *(one[0] for one in group))
            self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def write_payload(path: Path, **fields: object) -> Path:
    """A payload file: a plain mail, with `fields` changed or added."""
    plain = {
        "id": path.stem,
        "from": "Società Però <sender@example.com>",
        "reply_to": "reply@example.com",
        "to": "recipient@example.com",
        "subject": "Oggetto",
        "body_text": "Perché no? È così.",
    }
    path.write_text(json.dumps(plain | fields, ensure_ascii=False), encoding="utf-8")
    return path


def write_many(folder: Path, count: int) -> dict[str, Path]:
    """That many emails, each with a file of its own and a recipient that tells whose mail it is."""
    emails = {}
    for _ in range(count):
        email_id = str(uuid.uuid4())
        to = recipient(email_id)
        emails[email_id] = write_payload(folder / f"{email_id}.json", to=to, body_text=f"Per {to}: è pronto.")
    return emails


def recipient(email_id: str) -> str:
    """The address that `write_many` sends an email to."""
    return f"r-{email_id}@example.org"


def _many(insert: str, count: int) -> str:
    """The statement with its VALUES group repeated."""
    head, _, group = insert.partition(" VALUES ")
    return f"{head} VALUES {', '.join([group] * count)}"


def _groups(emails: Iterable[tuple[str, Path]]) -> Iterable[list[tuple[str, Path]]]:
    waiting = list(emails)
    while waiting:
        yield waiting[:GROUP]
        waiting = waiting[GROUP:]
