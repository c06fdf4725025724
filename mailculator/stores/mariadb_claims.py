"""Claim and renew, each within a transaction that somebody else opens and commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from mailculator.lifecycle import FAILED_CALLBACK, SENT_CALLBACK, Stage, clean
from mailculator.model import Email, Status
from mailculator.stores.base import Renewal
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import (
    Line,
    chunks,
    collisions,
    history,
    lock,
    look,
    maybe_utc,
    oddity,
    on_record,
    plain,
    text,
    utc,
)

# The index gives the rows due in their order: about as many are read as are claimed, however long the queue is. Left
# to itself the optimizer may find most of the table due and sort it.
_IS_DUE = "status = %s AND parked = 0 AND due_at <= NOW(6) ORDER BY due_at LIMIT %s"

COLUMNS = (
    "SELECT id, version, payload_file_path, eml_file_path, reason, attempts, generation,"
    " TIMESTAMPDIFF(MICROSECOND, failing_since, NOW(6)), ttl - UNIX_TIMESTAMP(NOW(6)), last_error, created_at,"
    " crashes, cancelled, {reached}"
)
"""What `to_email` takes."""

_CLAIMED = f"{COLUMNS} FROM emails FORCE INDEX (idx_emails_due) WHERE {_IS_DUE} FOR UPDATE SKIP LOCKED"
_OTHERS = f"SELECT id FROM emails FORCE INDEX (idx_emails_due) WHERE id NOT IN %s AND {_IS_DUE}"  # noqa: S608  # constants
_CLAIMED_BY_ID = f"{COLUMNS} FROM emails FORCE INDEX (PRIMARY) WHERE id IN %s AND {_IS_DUE} FOR UPDATE SKIP LOCKED"

# Assignments run from left to right: the lease gets the version after the bump, reached_at the time before it.
_CLAIM = (
    "UPDATE emails SET status = %s, version = version + 1, lease_version = version, claim_token = %s, claimed_by = %s,"
    " lease_until = NOW(6) + INTERVAL %s MICROSECOND, attempts = attempts + 1, reached_at = {reached},"
    " updated_at = NOW(6) WHERE id IN %s"
)

_FORGET = "UPDATE emails SET attempts = 0, failing_since = NULL, last_error = NULL, crashes = 0 WHERE id IN %s"
_PARK = "UPDATE emails SET parked = 1, last_error = %s WHERE id = %s AND status = %s"

# Rows that an older consumer moved to SENT or FAILED carry no time of it: their last update was that move.
_REACHED_BEFORE = "COALESCE(reached_at, updated_at)"

TAKEN = "the history already has version %s: somebody wrote to it by hand"


def microseconds(seconds: float) -> int:
    """For INTERVAL … MICROSECOND; at most a year, since TIMESTAMP ends in 2038."""
    return round(min(max(seconds, 0.0), 31_536_000.0) * 1_000_000)


@dataclass(frozen=True, slots=True)
class Due:
    """What is due at a stage, locked and not written to yet.

    Arguments:
        emails: as the claim will leave them.
        anew: ids of those that another program moved here: the tries and the error in the row are an earlier stage's.
        odd: ids of rows that cannot be worked on, and why.
    """

    emails: list[Email]
    anew: list[str]
    odd: dict[str, str]


async def due(session: Session, stage: Stage, limit: int, *, token: str) -> Due:
    """Lock what is due, oldest due first."""
    found = await session.execute(_CLAIMED.format(reached=_reached(stage)), (stage.waiting, limit))
    rows = [*found.rows, *await _hidden(session, stage, limit, {fields[0] for fields in found.rows})]
    odd: dict[str, str] = {}
    emails: list[Email] = []
    for fields in rows:
        why = oddity(fields[1], fields[5])
        if why is None:
            emails.append(to_email(fields, stage.working, token, claimed=True))
        else:
            odd[fields[0]] = why
    # Whatever a stage of ours leaves in a row, it left with a move, and the history has that move. An older consumer
    # raises the version without one.
    tried = {email.id: email.version - 1 for email in emails if _marked(email)}
    anew = set(tried) - await on_record(session, tried)
    return Due([_anew(email) if email.id in anew else email for email in emails], sorted(anew), odd)


async def _hidden(session: Session, stage: Stage, limit: int, found: Set[str]) -> Sequence[Sequence[Any]]:
    """Lock what is due and was skipped though nobody holds it.

    A locking read that runs to the end of its range locks the entry behind it, too, until its transaction ends, and
    that is another stage's first email. Two idle pipelines that poll at the same moments would hide each other's mail
    for ever. Such a lock is on the index's entry alone, so by the primary key the row can be had.
    """
    left = limit - len(found)
    if left <= 0:
        return ()
    # No list is empty in SQL.
    seen = await session.execute(_OTHERS, (list(found) or [""], stage.waiting, left))
    hidden = [email_id for (email_id,) in seen.rows]
    if not hidden:
        return ()
    statement = _CLAIMED_BY_ID.format(reached=_reached(stage))
    return (await session.execute(statement, (hidden, stage.waiting, left))).rows


def _marked(email: Email) -> bool:
    """Whether an earlier try has left anything in the row."""
    return email.attempts > 1 or bool(email.failing_for or email.last_error or email.crashes)


def _anew(email: Email) -> Email:
    return replace(email, attempts=1, failing_for=0.0, last_error=None, crashes=0)


def taking(session: Session, stage: Stage, found: Due, *, lease: float, holder: str, token: str) -> list[str]:
    """The statements that claim what was found, and park what is odd.

    Of one that is refused, and so of a row that cannot be written, RowRefused is what comes; see `set_aside`.
    """
    # What the holder is called must not decide whether a row can be written.
    name = plain(holder) or ""
    claim = _CLAIM.format(reached=_reached(stage))
    note = clean(f"claimed by {name}")
    return [
        *_parking(session, stage, found.odd),
        *(session.filled(_FORGET, (chunk,)) for chunk in chunks(found.anew)),
        *(
            session.filled(claim, (stage.working, token, text(name, 128), microseconds(lease), chunk))
            for chunk in chunks([email.id for email in found.emails])
        ),
        *history(session, [Line(email.id, email.status, note, email.version) for email in found.emails]),
    ]


async def forget_tries(session: Session, ids: Sequence[str]) -> None:
    """Of rows that another program moved here: what an earlier stage's tries have left in them."""
    for chunk in chunks(ids):
        await session.execute(_FORGET, (chunk,))


def _reached(stage: Stage) -> str:
    return _REACHED_BEFORE if stage in (SENT_CALLBACK, FAILED_CALLBACK) else "reached_at"


async def park(session: Session, stage: Stage, odd: Mapping[str, str]) -> None:
    """Set aside the rows that no claim can move, each with the reason. No move: they stay where and as they are.

    Passed over in silence they would be met again by every claim, and by nobody else.
    """
    await session.execute_all(_parking(session, stage, odd))


def _parking(session: Session, stage: Stage, odd: Mapping[str, str]) -> list[str]:
    return [session.filled(_PARK, (plain(why), email_id, stage.waiting)) for email_id, why in odd.items()]


async def set_aside(session: Session, stage: Stage, emails: Sequence[Email]) -> int:
    """Park those of a refused claim whose history already has the next version. Returns how many there were."""
    held = await lock(session, [email.id for email in emails], wait=False)
    before = {
        email.id: email.version - 1
        for email in emails
        if email.id in held and (held[email.id].status, held[email.id].version) == (stage.waiting, email.version - 1)
    }
    taken = await collisions(session, before)
    await park(session, stage, {email_id: TAKEN % (before[email_id] + 1) for email_id in sorted(taken)})
    return len(taken)


def to_email(fields: Sequence[Any], status: Status, token: str, *, claimed: bool) -> Email:
    """An email from COLUMNS of its row.

    Arguments:
        claimed: as the claim that is under way will leave it, with one version and one try more.
    """
    email_id, version, payload, eml, reason, attempts, generation, failing, left, error, created_at, *rest = fields
    crashes, cancelled, reached_at = rest
    expires_in = None if left is None else float(left)
    return Email(
        id=email_id,
        status=status,
        version=version + claimed,
        claim_token=token,
        payload_file_path=payload,
        eml_file_path=eml,
        reason=reason,
        attempts=attempts + claimed,
        generation=generation,
        failing_for=0.0 if failing is None else max(0.0, failing / 1_000_000),
        expired=expires_in is not None and expires_in <= 0,
        created_at=utc(created_at),
        reached_at=maybe_utc(reached_at),
        last_error=error,
        expires_in=expires_in,
        crashes=crashes,
        cancelled=cancelled,
    )


async def renew(session: Session, emails: Sequence[Email], *, lease: float, wait: bool) -> Renewal:
    """Extend the claims that still stand. What was not seen, being locked or gone, is in neither set of the answer.

    updated_at moves as well: an older consumer beside us takes it for a sign of life.
    """
    held = await lock(session, [email.id for email in emails], wait=wait)
    ours = sorted({email.id for email in emails if email.id in held and held[email.id].stands(email)})
    for chunk in chunks(ours):
        await session.execute(
            "UPDATE emails SET lease_until = NOW(6) + INTERVAL %s MICROSECOND, lease_version = version,"
            " updated_at = NOW(6) WHERE id IN %s",
            (microseconds(lease), chunk),
        )
    return Renewal(frozenset(ours), frozenset(held) - frozenset(ours))


async def fallen(session: Session, emails: Sequence[Email]) -> frozenset[str]:
    """Ids of claims that have fallen for good, by what is committed: that tells even of a row somebody has locked."""
    seen = await look(session, [email.id for email in emails])
    return frozenset(email.id for email in emails if email.id not in seen or not seen[email.id].stands(email))
