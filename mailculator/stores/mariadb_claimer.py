"""Claims as a whole: the rows that refuse to be written are found and set aside, and no claim is forgotten.

A claim whose COMMIT got no reply may have been applied; then its rows are ours for a lease, and nobody else looks after
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from mailculator.lifecycle import Stage
from mailculator.model import Email
from mailculator.stores import mariadb_claims as claims
from mailculator.stores.mariadb_errors import CommitLost, RowRefused
from mailculator.stores.mariadb_pool import Pool, Session
from mailculator.stores.mariadb_renewal import renew

_PATIENCE = 3
"""Single rows that one call parks unasked for the server's sake. Where it refuses more, no row is to blame."""


class _Unanswered(NamedTuple):
    email: Email
    read_at: float


class Claimer:
    """Takes what is due.

    Arguments:
        clock: monotonic seconds.
        token: makes the name of a claim.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float], token: Callable[[], str]) -> None:
        self._pool = pool
        self._clock = clock
        self._token = token
        # Per stage, what a claim took whose COMMIT got no reply, until the server can be asked about it.
        self._unanswered: dict[Stage, list[_Unanswered]] = {}

    async def claim(self, stage: Stage, limit: int, *, lease: float, holder: str) -> list[Email]:
        """See Store."""
        if limit <= 0:
            return []
        with self._pool.verb():
            recovered = await self._recover(stage, limit, lease)
            return recovered or await self._claim_sound(stage, limit, lease, holder)

    async def _claim_sound(self, stage: Stage, limit: int, lease: float, holder: str) -> list[Email]:
        """One odd row must not hold up its stage for ever (G14).

        Rows whose history stands in the way are parked together. For any other refusal less is claimed, by halves,
        until one row is left to blame.
        """
        size, parked = limit, 0
        while True:
            taken: list[Email] = []
            try:
                odd = await self._claim(stage, size, lease, holder, taken)
            except RowRefused as error:
                if await self._pool.run("claim", partial(claims.set_aside, stage=stage, emails=taken)):
                    size = limit
                elif len(taken) > 1:
                    size = len(taken) // 2
                elif taken and parked < _PATIENCE:
                    blamed = {taken[0].id: f"row_corrupt: {error.detail}"}
                    await self._pool.run("claim", partial(claims.park, stage=stage, odd=blamed))
                    size, parked = limit, parked + 1
                else:
                    raise
            except CommitLost:
                self._remember(stage, taken)
                if recovered := await self._recover(stage, limit, lease):
                    return recovered
                raise
            else:
                if taken or not odd:
                    return taken

    async def _claim(self, stage: Stage, limit: int, lease: float, holder: str, taken: list[Email]) -> int:
        """One transaction; `taken` is what it took, or tried to. Returns how many rows it parked."""
        token = self._token()

        async def work(session: Session) -> int:
            taken.clear()
            found = await claims.due(session, stage, limit, token=token)
            taken.extend(found.emails)
            await claims.take(session, stage, found, lease=lease, holder=holder, token=token)
            return len(found.odd)

        return await self._pool.run("claim", work)

    def _remember(self, stage: Stage, taken: list[Email]) -> None:
        now = self._clock()
        self._unanswered.setdefault(stage, []).extend(_Unanswered(email, now) for email in taken)

    async def _recover(self, stage: Stage, limit: int, lease: float) -> list[Email]:
        """Up to `limit` emails of claims whose COMMIT got no reply and that stand all the same; the rest waits.

        The server may be away by now: then it is asked when the next claim comes, however long that takes.
        """
        waiting = self._unanswered.get(stage, [])
        if not waiting:
            return []
        renewal = await renew(self._pool, [one.email for one in waiting], lease=lease)
        given = [one for one in waiting if one.email.id in renewal.held][:limit]
        gone = renewal.lost | {one.email.id for one in given}
        self._unanswered[stage] = [one for one in self._unanswered[stage] if one.email.id not in gone]
        now = self._clock()
        return [_older(one.email, now - one.read_at) for one in given]


def _older(email: Email, seconds: float) -> Email:
    """As the store would describe it now, so much later."""
    expires_in = None if email.expires_in is None else email.expires_in - seconds
    return replace(
        email,
        expires_in=expires_in,
        expired=expires_in is not None and expires_in <= 0,
        failing_for=email.failing_for + seconds if email.failing_for else 0.0,
    )
