"""What holds for every email, whatever happened: one check over the queue, the relay's and the callback's books.

`violations` says in words what does not hold, each with the name of the invariant; an empty list is a clean run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailculator.lifecycle import MOVES, TERMINAL
from mailculator.model import Status
from tests.support.counting_sink import Accepted, Answered

SENT = frozenset({Status.SENT, Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED})
ACKNOWLEDGED = {Status.SENT_ACKNOWLEDGED: "sent", Status.FAILED_ACKNOWLEDGED: "failed"}


@dataclass(frozen=True, slots=True)
class Note:
    """One history row; `version` is None where another program wrote it."""

    status: str
    version: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One email of the queue, with its history in the order of the rows' numbers."""

    id: str
    status: Status
    version: int
    generation: int
    history: tuple[Note, ...]

    @property
    def moves(self) -> tuple[tuple[int, Status], ...]:
        """The versioned history: which version stood in which status, in the order of the versions."""
        known = [(note.version, Status(note.status)) for note in self.history if note.version is not None]
        return tuple(sorted(known, key=lambda move: move[0]))


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that was written down about one run.

    Arguments:
        expected: ids of every email that was put on the queue and is still to be there.
        older: another consumer moved some of them without versioned rows, and called back without a webhook-id.
        undisturbed: nothing died and nothing was refused on the way, so each callback came exactly once.
    """

    expected: frozenset[str]
    emails: Sequence[Standing]
    accepted: Sequence[Accepted]
    answers: Sequence[Answered]
    older: bool = False
    undisturbed: bool = True


def read(run: Callable[[str], Sequence[tuple[Any, ...]]]) -> list[Standing]:
    """Every email of a queue. `run` gives the rows of a query."""
    history: defaultdict[str, list[Note]] = defaultdict(list)
    for email_id, status, version, reason in run(
        "SELECT email_id, status, version, reason FROM email_status_history ORDER BY id"
    ):
        history[email_id].append(Note(status, version, reason))
    return [
        Standing(email_id, Status(status), version, generation, tuple(history[email_id]))
        for email_id, status, version, generation in run("SELECT id, status, version, generation FROM emails")
    ]


def violations(books: Books) -> list[str]:
    """Everything that does not hold."""
    return [f"{name}: {what}" for name, check in CHECKS.items() for what in check(books)]


def _all_there(books: Books) -> Iterator[str]:
    there = Counter(email.id for email in books.emails)
    yield from (f"{email_id} is not on the queue" for email_id in sorted(books.expected - there.keys()))
    yield from (f"{email_id} was never put there" for email_id in sorted(there.keys() - books.expected))
    yield from (f"{email_id} is there {count} times" for email_id, count in there.items() if count > 1)


def _terminal_once(books: Books) -> Iterator[str]:
    for email in books.emails:
        if email.status not in TERMINAL:
            yield f"{email.id} stands in {email.status}"
        ends = [note.status for note in email.history if note.status in TERMINAL]
        if len(ends) != 1 and not email.generation:
            yield f"{email.id} ended {len(ends)} times: {ends}"


def _sent_once(books: Books) -> Iterator[str]:
    taken = Counter(mail.email_id for mail in books.accepted)
    for email in books.emails:
        wanted = 1 if email.status in SENT else 0
        if taken[email.id] != wanted:
            yield f"{email.id} stands in {email.status} and reached the relay {taken[email.id]} times"
    yield from (f"the relay has {unknown!r}" for unknown in sorted(taken.keys() - books.expected))


def _names_agree(books: Books) -> Iterator[str]:
    for mail in books.accepted:
        if mail.header_id != mail.email_id and not (books.older and mail.header_id is None):
            yield f"Message-ID of {mail.email_id}, X-Mailculator-Id of {mail.header_id}"


def _versions_whole(books: Books) -> Iterator[str]:
    for email in books.emails:
        versions = [version for version, _ in email.moves]
        if books.older:
            if not all(1 < version <= email.version for version in versions):
                yield f"{email.id} has version {email.version} and history {versions}"
        elif versions != list(range(2, email.version + 1)):
            yield f"{email.id} has version {email.version} and history {versions}"


def _versions_unique(books: Books) -> Iterator[str]:
    for email in books.emails:
        for version, count in Counter(version for version, _ in email.moves).items():
            if count > 1:
                yield f"{email.id} has {count} history rows of version {version}"


def _steps_allowed(books: Books) -> Iterator[str]:
    for email in books.emails:
        last, at = 1, Status.ACCEPTED
        for version, to in email.moves:
            # Where a version is missing, the older consumer moved it: that is for its own rows to tell.
            if version == last + 1 and to not in MOVES[at]:
                yield f"{email.id} went from {at} to {to} at version {version}"
            last, at = version, to
        if last == email.version and at is not email.status:
            yield f"{email.id} stands in {email.status}; its history ends in {at}"


def _written_in_order(books: Books) -> Iterator[str]:
    for email in books.emails:
        written = [note.version for note in email.history if note.version is not None]
        if written != sorted(written):
            yield f"{email.id} has history rows in the order {written}"


def _acknowledged_was_answered(books: Books) -> Iterator[str]:
    heard = {(one.email_id, one.kind) for one in books.answers if 200 <= one.status < 300}
    for email in books.emails:
        kind = ACKNOWLEDGED.get(email.status)
        if kind is not None and (email.id, kind) not in heard:
            yield f"{email.id} is {email.status} and no callback of it was answered 2xx"


def _callback_names_agree(books: Books) -> Iterator[str]:
    generations = {email.id: email.generation for email in books.emails}
    for one in books.answers:
        wanted = f"{one.email_id}:{one.kind}"
        if generations.get(one.email_id):
            wanted += f":{generations[one.email_id]}"
        if one.webhook_id != wanted and not (books.older and one.webhook_id is None):
            yield f"webhook-id {one.webhook_id} for {wanted}"


def _called_once(books: Books) -> Iterator[str]:
    calls = Counter((one.email_id, one.kind) for one in books.answers)
    wanted = {(email.id, ACKNOWLEDGED[email.status]) for email in books.emails if email.status in ACKNOWLEDGED}
    yield from (f"{who} was called {calls[who]} times and stands elsewhere" for who in sorted(calls.keys() - wanted))
    if books.undisturbed:
        yield from (f"{who} was called {calls[who]} times" for who in sorted(wanted) if calls[who] != 1)


Check = Callable[[Books], Iterable[str]]

CHECKS: Mapping[str, Check] = {
    "all there": _all_there,
    "terminal once": _terminal_once,
    "sent once": _sent_once,
    "names agree": _names_agree,
    "versions whole": _versions_whole,
    "versions unique": _versions_unique,
    "steps allowed": _steps_allowed,
    "written in order": _written_in_order,
    "acknowledged was answered": _acknowledged_was_answered,
    "callback names agree": _callback_names_agree,
    "called once": _called_once,
}
"""Every invariant by its name."""
