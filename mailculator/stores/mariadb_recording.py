"""Writing a group of results down although some rows are locked and some refuse to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mailculator.lifecycle import Move
from mailculator.stores import mariadb_moves as moves_
from mailculator.stores.base import Recorded
from mailculator.stores.mariadb_errors import DuplicateRow, RowRefused
from mailculator.stores.mariadb_pool import Pool, Session
from mailculator.stores.mariadb_rows import collisions, plain


async def record(pool: Pool, moves: Sequence[Move]) -> list[Recorded]:
    """See Store.

    Errors: RowRefused for a result that no way was found to write, when all others are written. A result that is not
    on record must not be called lost: its mail may have been sent.
    """
    with pool.verb():
        return await Recording(pool).record(moves)


class Recording:
    """One group of results on its way; a rescue writes by the same steps (mariadb_rescue)."""

    op = "record"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._refused: list[RowRefused] = []

    async def write(self, session: Session, *, moves: Sequence[Move], wait: bool) -> Sequence[Recorded | None]:
        """Write moves, of one id one, within a transaction. None for a row that somebody has locked."""
        return await moves_.record(session, moves, wait=wait)

    async def give_up(self, move: Move, error: RowRefused) -> None:
        """No way was found to write this one; it is answered LOST."""
        if not await self._pool.run(self.op, partial(collides, move=move)):
            self._refused.append(error)

    async def record(self, moves: Sequence[Move]) -> list[Recorded]:
        """One answer per move, in order."""
        first: dict[str, int] = {}
        for position, move in enumerate(moves):
            first.setdefault(move.email.id, position)
        group = await self._distinct([moves[position] for position in first.values()])
        answers = dict(zip(first.values(), group, strict=True))
        for position, move in enumerate(moves):
            if position not in answers:
                # The same id once more: it stands on what the first has left.
                (answers[position],) = await self._distinct([move])
        if self._refused:
            raise self._refused[0]
        return [answers[position] for position in range(len(moves))]

    async def _distinct(self, moves: Sequence[Move]) -> list[Recorded]:
        """Everything that nobody has locked goes first: a long transaction of an operator's holds up its own rows."""
        if not moves:
            return []
        first = await self._group(moves, wait=False)
        locked = [move for move, answer in zip(moves, first, strict=True) if answer is None]
        second = iter(await self._group(locked, wait=True) if locked else ())
        return [(next(second) if answer is None else answer) or Recorded.LOST for answer in first]

    async def _group(self, moves: Sequence[Move], *, wait: bool) -> list[Recorded | None]:
        try:
            return list(await self._pool.run(self.op, partial(self.write, moves=moves, wait=wait)))
        except RowRefused as error:
            if len(moves) == 1:
                return [await self._single(moves[0], wait, error)]
        middle = len(moves) // 2
        return await self._group(moves[:middle], wait=wait) + await self._group(moves[middle:], wait=wait)

    async def _single(self, move: Move, wait: bool, error: RowRefused) -> Recorded | None:
        """A table of an older database may have a character set, or columns, that a relay's reply does not fit."""
        if not isinstance(error, DuplicateRow):
            try:
                (answer,) = await self._pool.run(self.op, partial(self.write, moves=[_plain(move)], wait=wait))
            except RowRefused as again:
                error = again
            else:
                return answer
        await self.give_up(move, error)
        return Recorded.LOST


def _plain(move: Move) -> Move:
    return replace(
        move,
        note=plain(move.note),
        reason=plain(move.reason),
        error=plain(move.error),
        domain=plain(move.domain),
    )


async def collides(session: Session, move: Move) -> bool:
    """Whether the history already has the version that this move would write."""
    return bool(await collisions(session, {move.email.id: move.email.version}))
