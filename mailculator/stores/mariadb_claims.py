"""Claim, renew and rescue, each within a transaction that somebody else opens and commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from mailculator.lifecycle import FAILED_CALLBACK, SENT_CALLBACK, STAGE_BY_WORKING, WORKING, Stage, clean
from mailculator.model import Email, Status
from mailculator.stores.base import Renewal, Rescue
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import (
    Line,
    chunks,
    collisions,
    lock,
    look,
    maybe_utc,
    oddity,
    on_record,
    plain,
    text,
    utc,
    write_history,
)

# The index gives the rows due in their order: about as many are read as are claimed, however long the queue is. Left
# to itself the optimizer may find most of the table due and sort it.
_IS_DUE = "status = %s AND parked = 0 AND due_at <= NOW(6) ORDER BY due_at LIMIT %s"
_DUE = f"FROM emails FORCE INDEX (idx_emails_due) WHERE {_IS_DUE}"

_COLUMNS = (
    "SELECT id, version, payload_file_path, eml_file_path, reason, attempts, generation,"
    " TIMESTAMPDIFF(MICROSECOND, failing_since, NOW(6)), ttl - UNIX_TIMESTAMP(NOW(6)), last_error, created_at,"
    " {reached} "
)
_CLAIMED = f"{_COLUMNS} {_DUE} FOR UPDATE SKIP LOCKED"
_SEEN = f"SELECT id {_DUE}"
_CLAIMED_BY_ID = f"{_COLUMNS} FROM emails FORCE INDEX (PRIMARY) WHERE id IN %s AND {_IS_DUE} FOR UPDATE SKIP LOCKED"

# Assignments run from left to right: the lease gets the version after the bump, reached_at the time before it.
_CLAIM = (
    "UPDATE emails SET status = %s, version = version + 1, lease_version = version, claim_token = %s, claimed_by = %s,"
    " lease_until = NOW(6) + INTERVAL %s MICROSECOND, attempts = attempts + 1, reached_at = {reached},"
    " updated_at = NOW(6) WHERE id IN %s"
)

# Rows that an older consumer moved to SENT or FAILED carry no time of it: their last update was that move.
_REACHED_BEFORE = "COALESCE(reached_at, updated_at)"

_EXPIRED = (
    "status IN %s AND CASE WHEN lease_version = version AND lease_until IS NOT NULL THEN lease_until < NOW(6)"
    " ELSE updated_at < NOW(6) - INTERVAL %s MICROSECOND END"
)

_FIND_EXPIRED = f"SELECT id FROM emails WHERE {_EXPIRED} LIMIT %s"  # noqa: S608  # constants

# Where the lease is not this version's, another program brought the row here: its tries are an earlier stage's.
_RESCUE = (
    "UPDATE emails SET status = %s, due_at = NOW(6), attempts = IF(lease_version <=> version, attempts, 0),"
    " failing_since = IF(lease_version <=> version, failing_since, NULL),"
    " last_error = IF(lease_version <=> version, last_error, NULL), version = version + 1, claim_token = NULL,"
    " lease_until = NULL, lease_version = NULL, updated_at = NOW(6) WHERE id IN %s"
)

_HOLDERS = "SELECT id, status, version, IF(lease_version = version, claimed_by, NULL) FROM emails FORCE INDEX (PRIMARY)"

_RECHECK_EXPIRED = f"{_HOLDERS} WHERE id IN %s AND {_EXPIRED} ORDER BY id FOR UPDATE SKIP LOCKED"

_TAKEN = "the history already has version %s: somebody wrote to it by hand"


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
            emails.append(_email(fields, stage.working, token))
        else:
            odd[fields[0]] = why
    # Whatever a stage of ours leaves in a row, it left with a move, and the history has that move. An older consumer
    # raises the version without one.
    tried = {
        email.id: email.version - 1 for email in emails if email.attempts > 1 or email.failing_for or email.last_error
    }
    anew = set(tried) - await on_record(session, tried)
    return Due([_anew(email) if email.id in anew else email for email in emails], sorted(anew), odd)


async def _hidden(session: Session, stage: Stage, limit: int, found: Set[str]) -> Sequence[Sequence[Any]]:
    """Lock what is due and was skipped though nobody holds it.

    A locking read that runs to the end of its range locks the entry behind it, too, until its transaction ends, and
    that is another stage's first email. Two idle pipelines that poll at the same moments would hide each other's mail
    for ever. Such a lock is on the index's entry alone, so by the primary key the row can be had.
    """
    if len(found) >= limit:
        return ()
    seen = await session.execute(_SEEN, (stage.waiting, limit))
    hidden = [email_id for (email_id,) in seen.rows if email_id not in found]
    if not hidden:
        return ()
    statement = _CLAIMED_BY_ID.format(reached=_reached(stage))
    return (await session.execute(statement, (hidden, stage.waiting, limit - len(found)))).rows


def _anew(email: Email) -> Email:
    return replace(email, attempts=1, failing_for=0.0, last_error=None)


async def take(session: Session, stage: Stage, found: Due, *, lease: float, holder: str, token: str) -> None:
    """Claim what was found, and park what is odd. RowRefused when a row cannot be written; see `set_aside`."""
    await park(session, stage, found.odd)
    for chunk in chunks(found.anew):
        await session.execute(
            "UPDATE emails SET attempts = 0, failing_since = NULL, last_error = NULL WHERE id IN %s", (chunk,)
        )
    # What the holder is called must not decide whether a row can be written.
    name = plain(holder) or ""
    for chunk in chunks([email.id for email in found.emails]):
        await session.execute(
            _CLAIM.format(reached=_reached(stage)), (stage.working, token, text(name, 128), microseconds(lease), chunk)
        )
    note = clean(f"claimed by {name}")
    await write_history(session, [Line(email.id, email.status, note, email.version) for email in found.emails])


def _reached(stage: Stage) -> str:
    return _REACHED_BEFORE if stage in (SENT_CALLBACK, FAILED_CALLBACK) else "reached_at"


async def park(session: Session, stage: Stage, odd: Mapping[str, str]) -> None:
    """Set aside the rows that no claim can move, each with the reason. No move: they stay where and as they are.

    Passed over in silence they would be met again by every claim, and by nobody else.
    """
    for email_id, why in odd.items():
        await session.execute(
            "UPDATE emails SET parked = 1, last_error = %s WHERE id = %s AND status = %s",
            (plain(why), email_id, stage.waiting),
        )


async def set_aside(session: Session, stage: Stage, emails: Sequence[Email]) -> int:
    """Park those of a refused claim whose history already has the next version. Returns how many there were."""
    held = await lock(session, [email.id for email in emails], wait=False)
    before = {
        email.id: email.version - 1
        for email in emails
        if email.id in held and (held[email.id].status, held[email.id].version) == (stage.waiting, email.version - 1)
    }
    taken = await collisions(session, before)
    await park(session, stage, {email_id: _TAKEN % (before[email_id] + 1) for email_id in sorted(taken)})
    return len(taken)


def _email(fields: Sequence[Any], status: Status, token: str) -> Email:
    email_id, version, payload, eml, reason, attempts, generation, failing, left, error, created_at, reached_at = fields
    expires_in = None if left is None else float(left)
    return Email(
        id=email_id,
        status=status,
        version=version + 1,
        claim_token=token,
        payload_file_path=payload,
        eml_file_path=eml,
        reason=reason,
        attempts=attempts + 1,
        generation=generation,
        failing_for=0.0 if failing is None else max(0.0, failing / 1_000_000),
        expired=expires_in is not None and expires_in <= 0,
        created_at=utc(created_at),
        reached_at=maybe_utc(reached_at),
        last_error=error,
        expires_in=expires_in,
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


async def expired_claims(session: Session, limit: int, foreign_hold: float) -> list[str]:
    """Ids of working rows that nobody seems to hold any more. Takes no lock: mostly there are none."""
    result = await session.execute(_FIND_EXPIRED, (sorted(WORKING), microseconds(foreign_hold), limit))
    return [email_id for (email_id,) in result.rows]


async def rescue(session: Session, ids: Sequence[str], foreign_hold: float) -> list[Rescue]:
    """Move those of `ids` one step back that are still expired under a lock. The token goes with the claim.

    Errors: RowRefused when one of them cannot be written; then none of them is. See `postpone`.
    """
    rescues: list[Rescue] = []
    lines: list[Line] = []
    for email_id, status, version, holder in await _lock_expired(session, ids, foreign_hold):
        why = oddity(version)
        if why is not None:
            await _postpone(session, email_id, foreign_hold, why)
            continue
        origin = Status(status)
        to = STAGE_BY_WORKING[origin].waiting
        note = clean(f"rescued: the lease of {plain(holder)} expired") if holder else "rescued: no sign of its holder"
        rescues.append(Rescue(email_id, origin, to, holder))
        lines.append(Line(email_id, to, note, version + 1))
    for target in {one.to for one in rescues}:
        chunk = [one.id for one in rescues if one.to is target]
        await session.execute(_RESCUE, (target, chunk))
    await write_history(session, lines)
    return rescues


async def postpone(session: Session, email_id: str, foreign_hold: float, detail: str) -> None:
    """Leave a row that no rescue can move for later, with the reason, so that it crowds nobody out.

    Arguments:
        detail: what the server said to the rescue.
    """
    for _, _, version, _ in await _lock_expired(session, [email_id], foreign_hold):
        taken = await collisions(session, {email_id: version})
        await _postpone(session, email_id, foreign_hold, _TAKEN % (version + 1) if taken else f"row_corrupt: {detail}")


async def _postpone(session: Session, email_id: str, foreign_hold: float, why: str) -> None:
    await session.execute(
        "UPDATE emails SET lease_until = NOW(6) + INTERVAL %s MICROSECOND, lease_version = version, last_error = %s"
        " WHERE id = %s",
        (microseconds(max(foreign_hold, 60.0)), plain(why), email_id),
    )


async def _lock_expired(session: Session, ids: Sequence[str], foreign_hold: float) -> tuple[tuple[Any, ...], ...]:
    result = await session.execute(_RECHECK_EXPIRED, (ids, sorted(WORKING), microseconds(foreign_hold)))
    return result.rows
