"""Working rows that nobody holds any more, each step within a session that somebody else opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mailculator.lifecycle import WORKING
from mailculator.model import Status
from mailculator.stores.base import Overdue
from mailculator.stores.mariadb_claims import COLUMNS, TAKEN, microseconds, to_email
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import Held, oddity, plain, utc

LEAST_POSTPONED = 60.0

_EXPIRED = (
    "status IN %s AND CASE WHEN lease_version = version AND lease_until IS NOT NULL THEN lease_until < NOW(6)"
    " ELSE updated_at < NOW(6) - INTERVAL %s MICROSECOND END"
)

# The claim that is overdue stands in the history under the row's version; where the next one does, nothing can move it.
_LOOK = (
    ", status, COALESCE(claim_token, ''), claimed_by, lease_version <=> version,"
    " (SELECT claimed.created_at FROM email_status_history claimed"
    " WHERE claimed.email_id = emails.id AND claimed.version = emails.version),"
    " EXISTS (SELECT 1 FROM email_status_history taken"
    " WHERE taken.email_id = emails.id AND taken.version = emails.version + 1)"
)

_FIND = f"{COLUMNS.format(reached='reached_at')}{_LOOK} FROM emails WHERE {_EXPIRED} LIMIT %s"

_LOCK = (
    "SELECT id, status, version, COALESCE(claim_token, ''), lease_version <=> version"  # noqa: S608  # constants
    f" FROM emails FORCE INDEX (PRIMARY) WHERE id IN %s AND {_EXPIRED} ORDER BY id FOR UPDATE SKIP LOCKED"
)


@dataclass(frozen=True, slots=True)
class Expired:
    """A locked row that nobody holds any more.

    Arguments:
        ours: whether the lease that expired is of this version; where not, another program brought the row here.
    """

    held: Held
    ours: bool


async def find(session: Session, limit: int, foreign_hold: float) -> tuple[list[Overdue], dict[str, str]]:
    """What nobody seems to hold any more, and ids of rows there that cannot be moved, with the reason.

    Takes no lock: mostly there are none.
    """
    result = await session.execute(_FIND, (sorted(WORKING), microseconds(foreign_hold), limit))
    found: list[Overdue] = []
    odd: dict[str, str] = {}
    for *fields, status, token, holder, ours, claimed_at, taken in result.rows:
        email = to_email(fields, Status(status), token, claimed=False)
        why = oddity(email.version) or (TAKEN % (email.version + 1) if taken else None)
        if why is not None:
            odd[email.id] = why
            continue
        if not ours:
            # Another program brought the row here: the tries in it are an earlier stage's.
            email = replace(email, attempts=0, failing_for=0.0, last_error=None, crashes=0)
        since = email.created_at if claimed_at is None else utc(claimed_at)
        found.append(Overdue(email, holder if ours else None, since))
    return found, odd


async def lock_expired(session: Session, ids: Sequence[str], foreign_hold: float) -> dict[str, Expired]:
    """Those that are overdue still, locked, in the order of their ids; the token "" where a row has none.

    What another transaction has locked is left out: somebody is at work on it.
    """
    if not ids:
        return {}
    result = await session.execute(_LOCK, (sorted(set(ids)), sorted(WORKING), microseconds(foreign_hold)))
    return {
        email_id: Expired(Held(email_id, Status(status), version, token), bool(ours))
        for email_id, status, version, token, ours in result.rows
    }


async def postpone(session: Session, odd: Mapping[str, str], foreign_hold: float) -> None:
    """Leave rows that no rescue can move for later, each with the reason, so that they crowd nobody out."""
    hold = microseconds(max(foreign_hold, LEAST_POSTPONED))
    for email_id in await lock_expired(session, list(odd), foreign_hold):
        await session.execute(
            "UPDATE emails SET lease_until = NOW(6) + INTERVAL %s MICROSECOND, lease_version = version, last_error = %s"
            " WHERE id = %s",
            (hold, plain(odd[email_id]), email_id),
        )
