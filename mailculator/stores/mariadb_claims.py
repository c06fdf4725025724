"""Claim, renew and rescue, each within a transaction that somebody else opens and commits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailculator.lifecycle import FAILED_CALLBACK, SENT_CALLBACK, STAGE_BY_WORKING, WORKING, Stage, clean
from mailculator.model import Email, Status
from mailculator.stores.base import Rescue
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import (
    Line,
    chunks,
    collisions,
    lock,
    maybe_utc,
    text,
    utc,
    write_history,
)

# The index gives the rows due in their order: about as many are read as are claimed, however long the queue is. Left
# to itself the optimizer may find most of the table due and sort it.
_DUE = "FROM emails FORCE INDEX (idx_emails_due) WHERE status = %s AND parked = 0 AND due_at <= NOW(6) ORDER BY due_at"

_CLAIMED = (
    "SELECT id, version, payload_file_path, eml_file_path, reason, attempts, generation,"
    " TIMESTAMPDIFF(MICROSECOND, failing_since, NOW(6)), ttl - UNIX_TIMESTAMP(NOW(6)), last_error, created_at,"
    " {reached} " + _DUE + " LIMIT %s FOR UPDATE SKIP LOCKED"
)

# Assignments run from left to right: the lease gets the version after the bump, reached_at the time before it.
_CLAIM = (
    "UPDATE emails SET status = %s, version = version + 1, lease_version = version, claim_token = %s, claimed_by = %s,"
    " lease_until = NOW(6) + INTERVAL %s MICROSECOND, attempts = attempts + 1, reached_at = {reached},"
    " updated_at = NOW(6) WHERE id IN %s"
)

# Rows that an older consumer moved to SENT or FAILED carry no time of it: their last update was that move.
_REACHED_BEFORE = "COALESCE(reached_at, updated_at)"

_DUE_VERSIONS = "SELECT id, version " + _DUE + " LIMIT %s FOR UPDATE SKIP LOCKED"

_EXPIRED = (
    "status IN %s AND CASE WHEN lease_version = version AND lease_until IS NOT NULL THEN lease_until < NOW(6)"
    " ELSE updated_at < NOW(6) - INTERVAL %s MICROSECOND END"
)

_FIND_EXPIRED = f"SELECT id FROM emails WHERE {_EXPIRED} LIMIT %s"  # noqa: S608  # constants

_HOLDERS = "SELECT id, status, version, IF(lease_version = version, claimed_by, NULL) FROM emails FORCE INDEX (PRIMARY)"

_RECHECK_EXPIRED = f"{_HOLDERS} WHERE id IN %s AND {_EXPIRED} ORDER BY id FOR UPDATE SKIP LOCKED"

_TAKEN = "the history already has version %s: somebody wrote to it by hand"


def microseconds(seconds: float) -> int:
    """For INTERVAL … MICROSECOND; at most a year, since TIMESTAMP ends in 2038."""
    return round(min(max(seconds, 0.0), 31_536_000.0) * 1_000_000)


async def claim(session: Session, stage: Stage, limit: int, *, lease: float, holder: str, token: str) -> list[Email]:
    """Take what is due, oldest due first. RowRefused when a row's history stands in the way; see `set_aside`."""
    calls = stage in (SENT_CALLBACK, FAILED_CALLBACK)
    reached = _REACHED_BEFORE if calls else "reached_at"
    found = await session.execute(_CLAIMED.format(reached=reached), (stage.waiting, limit))
    emails = [_email(fields, stage.working, token) for fields in found.rows]
    for chunk in chunks(emails):
        await session.execute(
            _CLAIM.format(reached=reached),
            (stage.working, token, text(holder, 128), microseconds(lease), [email.id for email in chunk]),
        )
    note = clean(f"claimed by {holder}")
    await write_history(session, [Line(email.id, email.status, note, email.version) for email in emails])
    return emails


async def set_aside(session: Session, stage: Stage, limit: int) -> int:
    """Park the due rows that no claim can move, because their history already has the next version.

    Passed over in silence they would be met again by every claim, and by nobody else. Returns how many there were.
    """
    found = await session.execute(_DUE_VERSIONS, (stage.waiting, limit))
    taken = await collisions(session, dict(found.rows))
    for email_id in taken:
        await session.execute(
            "UPDATE emails SET parked = 1, last_error = %s WHERE id = %s",
            (_TAKEN % (dict(found.rows)[email_id] + 1), email_id),
        )
    return len(taken)


async def claimed_after_all(session: Session, ids: Sequence[str], token: str) -> frozenset[str]:
    """Which rows a claim has taken whose COMMIT got no reply. Reads under a lock: a COMMIT under way is waited for."""
    mine: set[str] = set()
    for chunk in chunks(ids):
        result = await session.execute(
            "SELECT id FROM emails WHERE id IN %s AND claim_token = %s LOCK IN SHARE MODE",
            (chunk, token),
        )
        mine.update(email_id for (email_id,) in result.rows)
    return frozenset(mine)


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


async def renew(
    session: Session, emails: Sequence[Email], *, lease: float, wait: bool
) -> tuple[frozenset[str], frozenset[str]]:
    """Extend the claims that still stand. Returns their ids, and those of rows that were not seen.

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
    return frozenset(ours), frozenset(email.id for email in emails if email.id not in held)


async def expired_claims(session: Session, limit: int, foreign_hold: float) -> list[str]:
    """Ids of working rows that nobody seems to hold any more. Takes no lock: mostly there are none."""
    result = await session.execute(_FIND_EXPIRED, (sorted(WORKING), microseconds(foreign_hold), limit))
    return [email_id for (email_id,) in result.rows]


async def rescue(session: Session, ids: Sequence[str], foreign_hold: float) -> list[Rescue]:
    """Move those of `ids` one step back that are still expired under a lock. The token goes with the claim."""
    rescues: list[Rescue] = []
    lines: list[Line] = []
    for email_id, status, version, holder in await _lock_expired(session, ids, foreign_hold):
        origin = Status(status)
        to = STAGE_BY_WORKING[origin].waiting
        note = clean(f"rescued: the lease of {holder} expired") if holder else "rescued: no sign of its holder"
        rescues.append(Rescue(email_id, origin, to, holder))
        lines.append(Line(email_id, to, note, version + 1))
    for target in {one.to for one in rescues}:
        chunk = [one.id for one in rescues if one.to is target]
        await session.execute(
            "UPDATE emails SET status = %s, version = version + 1, due_at = NOW(6), claim_token = NULL,"
            " lease_until = NULL, lease_version = NULL, updated_at = NOW(6) WHERE id IN %s",
            (target, chunk),
        )
    await write_history(session, lines)
    return rescues


async def postpone(session: Session, ids: Sequence[str], foreign_hold: float) -> list[str]:
    """Leave the rows that no rescue can move for later, so that they crowd nobody out. Returns the others' ids."""
    found = {email_id: version for email_id, _, version, _ in await _lock_expired(session, ids, foreign_hold)}
    taken = await collisions(session, found)
    for email_id in taken:
        await session.execute(
            "UPDATE emails SET lease_until = NOW(6) + INTERVAL %s MICROSECOND, lease_version = version, last_error = %s"
            " WHERE id = %s",
            (microseconds(max(foreign_hold, 60.0)), _TAKEN % (found[email_id] + 1), email_id),
        )
    return sorted(set(found) - set(taken))


async def _lock_expired(session: Session, ids: Sequence[str], foreign_hold: float) -> tuple[tuple[Any, ...], ...]:
    result = await session.execute(_RECHECK_EXPIRED, (ids, sorted(WORKING), microseconds(foreign_hold)))
    return result.rows
