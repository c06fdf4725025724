"""What holds for every email while two queues are worked on, ids stand in both of them, and replicas are killed.

`violations` says in words what does not hold, as `invariants` does for one queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailculator.lifecycle import STAGE_BY_WORKING
from mailculator.model import Status
from mailculator.stores.dynamodb import history
from tests.support import invariants
from tests.support.counting_sink import Accepted, Answered
from tests.support.dynamodb_records import Item
from tests.support.invariants import Books, Note, Standing

WITHIN = (
    "all there",
    "terminal once",
    "versions whole",
    "versions unique",
    "steps allowed",
    "written in order",
    "acknowledged was answered",
    "callback names agree",
)
"""The invariants that hold for each queue by itself; the others are about what both did together."""


@dataclass(frozen=True, slots=True)
class Killed:
    """A process that was killed, and what it held at that moment: by store, each email's status."""

    replica: str
    held: Mapping[str, Mapping[str, Status]]

    def amid(self, store: str, email_id: str, status: Status) -> bool:
        """Whether it was about that email of that store when it died."""
        return self.held.get(store, {}).get(email_id) is status


@dataclass(frozen=True, slots=True)
class TwoBooks:
    """Everything that was written down about one run.

    Arguments:
        expected: per store, ids of every email that was put there.
        copies: per store, every email as it stands.
        killed: in their order.
        slow: ids whose callbacks the receiver kept waiting for longer than anybody waits.
    """

    expected: Mapping[str, frozenset[str]]
    copies: Mapping[str, Sequence[Standing]]
    accepted: Sequence[Accepted]
    answers: Sequence[Answered]
    killed: Sequence[Killed] = ()
    slow: frozenset[str] = frozenset()

    @property
    def by_id(self) -> dict[str, dict[str, Standing]]:
        """Per id, its copies by store."""
        found: dict[str, dict[str, Standing]] = {}
        for store, emails in self.copies.items():
            for email in emails:
                found.setdefault(email.id, {})[store] = email
        return found


def of_record(item: Item) -> Standing:
    """An email's record in DynamoDB, read as the invariants read a row."""
    notes = [Note(one.status, one.version, one.reason) for one in history.entries(item.get("Hist", []))]
    return Standing(
        item["Id"],
        Status(item["Attributes"]["Latest"]),
        int(item.get("Version", 1)),
        int(item.get("Generation", 0)),
        tuple(notes),
    )


def sent_again(books: TwoBooks) -> dict[str, int]:
    """How many times more than once the relay has an email, by id."""
    taken = Counter(mail.email_id for mail in books.accepted)
    return {email_id: count - 1 for email_id, count in taken.items() if count > 1}


def violations(books: TwoBooks) -> list[str]:
    """Everything that does not hold."""
    found = [line for store in books.copies for line in _within(books, store)]
    return [*found, *_names_agree(books), *_sent_by_one(books), *_received(books), *_called(books)]


def _within(books: TwoBooks, store: str) -> Iterator[str]:
    ids = books.expected[store]
    answers = [one for one in books.answers if one.email_id in ids]
    alone = Books(ids, books.copies[store], books.accepted, answers, undisturbed=False)
    for name in WITHIN:
        yield from (f"{store}, {name}: {what}" for what in invariants.CHECKS[name](alone))


def _names_agree(books: TwoBooks) -> Iterator[str]:
    alone = Books(frozenset(), (), books.accepted, ())
    yield from (f"names agree: {what}" for what in invariants.CHECKS["names agree"](alone))


def _sent_by_one(books: TwoBooks) -> Iterator[str]:
    """One copy of each id is sent; any other is given up for it, and says where it went."""
    for email_id, copies in books.by_id.items():
        senders = [store for store, email in copies.items() if email.status in invariants.SENT]
        if len(senders) != 1:
            stands = {store: str(email.status) for store, email in copies.items()}
            yield f"sent by one: {email_id} was sent by {senders} and stands {stands}"
            continue
        for store, email in copies.items():
            ends = [note.reason for note in email.history if note.status == Status.INVALID]
            if store != senders[0] and (email.status, ends) != (Status.INVALID, [f"duplicate: in {senders[0]}"]):
                yield f"sent by one: {email_id} was sent by {senders[0]}; in {store} it is {email.status}: {ends}"


def _received(books: TwoBooks) -> Iterator[str]:
    """Once each. Once more for each time that its sender was killed in mid-session, and another one took it up."""
    taken = Counter(mail.email_id for mail in books.accepted)
    for email_id, copies in books.by_id.items():
        allowed = 1 + sum(
            killed.amid(store, email_id, Status.PROCESSING) and _rescued(email, Status.PROCESSING, killed.replica)
            for killed in books.killed
            for store, email in copies.items()
        )
        if not 1 <= taken[email_id] <= allowed:
            yield f"received: {email_id} {taken[email_id]} times, {allowed} at the most"
    yield from (f"received: {unknown!r}, which nobody put there" for unknown in taken.keys() - books.by_id.keys())


def _rescued(email: Standing, working: Status, replica: str) -> bool:
    step_back = (STAGE_BY_WORKING[working].waiting, f"rescued: the lease of {replica} expired")
    return step_back in [(note.status, note.reason) for note in email.history]


def _called(books: TwoBooks) -> Iterator[str]:
    """One outcome for each id, told once; again where the caller was killed over it, or was kept waiting."""
    calls = Counter((one.email_id, one.kind) for one in books.answers)
    for email_id, copies in books.by_id.items():
        working = Status.CALLING_SENT_CALLBACK
        allowed = 1 + sum(killed.amid(store, email_id, working) for killed in books.killed for store in copies)
        count = calls.pop((email_id, "sent"), 0)
        if not count or (count > allowed and email_id not in books.slow):
            yield f"called: {email_id} {count} times, {allowed} at the most"
    yield from (f"called: {email_id} as {kind}" for email_id, kind in calls)
