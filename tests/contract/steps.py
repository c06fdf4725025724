"""What the contract's tests do again and again: put emails on the queue, claim them, bring them to a status."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    Acknowledged,
    Failed,
    Invalid,
    Outcome,
    Prepared,
    Sent,
    Stage,
    move,
)
from mailculator.model import Email, NewEmail, Row, Status
from mailculator.pipelines.rescue import put_back
from mailculator.stores.base import Overdue, Recorded, Store
from tests.support.harness import Harness

LEASE = 60.0
FOREIGN_HOLD = 1800.0

PATHS: Mapping[Status, Sequence[Stage | Outcome]] = {
    Status.ACCEPTED: [],
    Status.INTAKING: [INTAKE],
    Status.INVALID: [INTAKE, Invalid("no recipient")],
    Status.READY: [INTAKE, Prepared("example.com")],
    Status.PROCESSING: [INTAKE, Prepared("example.com"), SENDER],
    Status.SENT: [INTAKE, Prepared("example.com"), SENDER, Sent("250 ok")],
    Status.FAILED: [INTAKE, Prepared("example.com"), SENDER, Failed("550 unknown")],
    Status.CALLING_SENT_CALLBACK: [INTAKE, Prepared("example.com"), SENDER, Sent("250 ok"), SENT_CALLBACK],
    Status.CALLING_FAILED_CALLBACK: [INTAKE, Prepared("example.com"), SENDER, Failed("550 unknown"), FAILED_CALLBACK],
    Status.SENT_ACKNOWLEDGED: [
        INTAKE,
        Prepared("example.com"),
        SENDER,
        Sent("250 ok"),
        SENT_CALLBACK,
        Acknowledged("200"),
    ],
    Status.FAILED_ACKNOWLEDGED: [
        INTAKE,
        Prepared("example.com"),
        SENDER,
        Failed("550 unknown"),
        FAILED_CALLBACK,
        Acknowledged("200"),
    ],
}
"""How a new email gets to each status: by which claims and with which outcomes."""


def new_id() -> str:
    return str(uuid.uuid4())


def epoch(seconds_from_now: float) -> int:
    return int(time.time() + seconds_from_now)


async def enqueue(store: Store, count: int = 1, *, ttl: int | None = None) -> list[str]:
    """New emails in ACCEPTED; their ids."""
    emails = [NewEmail(new_id(), "/payloads/some.json", ttl) for _ in range(count)]
    await store.enqueue(emails)
    return [email.id for email in emails]


async def claim(store: Store, stage: Stage = INTAKE, limit: int = 1000, *, lease: float = LEASE) -> list[Email]:
    return await store.claim(stage, limit, lease=lease, holder="tester")


async def claim_one(store: Store, stage: Stage = INTAKE, *, lease: float = LEASE) -> Email:
    """The one email that is due at a stage."""
    (email,) = await claim(store, stage, lease=lease)
    return email


async def finish(store: Store, email: Email, outcome: Outcome) -> Recorded:
    (answer,) = await store.record([move(email, outcome)])
    return answer


async def bring(store: Store, status: Status, count: int = 1, *, ttl: int | None = None) -> list[str]:
    """New emails in any status; their ids. Whatever else is due on the way there goes along, so do this first."""
    ids = await enqueue(store, count, ttl=ttl)
    claimed: list[Email] = []
    for step in PATHS[status]:
        if isinstance(step, Stage):
            claimed = [email for email in await claim(store, step) if email.id in ids]
        else:
            answers = await store.record([move(email, step) for email in claimed])
            assert answers == [Recorded.DONE] * count
    return ids


async def bring_claimed(store: Store, status: Status) -> Email:
    """A new email in a working status, as its claim handed it out."""
    *before, last = PATHS[status]
    assert isinstance(last, Stage)
    previous = next(target for target, path in PATHS.items() if list(path) == before)
    await bring(store, previous)
    return await claim_one(store, last)


class Rescue(NamedTuple):
    """One email that a rescue has moved."""

    id: str
    origin: Status
    to: Status
    holder: str | None


async def overdue(store: Store, limit: int = 100, *, foreign_hold: float = FOREIGN_HOLD) -> list[Overdue]:
    return await store.overdue(limit, foreign_hold=foreign_hold)


async def settle(
    store: Store, found: Sequence[Overdue], *outcomes: Outcome, foreign_hold: float = FOREIGN_HOLD
) -> list[Recorded]:
    """Rescue what was found, each with its outcome."""
    moves = [move(one.email, outcome) for one, outcome in zip(found, outcomes, strict=True)]
    return await store.rescue(moves, foreign_hold=foreign_hold)


async def rescue(store: Store, limit: int = 100, *, foreign_hold: float = FOREIGN_HOLD) -> list[Rescue]:
    """Look, judge as those do who know nothing, and write; what was moved."""
    found = await overdue(store, limit, foreign_hold=foreign_hold)
    outcomes = await put_back(found)
    answers = await settle(store, found, *outcomes, foreign_hold=foreign_hold)
    return [
        Rescue(one.email.id, one.email.status, move(one.email, outcome).to, one.holder)
        for one, outcome, answer in zip(found, outcomes, answers, strict=True)
        if answer is Recorded.DONE
    ]


async def row(store: Store, email_id: str) -> Row:
    found = await store.get(email_id)
    assert found is not None
    return found


async def versioned(store: Store, email_id: str) -> list[tuple[int, str]]:
    """The history's moves, as (version, status); the unversioned notes left out."""
    return [(entry.version, entry.status) for entry in await store.history(email_id) if entry.version is not None]


async def assert_gapless(store: Store, email_id: str) -> None:
    """The versioned history is exactly 2 … version, and its last line is where the row stands."""
    moves = await versioned(store, email_id)
    email = await row(store, email_id)
    assert [version for version, _ in moves] == list(range(2, email.version + 1))
    if moves:
        assert moves[-1][1] == email.status


async def forge_next_version(harness: Harness, email_id: str, version: int) -> None:
    """Put a history line where the row's next move belongs: no store can move the row without lying (G14)."""
    await harness.forge(email_id, version + 1)
