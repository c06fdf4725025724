"""The check that the scenarios rest on: each invariant holds for books in order, and notices what it is there for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mailculator.model import Status
from tests.support.counting_sink import Accepted, Answered
from tests.support.invariants import CHECKS, Books, Note, Standing, read, violations

SENT, FAILED, INVALID = "a", "b", "c"

_BEGIN = (Note("ACCEPTED", None, "Created by producer"), Note("INTAKING", 2))
_ROWS = {
    SENT: Standing(
        SENT,
        Status.SENT_ACKNOWLEDGED,
        9,
        0,
        (
            *_BEGIN,
            Note("READY", 3),
            Note("PROCESSING", 4),
            Note("READY", 5),
            Note("PROCESSING", 6),
            Note("SENT", 7),
            Note("CALLING-SENT-CALLBACK", 8),
            Note("SENT-ACKNOWLEDGED", 9),
        ),
    ),
    FAILED: Standing(
        FAILED,
        Status.FAILED_ACKNOWLEDGED,
        5,
        0,
        (*_BEGIN, Note("FAILED", 3), Note("CALLING-FAILED-CALLBACK", 4), Note("FAILED-ACKNOWLEDGED", 5)),
    ),
    INVALID: Standing(INVALID, Status.INVALID, 3, 0, (*_BEGIN, Note("INVALID", 3))),
}
_MAIL = Accepted(SENT, SENT, "ours", "from@example.com", "to@example.com", "0" * 64)
_CALLS = (Answered(SENT, "sent", "a:sent", 200), Answered(FAILED, "failed", "b:failed", 204))

ORDER = Books(frozenset(_ROWS), tuple(_ROWS.values()), (_MAIL,), _CALLS)
"""One mail that was sent at the second try, one that failed at intake, and one that was invalid."""

Change = Callable[[Books], Books]


def test_books_in_order_hold() -> None:
    assert violations(ORDER) == []


def row(email_id: str, **changes: object) -> Change:
    """That row, changed."""

    def change(books: Books) -> Books:
        rows = {**_ROWS, email_id: replace(_ROWS[email_id], **changes)}  # type: ignore[arg-type]  # each test's own
        return replace(books, emails=tuple(rows.values()))

    return change


def history(email_id: str, *notes: Note) -> Change:
    """That row with another history, its version as the last of it says."""
    return row(email_id, history=notes, version=max(note.version or 1 for note in notes))


def mails(*accepted: Accepted) -> Change:
    return lambda books: replace(books, accepted=accepted)


def calls(*answers: Answered) -> Change:
    return lambda books: replace(books, answers=answers)


_LOST = replace(ORDER, emails=ORDER.emails[1:])
_SENT_NOTES, _FAILED_NOTES = _ROWS[SENT].history, _ROWS[FAILED].history

BROKEN: list[tuple[str, str, Change]] = [
    ("all there", "a row is gone", lambda books: replace(books, emails=_LOST.emails)),
    ("all there", "a row that nobody put there", lambda books: replace(books, expected=frozenset({SENT, FAILED}))),
    ("all there", "a row twice", lambda books: replace(books, emails=(*books.emails, _ROWS[INVALID]))),
    ("terminal once", "a row stands in a waiting status", row(INVALID, status=Status.READY)),
    ("terminal once", "a row ended twice", row(INVALID, history=(*_ROWS[INVALID].history, Note("INVALID", 4)))),
    ("terminal once", "a row without its end in the history", row(FAILED, history=_FAILED_NOTES[:-1])),
    ("sent once", "sent mail that the relay never took", mails()),
    ("sent once", "sent mail that the relay took twice", mails(_MAIL, _MAIL)),
    ("sent once", "failed mail that the relay took", mails(_MAIL, replace(_MAIL, email_id=FAILED, header_id=FAILED))),
    ("sent once", "invalid mail that the relay took", mails(_MAIL, replace(_MAIL, email_id=INVALID))),
    ("sent once", "mail that nobody put there", mails(_MAIL, replace(_MAIL, email_id="x", header_id="x"))),
    ("names agree", "another id in the header", mails(replace(_MAIL, header_id=FAILED))),
    ("names agree", "no id in the header", mails(replace(_MAIL, header_id=None))),
    ("versions whole", "a gap", row(SENT, history=_SENT_NOTES[:3] + _SENT_NOTES[4:])),
    ("versions whole", "a move without its row", row(FAILED, version=6)),
    ("versions whole", "a row too many", row(FAILED, version=4)),
    ("versions whole", "no first move", row(FAILED, history=_FAILED_NOTES[2:])),
    ("versions unique", "one version twice", row(FAILED, history=(*_FAILED_NOTES, Note("FAILED", 3)))),
    ("steps allowed", "past the holder", history(INVALID, Note("INVALID", 2))),
    (
        "steps allowed",
        "sent without being held",
        history(SENT, *_SENT_NOTES[:3], Note("SENT", 4), Note("CALLING-SENT-CALLBACK", 5)),
    ),
    ("steps allowed", "the row and its history disagree", row(FAILED, status=Status.SENT_ACKNOWLEDGED)),
    (
        "written in order",
        "a later move was written first",
        row(FAILED, history=(*_FAILED_NOTES[:-2], _FAILED_NOTES[-1], _FAILED_NOTES[-2])),
    ),
    ("acknowledged was answered", "nobody was called", calls(_CALLS[1])),
    ("acknowledged was answered", "the answer was no", calls(replace(_CALLS[0], status=500), _CALLS[1])),
    ("acknowledged was answered", "of another kind", calls(replace(_CALLS[0], kind="failed"), _CALLS[1])),
    ("callback names agree", "no webhook-id", calls(replace(_CALLS[0], webhook_id=None), _CALLS[1])),
    ("callback names agree", "another's webhook-id", calls(replace(_CALLS[0], webhook_id="b:sent"), _CALLS[1])),
    ("called once", "twice", calls(_CALLS[0], *_CALLS)),
    ("called once", "invalid mail was called back", calls(*_CALLS, Answered(INVALID, "failed", "c:failed", 200))),
]


@pytest.mark.parametrize(("name", "what", "change"), BROKEN, ids=[f"{name}: {what}" for name, what, _ in BROKEN])
def test_it_notices(name: str, what: str, change: Change) -> None:
    found = violations(change(ORDER))
    assert [one for one in found if one.startswith(f"{name}: ")], found


def test_every_invariant_can_fail() -> None:
    assert {name for name, _, _ in BROKEN} == set(CHECKS)


def test_a_repeated_callback_is_allowed_where_something_died() -> None:
    assert violations(replace(calls(_CALLS[0], *_CALLS)(ORDER), undisturbed=False)) == []


def test_an_older_consumer_leaves_gaps_and_sends_without_our_header() -> None:
    gaps = (*_BEGIN, Note("READY", 3), Note("PROCESSING", None), Note("SENT", None), *_SENT_NOTES[-2:])
    books = calls(replace(_CALLS[0], webhook_id=None), _CALLS[1])(row(SENT, history=gaps)(ORDER))
    books = replace(books, accepted=(replace(_MAIL, header_id=None),))
    assert violations(replace(books, older=True)) == []
    assert {one.partition(":")[0] for one in violations(books)} == {
        "names agree",
        "versions whole",
        "callback names agree",
    }


def test_an_older_consumer_raises_no_version_beyond_the_rows() -> None:
    gaps = (*_BEGIN, Note("READY", 3), *_SENT_NOTES[-2:])
    found = violations(replace(row(SENT, history=gaps, version=8)(ORDER), older=True))
    assert [one.partition(":")[0] for one in found] == ["versions whole"]


def test_a_requeue_starts_a_generation_of_its_own() -> None:
    again = (*_ROWS[INVALID].history, Note("ACCEPTED", 4), Note("INTAKING", 5), Note("INVALID", 6))
    books = row(INVALID, history=again, version=6, generation=1)(ORDER)
    assert violations(books) == []


def test_it_reads_a_queue(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "queue.db")
    connection.executescript((Path(__file__).parents[2] / "sql" / "sqlite" / "0001_queue.sql").read_text())
    connection.execute("INSERT INTO emails (id, status, version, generation) VALUES ('a', 'INTAKING', 2, 1)")
    connection.execute("INSERT INTO email_status_history (email_id, status, reason) VALUES ('a', 'ACCEPTED', 'put')")
    connection.execute("INSERT INTO email_status_history (email_id, status, version) VALUES ('a', 'INTAKING', 2)")
    found = read(lambda sql: connection.execute(sql).fetchall())
    connection.close()
    assert found == [Standing("a", Status.INTAKING, 2, 1, (Note("ACCEPTED", None, "put"), Note("INTAKING", 2)))]
    assert found[0].moves == ((2, Status.INTAKING),)
