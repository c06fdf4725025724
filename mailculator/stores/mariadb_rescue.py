"""Finding what dead holders left, and writing down what became of it, although some rows refuse to be written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mailculator.lifecycle import Move
from mailculator.stores import mariadb_moves as moves_
from mailculator.stores import mariadb_overdue as overdue_
from mailculator.stores.base import Overdue, Recorded
from mailculator.stores.mariadb_claims import TAKEN
from mailculator.stores.mariadb_errors import RowRefused
from mailculator.stores.mariadb_pool import Pool, Session
from mailculator.stores.mariadb_recording import Recording, collides


async def overdue(pool: Pool, limit: int, *, foreign_hold: float) -> list[Overdue]:
    """See Store."""
    with pool.verb():
        async with pool.session("overdue") as session:
            found, odd = await overdue_.find(session, max(limit, 0), foreign_hold)
        if odd:
            await pool.run("overdue", partial(overdue_.postpone, odd=odd, foreign_hold=foreign_hold))
        return found


async def rescue(pool: Pool, moves: Sequence[Move], *, names: moves_.Names, foreign_hold: float) -> list[Recorded]:
    """See Store."""
    with pool.verb():
        return await _Rescuing(pool, names, foreign_hold).record(moves)


class _Rescuing(Recording):
    op = "rescue"

    def __init__(self, pool: Pool, names: moves_.Names, foreign_hold: float) -> None:
        super().__init__(pool)
        self._names = names
        self._foreign_hold = foreign_hold

    async def write(self, session: Session, *, moves: Sequence[Move], wait: bool) -> Sequence[Recorded | None]:
        return await moves_.rescue(session, moves, names=self._names, foreign_hold=self._foreign_hold)

    async def give_up(self, move: Move, error: RowRefused) -> None:
        """Nobody but the next rescuer would ask for it again, so it can wait."""

        async def later(session: Session) -> None:
            taken = await collides(session, move)
            why = TAKEN % (move.email.version + 1) if taken else f"row_corrupt: {error.detail}"
            await overdue_.postpone(session, {move.email.id: why}, self._foreign_hold)

        await self._pool.run(self.op, later)
