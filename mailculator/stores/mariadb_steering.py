"""What an operator does to single emails: the one move of a requeue, and marks that are no moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailculator.errors import StoreRejected
from mailculator.lifecycle import REQUEUES, UNSENT, WAITING, clean
from mailculator.model import Status
from mailculator.stores.base import Steered
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import Held, Line, chunks, lock, text, write_history

_REQUEUE = (
    "UPDATE emails SET status = %s, version = version + 1, {anew} attempts = 0, failing_since = NULL,"
    " last_error = NULL, crashes = 0, parked = 0, cancelled = NULL, due_at = NOW(6), claim_token = NULL,"
    " lease_until = NULL, lease_version = NULL,"
    " ttl = IF(ttl <= UNIX_TIMESTAMP(), UNIX_TIMESTAMP() + %s, ttl), updated_at = NOW(6) WHERE id IN %s AND status = %s"
)

_FIND = "SELECT id FROM emails WHERE id IN %s AND {}"
_SET = "UPDATE emails SET {}, updated_at = NOW(6) WHERE id IN %s"


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is set where, without a move.

    Arguments:
        past: what was done, for the note (`parked by …`).
        where: which of the rows that were named it concerns; `%s` stands for `among`.
        sets: the assignments; each `%s` stands for the reason.
    """

    past: str
    where: str
    sets: str
    among: frozenset[Status]


_RELEASE = _Mark(
    "released",
    "parked <> 0 AND status IN %s",
    "parked = 0, due_at = NOW(6), attempts = 0, failing_since = NULL, crashes = 0",
    frozenset(Status),
)
_PARK = _Mark("parked", "parked = 0 AND status IN %s", "parked = 1", WAITING)
_HASTEN = _Mark("hastened", "parked = 0 AND due_at > NOW(6) AND status IN %s", "due_at = NOW(6)", WAITING)
_CANCEL = _Mark(
    "cancelled", "cancelled IS NULL AND status IN %s", "cancelled = %s, parked = 0, due_at = NOW(6)", UNSENT
)


async def requeue(session: Session, ids: Sequence[str], *, who: str, why: str, ttl_extension: float) -> list[Steered]:
    """An operator's requeue. RowRefused when one of them cannot be written; then none of them is."""
    held = await lock(session, ids, wait=True)
    note = clean(f"requeued by {who}: {why}")
    movable = [row for row in held.values() if row.status in REQUEUES]
    for origin in {row.status for row in movable}:
        await _requeue_from(session, origin, [row.id for row in movable if row.status is origin], ttl_extension)
    await write_history(session, [Line(row.id, REQUEUES[row.status], note, row.version + 1) for row in movable])
    return _steered(ids, held, {row.id for row in movable})


async def _requeue_from(session: Session, origin: Status, ids: Sequence[str], ttl_extension: float) -> None:
    target = REQUEUES[origin]
    anew = "generation = generation + 1, reached_at = NULL," if target in (Status.ACCEPTED, Status.READY) else ""
    for chunk in chunks(ids):
        result = await session.execute(
            _REQUEUE.format(anew=anew), (target, max(1, round(ttl_extension)), chunk, origin)
        )
        if result.affected != len(chunk):
            raise StoreRejected("mysql", "requeue", "rows changed under their locks")


async def release(session: Session, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
    """End parking."""
    return await _mark(session, _RELEASE, ids, who, why)


async def park(session: Session, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
    """Set aside what waits."""
    return await _mark(session, _PARK, ids, who, why)


async def hasten(session: Session, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
    """Due now."""
    return await _mark(session, _HASTEN, ids, who, why)


async def cancel(session: Session, ids: Sequence[str], *, who: str, why: str) -> list[Steered]:
    """Not to be sent, if it is not sent yet."""
    return await _mark(session, _CANCEL, ids, who, why)


async def _mark(session: Session, mark: _Mark, ids: Sequence[str], who: str, why: str) -> list[Steered]:
    """No move: the version stays, and the history gets a note."""
    held = await lock(session, ids, wait=True)
    marked: list[str] = []
    for chunk in chunks(sorted(held)):
        found = await session.execute(_FIND.format(mark.where), (chunk, sorted(mark.among)))
        marked += [email_id for (email_id,) in found.rows]
    said = [text(clean(why))] * mark.sets.count("%s")
    for chunk in chunks(marked):
        await session.execute(_SET.format(mark.sets), (*said, chunk))
    note = clean(f"{mark.past} by {who}: {why}")
    await write_history(session, [Line(email_id, held[email_id].status, note, None) for email_id in sorted(marked)])
    return _steered(ids, held, set(marked))


def _steered(ids: Sequence[str], held: Mapping[str, Held], done: set[str]) -> list[Steered]:
    """One answer per id; of one that is named twice, the first is the one that did it.

    The server compares ids whatever their case, and so does this.
    """
    there = {email_id.casefold() for email_id in held}
    left = {email_id.casefold() for email_id in done}
    answers: list[Steered] = []
    for asked in ids:
        email_id = asked.casefold()
        if email_id not in there:
            answers.append(Steered.MISSING)
        else:
            answers.append(Steered.DONE if email_id in left else Steered.NOT_APPLICABLE)
        left.discard(email_id)
    return answers
