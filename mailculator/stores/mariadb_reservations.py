"""The reservations: which store may send an id that stands in two of them.

A row is locked by whoever decides about it, so two stores that want the same id meet here one after the other. Rows are
locked in the order of their ids, and last in a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from mailculator.model import Status
from mailculator.stores.guard import KEEPER, OTHER, PAST_READY
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import chunks
from mailculator.stores.mariadb_wire import Result

KEPT = 31 * 86400
"""Seconds for which a reservation outlives its last claim, at the least."""

AFTER_TTL = 2 * 86400
"""Seconds for which it outlives the ttl of what was claimed: DynamoDB deletes up to two days late."""

FAR = 4_102_444_800
"""Epoch seconds, the year 2100: the latest ttl that is reckoned with."""

LONGEST_ID = 255
"""Characters of an id that can be reserved. `emails` holds 36, or what it was widened to: a longer one is not there."""

# One statement inserts what is new, and locks and prolongs what is there. INSERT IGNORE would leave a shared lock on
# what is there: two who then want to write it meet in a deadlock. Assignments run from left to right. A row that was
# there always changes, and so counts twice: where all are new, as mostly, the count tells, and nothing need be read.
_RESERVE = (
    "INSERT INTO mailculator_reservations (email_id, store, keep_until) {}"
    " ON DUPLICATE KEY UPDATE"
    " reserved_at = IF(mailculator_reservations.store = VALUE(store), NOW(6), mailculator_reservations.reserved_at),"
    " keep_until = GREATEST(mailculator_reservations.keep_until + 1, VALUE(keep_until))"
)
_CLAIMED = _RESERVE.format(
    f"SELECT id, %s, GREATEST(UNIX_TIMESTAMP() + {KEPT}, COALESCE(LEAST(ttl, {FAR}), 0) + {AFTER_TTL})"  # noqa: S608
    " FROM emails FORCE INDEX (PRIMARY) WHERE id IN %s ORDER BY id"
)
_ONE = f"(%s, %s, GREATEST(UNIX_TIMESTAMP() + {KEPT}, %s))"

_READ = (
    "SELECT email_id, store, reserved_at, settled FROM mailculator_reservations WHERE email_id IN %s ORDER BY email_id"
)

_GIVE = (
    "UPDATE mailculator_reservations SET reserved_at = IF(store = %s, reserved_at, NOW(6)), store = %s, settled = 1"
    " WHERE email_id IN %s"
)

_SETTLE = "UPDATE mailculator_reservations SET settled = 1 WHERE email_id IN %s AND store = %s AND settled = 0"


class Reservation(NamedTuple):
    """Whose an id is.

    Arguments:
        store: the one that may send it.
        reserved_at: when that store claimed it last; with the store, what a compare-and-set compares. None where the
            row is as new as its reader.
        settled: the other store has been looked at, or was refused.
    """

    email_id: str
    store: str
    reserved_at: datetime | None
    settled: bool


def reserving(session: Session, ids: Sequence[str]) -> list[str]:
    """The statements that reserve what a claim of ours takes. What another store has stays that store's.

    Arguments:
        ids: as `reservable` gives them.
    """
    return [session.filled(_CLAIMED, (KEEPER, chunk)) for chunk in chunks(ids)]


async def reserved(session: Session, ids: Sequence[str], answers: Sequence[Result]) -> dict[str, Reservation]:
    """How the reservations stand after those statements."""
    found: dict[str, Reservation] = {}
    for chunk, answer in zip(chunks(ids), answers, strict=True):
        found.update(await _written(session, KEEPER, chunk, answer.affected))
    return found


async def _reserve_for(session: Session, store: str, ttls: Mapping[str, int | None]) -> dict[str, Reservation]:
    found: dict[str, Reservation] = {}
    for chunk in chunks(reservable(ttls)):
        parameters = [value for email_id in chunk for value in (email_id, store, _end(ttls[email_id]))]
        rows = "VALUES " + ", ".join([_ONE] * len(chunk))
        written = (await session.execute(_RESERVE.format(rows), parameters)).affected
        found.update(await _written(session, store, chunk, written))
    return found


def reservable(ids: Iterable[str]) -> list[str]:
    """Those that a reservation can name, in the order in which they are locked."""
    return sorted({email_id for email_id in ids if len(email_id) <= LONGEST_ID})


def _end(ttl: int | None) -> int:
    return 0 if ttl is None else min(max(ttl, 0), FAR) + AFTER_TTL


async def _written(session: Session, store: str, ids: Sequence[str], written: int) -> dict[str, Reservation]:
    if written != len(ids):
        return await read(session, ids)
    return {email_id: Reservation(email_id, store, None, settled=False) for email_id in ids}


async def read(session: Session, ids: Sequence[str], *, lock: bool = False) -> dict[str, Reservation]:
    """The reservations as they stand."""
    found: dict[str, Reservation] = {}
    for chunk in chunks(sorted(ids)):
        rows = (await session.execute(_READ + (" FOR UPDATE" if lock else ""), (chunk,))).rows
        for email_id, store, reserved_at, settled in rows:
            found[email_id] = Reservation(email_id, store, reserved_at, bool(settled))
    return found


async def _give(session: Session, store: str, ids: Sequence[str]) -> None:
    """Settle rows that are locked."""
    for chunk in chunks(sorted(ids)):
        await session.execute(_GIVE, (store, store, chunk))


async def settle(session: Session, before: Sequence[Reservation], seen: Mapping[str, Status]) -> dict[str, str]:
    """What follows for claims of ours from a look at the other store. Returns who has what was in
    doubt; the rest is ours.

    Arguments:
        before: reservations of ours that were not settled, and the other store's, as they stood before the look.
        seen: the other store's copies.
    """
    doubtful = list(before)
    quiet = [one.email_id for one in before if one.store == KEEPER and seen.get(one.email_id) not in PAST_READY]
    if await _settle_quiet(session, quiet):
        doubtful = [one for one in before if one.email_id not in set(quiet)]
    owners: dict[str, str] = {}
    now = await read(session, [one.email_id for one in doubtful], lock=True)
    for one in doubtful:
        stands = now.get(one.email_id)
        status = seen.get(one.email_id)
        if stands is None:
            continue
        if stands.store == KEEPER:
            # Settled since we looked: refused to the other store, whose copy is in PROCESSING for that moment.
            given_up = stands.settled and status is Status.PROCESSING
            owners[one.email_id] = OTHER if status in PAST_READY and not given_up else KEEPER
        elif stands == one and status in (None, Status.INVALID):
            owners[one.email_id] = KEEPER
        else:
            # The copy stands, or it came back since we looked, and was claimed.
            owners[one.email_id] = stands.store
    for store in sorted(set(owners.values())):
        await _give(session, store, [email_id for email_id, owner in owners.items() if owner == store])
    return owners


async def _settle_quiet(session: Session, ids: Sequence[str]) -> bool:
    """Settle what stands as it stood; False when some of it does not, and has to be read."""
    settled = 0
    for chunk in chunks(sorted(ids)):
        settled += (await session.execute(_SETTLE, (chunk, KEEPER))).affected
    return settled == len(ids)


async def reserve_for(session: Session, store: str, emails: Sequence[tuple[str, int | None]]) -> dict[str, str | None]:
    """Reserve what another store is about to claim. Per id: None where it may send it, else our name."""
    found = await _reserve_for(session, store, dict(emails))
    # What this store reserved before is settled: that was done in the transaction that reserved it.
    asked = [one for one in found.values() if one.store != store or not one.settled]
    copies = await _copies(session, [one.email_id for one in asked])
    owners = {one.email_id: _owner(one, store, copies) for one in asked}
    for owner in sorted(set(owners.values())):
        await _give(session, owner, [email_id for email_id, given in owners.items() if given == owner])
    verdicts: dict[str, str | None] = {}
    for email_id, _ in emails:
        owner = owners.get(email_id, store)
        verdicts[email_id] = None if owner == store else owner
    return verdicts


def _owner(one: Reservation, store: str, copies: Mapping[str, Status | None]) -> str:
    status = copies.get(one.email_id)
    if one.store == store:
        return KEEPER if status in PAST_READY else store
    # A copy that ended INVALID was never sent, and comes here again before it could be.
    return one.store if one.email_id in copies and status is not Status.INVALID else store


async def _copies(session: Session, ids: Sequence[str]) -> dict[str, Status | None]:
    """Our rows of these ids, as committed; None for one whose status is no status of ours."""
    found: dict[str, Status | None] = {}
    for chunk in chunks(ids):
        rows = (await session.execute("SELECT id, status FROM emails WHERE id IN %s", (chunk,))).rows
        for email_id, status in rows:
            found[email_id] = None
            with suppress(ValueError):
                found[email_id] = Status(status)
    return found


async def purge(session: Session, limit: int) -> int:
    """Delete reservations whose time has passed and whose email is gone. Returns how many were looked at.

    Those whose email is still there are looked at again later, so that they keep nobody else's place in the batch.
    """
    due = await session.execute(
        "SELECT email_id FROM mailculator_reservations WHERE keep_until < UNIX_TIMESTAMP() LIMIT %s"
        " FOR UPDATE SKIP LOCKED",
        (limit,),
    )
    ids = [email_id for (email_id,) in due.rows]
    if not ids:
        return 0
    copies = await _copies(session, ids)
    there = [email_id for email_id in ids if email_id in copies]
    gone = [email_id for email_id in ids if email_id not in copies]
    if there:
        await session.execute(
            "UPDATE mailculator_reservations SET keep_until = UNIX_TIMESTAMP() + %s WHERE email_id IN %s",
            (KEPT, there),
        )
    if gone:
        await session.execute("DELETE FROM mailculator_reservations WHERE email_id IN %s", (gone,))
    return len(ids)
