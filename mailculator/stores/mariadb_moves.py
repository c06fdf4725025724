"""Writing results down: the moves that a claim's holder or a rescuer makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailculator.lifecycle import STAMPS_REACHED, Move
from mailculator.model import Email, Status
from mailculator.stores.base import Recorded
from mailculator.stores.mariadb_claims import forget_tries, microseconds
from mailculator.stores.mariadb_errors import RowRefused
from mailculator.stores.mariadb_overdue import lock_expired
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_rows import FEW, Held, Line, chunks, history, lock, look, per_row, plain, text

_UPDATE = (
    "UPDATE emails SET {} WHERE id IN %s AND status = %s AND version = {version}"
    " AND COALESCE(claim_token, '') = {token}"
)

# As `Held.stands` compares, to the byte.
_COUNT = (
    "SELECT COUNT(*) FROM emails FORCE INDEX (PRIMARY) WHERE id IN %s AND status = {status} AND version = {version}"
    " AND BINARY COALESCE(claim_token, '') = BINARY {token} FOR UPDATE SKIP LOCKED"
)

Names = Callable[[Email], str]
"""What a rescue puts into a row in the place of its token."""

_VARIED = 100
"""Rows in a statement that gives many of them values of their own: for every row the server goes through the list."""


class _Shape(NamedTuple):
    """What decides which columns a move sets; moves of one shape go into one statement."""

    origin: Status
    to: Status
    forward: bool
    counts: bool
    failing: bool
    park: bool
    error: bool
    reason: bool
    domain: bool
    crashes: bool


def _shape(move: Move) -> _Shape:
    return _Shape(
        move.email.status,
        move.to,
        move.forward,
        move.counts,
        move.failing,
        move.park,
        move.error is not None,
        move.reason is not None,
        move.domain is not None,
        move.crashes is not None,
    )


@dataclass
class _Assignments:
    """The SET list of one statement, and what its marks stand for."""

    ids: Sequence[str]
    clauses: list[str] = field(default_factory=list)
    parameters: list[object] = field(default_factory=list)

    def plain(self, *clauses: str) -> None:
        self.clauses += clauses

    def varied(self, clause: str, values: Sequence[object]) -> None:
        expression, parameters = per_row(self.ids, values)
        self.clauses.append(clause.format(expression))
        self.parameters += parameters


async def record(session: Session, moves: Sequence[Move], *, wait: bool) -> list[Recorded | None]:
    """Write the moves whose claims stand; of one id, one move. None for a row that another transaction has locked.

    Errors: RowRefused when one of them cannot be written; then none of them is.
    """
    ids = [move.email.id for move in moves]
    if not wait and await _all_stand(session, moves):
        await _write(session, moves, None)
        return [Recorded.DONE] * len(moves)
    held = await lock(session, ids, wait=wait)
    standing = [move for move in moves if move.email.id in held and held[move.email.id].stands(move.email)]
    await _write(session, standing, None)
    done = {move.email.id for move in standing}
    done |= await _written_before(session, [move for move in moves if move.email.id not in done], held, None)
    unseen = [email_id for email_id in ids if email_id not in held]
    locked = frozenset() if wait else await _still_there(session, unseen)
    return [_answer(email_id, done, locked) for email_id in ids]


async def _all_stand(session: Session, moves: Sequence[Move]) -> bool:
    """Lock what stands and nobody else has locked, and count it: mostly that is all, and no row need be read."""
    found = 0
    for chunk in chunks(sorted(moves, key=lambda move: move.email.id)):
        ids = [move.email.id for move in chunk]
        status, statuses = per_row(ids, [move.email.status for move in chunk])
        version, versions = per_row(ids, [move.email.version for move in chunk])
        token, tokens = per_row(ids, [move.email.claim_token for move in chunk])
        sql = _COUNT.format(status=status, version=version, token=token)
        ((count,),) = (await session.execute(sql, [ids, *statuses, *versions, *tokens])).rows
        found += count
    return found == len(moves)


async def rescue(session: Session, moves: Sequence[Move], *, names: Names, foreign_hold: float) -> list[Recorded]:
    """Write the moves of rows that nobody holds any more, still; of one id, one move. What is locked is LOST.

    Errors: RowRefused when one of them cannot be written; then none of them is.
    """
    expired = await lock_expired(session, [move.email.id for move in moves], foreign_hold)
    standing = [move for move in moves if (row := expired.get(move.email.id)) and row.held.stands(move.email)]
    # Where the lease is not this version's, another program brought the row here: its tries are an earlier stage's.
    await forget_tries(session, [move.email.id for move in standing if not expired[move.email.id].ours])
    await _write(session, standing, names)
    done = {move.email.id for move in standing}
    others = [move for move in moves if move.email.id not in done]
    done |= await _written_before(session, others, await look(session, [move.email.id for move in others]), names)
    return [Recorded.DONE if move.email.id in done else Recorded.LOST for move in moves]


def _answer(email_id: str, done: set[str], locked: frozenset[str]) -> Recorded | None:
    if email_id in locked:
        return None
    return Recorded.DONE if email_id in done else Recorded.LOST


async def _write(session: Session, moves: Sequence[Move], names: Names | None) -> None:
    """Move locked rows, and tell their history."""
    groups: dict[_Shape, list[Move]] = {}
    for move in moves:
        groups.setdefault(_shape(move), []).append(move)
    updates = [
        (_update(session, shape, chunk, names), len(chunk))
        for shape, group in groups.items()
        for chunk in _pieces(group, named=names is not None)
    ]
    told = history(session, [Line(move.email.id, move.to, move.note, move.email.version + 1) for move in moves])
    results = await session.execute_all([*(sql for sql, _ in updates), *told])
    # The rows are locked and compared already. That the statements ask again makes a slip in the comparison an error
    # and not somebody else's work undone.
    changed = sum(count - result.affected for (_, count), result in zip(updates, results, strict=False))
    if changed:
        raise RowRefused("mysql", "record", f"{changed} rows changed under their locks")


def _update(session: Session, shape: _Shape, moves: Sequence[Move], names: Names | None) -> str:
    ids = [move.email.id for move in moves]
    values = _values(shape, ids, moves)
    if names is not None:
        values.varied("claim_token = {}", [names(move.email) for move in moves])
    version, versions = per_row(ids, [move.email.version for move in moves])
    token, tokens = per_row(ids, [move.email.claim_token for move in moves])
    sql = _UPDATE.format(", ".join(values.clauses), version=version, token=token)
    return session.filled(sql, [*values.parameters, ids, shape.origin, *versions, *tokens])


def _pieces(moves: Sequence[Move], *, named: bool) -> Iterator[Sequence[Move]]:
    """As many moves to a statement as their values allow.

    Arguments:
        named: each row gets a name of its own.
    """
    for chunk in chunks(moves):
        few = not named and all(len(set(column)) <= FEW for column in zip(*map(_varying, chunk), strict=True))
        yield from (chunk,) if few else chunks(chunk, _VARIED)


def _varying(move: Move) -> tuple[object, ...]:
    """What may differ between moves of one shape."""
    email = move.email
    return email.version, email.claim_token, move.reason, move.error, move.domain, move.delay, move.crashes


def _values(shape: _Shape, ids: Sequence[str], moves: Sequence[Move]) -> _Assignments:
    values = _Assignments(ids)
    values.varied("status = {}", [shape.to] * len(ids))
    values.plain("version = version + 1", "lease_until = NULL", "lease_version = NULL", "updated_at = NOW(6)")
    if shape.forward:
        values.plain("attempts = 0", "failing_since = NULL", "last_error = NULL", "due_at = NOW(6)")
        if shape.to in STAMPS_REACHED:
            values.plain("reached_at = NOW(6)")
    else:
        _set_back(shape, moves, values)
    if shape.park:
        values.plain("parked = 1")
    if shape.reason:
        values.varied("reason = {}", [text(move.reason) for move in moves])
    if shape.domain:
        values.varied("recipient_domain = {}", [text(move.domain, 255) for move in moves])
    if shape.crashes:
        values.varied("crashes = {}", [move.crashes for move in moves])
    return values


def _set_back(shape: _Shape, moves: Sequence[Move], values: _Assignments) -> None:
    values.varied("due_at = NOW(6) + INTERVAL {} MICROSECOND", [microseconds(move.delay) for move in moves])
    if not shape.counts:
        values.plain("attempts = GREATEST(attempts - 1, 0)")
    if shape.failing:
        values.plain("failing_since = COALESCE(failing_since, NOW(6))")
    if shape.error:
        values.varied("last_error = {}", [text(move.error) for move in moves])


async def _written_before(
    session: Session, moves: Sequence[Move], held: Mapping[str, Held], names: Names | None
) -> set[str]:
    """Ids of moves that an earlier call has written whose reply was lost: the history has this very move.

    A rescue may have taken the row to the same place; its note, and until the next claim the token, tell it apart. Two
    rescuers write the same note, so only the name tells whose it was.
    """
    known = [move for move in moves if move.email.id in held]
    written: set[tuple[str, int, str, str | None]] = set()
    for chunk in chunks(known):
        versions = sorted({move.email.version + 1 for move in chunk})
        result = await session.execute(
            "SELECT email_id, version, status, reason FROM email_status_history WHERE email_id IN %s AND version IN %s",
            ([move.email.id for move in chunk], versions),
        )
        written.update(result.rows)
    there = [move for move in known if _in_history(move, written)]
    return {move.email.id for move in there if _is_ours(move, held[move.email.id], names)}


def _in_history(move: Move, written: set[tuple[str, int, str, str | None]]) -> bool:
    # As it was asked for, or as it was written because the column would not take that.
    notes = (text(move.note), plain(move.note))
    return any((move.email.id, move.email.version + 1, str(move.to), note) in written for note in notes)


def _is_ours(move: Move, row: Held, names: Names | None) -> bool:
    after = move.email.version + 1
    if names is None:
        return row.version > after or (row.version == after and row.claim_token == move.email.claim_token)
    return row.version == after and row.claim_token == names(move.email)


async def _still_there(session: Session, ids: Sequence[str]) -> frozenset[str]:
    there: set[str] = set()
    for chunk in chunks(ids):
        result = await session.execute("SELECT id FROM emails WHERE id IN %s", (chunk,))
        there.update(email_id for (email_id,) in result.rows)
    return frozenset(there)
