"""Rows that nobody can work on (bad input 47): what is wrong with them, in words that an operator reads in the row."""

from __future__ import annotations

import sqlite3

VERSION_LIMIT = 2_147_480_000
"""The largest version, and number of tries, that is taken for one: what every store can count up to, and some."""

NO_TEXT = "row_corrupt: the id is no UTF-8 text"


def odd_rows(connection: sqlite3.Connection, rows: str) -> dict[int, str]:
    """Which of the rows, a JSON array of their numbers, nobody can work on, and why (bad input 47)."""
    odd: dict[int, str] = {}
    found = connection.execute(
        """SELECT emails.rowid, emails.version, attempts, taken.id IS NOT NULL, CAST(emails.id AS BLOB)
        FROM json_each(:rows) AS asked CROSS JOIN emails ON emails.rowid = asked.value
        LEFT JOIN email_status_history AS taken ON taken.email_id = emails.id AND taken.version = emails.version + 1
        WHERE taken.id IS NOT NULL OR emails.version NOT BETWEEN 1 AND :most OR attempts > :most
            OR length(CAST(emails.id AS BLOB)) <> 36 OR emails.id GLOB '*[^0-9A-Za-z-]*'""",
        {"rows": rows, "most": VERSION_LIMIT},
    )
    for number, version, attempts, taken, email_id in found:
        if not 1 <= version <= VERSION_LIMIT:
            odd[number] = f"row_corrupt: version {version}"
        elif attempts > VERSION_LIMIT:
            odd[number] = f"row_corrupt: {attempts} attempts"
        elif taken:
            odd[number] = f"the history already has version {version + 1}: somebody wrote to it by hand"
        elif not _is_text(email_id):
            odd[number] = NO_TEXT
    return odd


def _is_text(raw: bytes) -> bool:
    """Whether an id comes back as the same bytes; under any other its row would not be found again."""
    try:
        return "\0" not in raw.decode()
    except UnicodeDecodeError:
        return False
