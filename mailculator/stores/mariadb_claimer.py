"""Claims as a whole: the rows that refuse to be written are found and set aside, and no claim is forgotten.

A claim whose COMMIT got no reply may have been applied; then its rows are ours for a lease, and nobody else looks after
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from mailculator.errors import StoreError
from mailculator.lifecycle import SENDER, Stage
from mailculator.model import Email
from mailculator.stores import mariadb_claims as claims
from mailculator.stores import mariadb_reservations as reservations
from mailculator.stores.mariadb_duplicates import DuplicateCheck
from mailculator.stores.mariadb_errors import CommitLost, RowRefused
from mailculator.stores.mariadb_pool import Pool, Session
from mailculator.stores.mariadb_renewal import renew
from mailculator.stores.mariadb_reservations import Reservation

_PATIENCE = 3
"""Single rows that one call parks unasked for the server's sake. Where it refuses more, no row is to blame."""


class _Unanswered(NamedTuple):
    email: Email
    read_at: float


@dataclass(slots=True)
class _Taken:
    """What a transaction took, or tried to.

    Arguments:
        reserved: whose its emails are; None where that has to be read, or does not matter.
        odd: how many rows it parked.
    """

    emails: list[Email] = field(default_factory=list)
    reserved: Mapping[str, Reservation] | None = None
    odd: int = 0


class Claimer:
    """Takes what is due.

    Arguments:
        duplicates: sorts out what another store sends; None hands everything out.
        clock: monotonic seconds.
        token: makes the name of a claim.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        duplicates: DuplicateCheck | None,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._pool = pool
        self._duplicates = duplicates
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
            taken = recovered if recovered.emails else await self._claim_sound(stage, limit, lease, holder)
            return await self._sort_out(stage, taken)

    async def _sort_out(self, stage: Stage, taken: _Taken) -> list[Email]:
        """What may be handed out; a claim about which that could not be found out is kept for the next call."""
        if stage is not SENDER or self._duplicates is None or not taken.emails:
            return taken.emails
        try:
            return await self._duplicates.sort_out(taken.emails, taken.reserved)
        except StoreError:
            self._remember(stage, taken.emails)
            raise

    async def _claim_sound(self, stage: Stage, limit: int, lease: float, holder: str) -> _Taken:
        """One odd row must not hold up its stage for ever (G14).

        Rows whose history stands in the way are parked together. For any other refusal less is claimed, by halves,
        until one row is left to blame.
        """
        size, parked = limit, 0
        while True:
            taken = _Taken()
            try:
                await self._claim(stage, size, lease, holder, taken)
            except RowRefused as error:
                emails = taken.emails
                if await self._pool.run("claim", partial(claims.set_aside, stage=stage, emails=emails)):
                    size = limit
                elif len(emails) > 1:
                    size = len(emails) // 2
                elif emails and parked < _PATIENCE:
                    blamed = {emails[0].id: f"row_corrupt: {error.detail}"}
                    await self._pool.run("claim", partial(claims.park, stage=stage, odd=blamed))
                    size, parked = limit, parked + 1
                else:
                    raise
            except CommitLost:
                self._remember(stage, taken.emails)
                recovered = await self._recover(stage, limit, lease)
                if recovered.emails:
                    return recovered
                raise
            else:
                if taken.emails or not taken.odd:
                    return taken

    async def _claim(self, stage: Stage, limit: int, lease: float, holder: str, taken: _Taken) -> None:
        """One transaction; `taken` is filled in as it goes."""
        token = self._token()

        async def work(session: Session) -> None:
            found = await claims.due(session, stage, limit, token=token)
            taken.emails, taken.odd = found.emails, len(found.odd)
            writes = claims.taking(session, stage, found, lease=lease, holder=holder, token=token)
            ids = reservations.reservable([email.id for email in found.emails]) if stage is SENDER else []
            # Last, so that another store which wants one of them waits no longer than it must.
            answers = await session.execute_all([*writes, *reservations.reserving(session, ids)])
            if stage is SENDER:
                taken.reserved = await reservations.reserved(session, ids, answers[len(writes) :])

        await self._pool.run("claim", work)

    def _remember(self, stage: Stage, taken: list[Email]) -> None:
        now = self._clock()
        self._unanswered.setdefault(stage, []).extend(_Unanswered(email, now) for email in taken)

    async def _recover(self, stage: Stage, limit: int, lease: float) -> _Taken:
        """Up to `limit` emails of claims whose COMMIT got no reply and that stand all the same; the rest waits.

        The server may be away by now: then it is asked when the next claim comes, however long that takes.
        """
        waiting = self._unanswered.get(stage, [])
        if not waiting:
            return _Taken()
        renewal = await renew(self._pool, [one.email for one in waiting], lease=lease)
        given = [one for one in waiting if one.email.id in renewal.held][:limit]
        gone = renewal.lost | {one.email.id for one in given}
        self._unanswered[stage] = [one for one in self._unanswered[stage] if one.email.id not in gone]
        now = self._clock()
        return _Taken([_older(one.email, now - one.read_at) for one in given])


def _older(email: Email, seconds: float) -> Email:
    """As the store would describe it now, so much later."""
    expires_in = None if email.expires_in is None else email.expires_in - seconds
    return replace(
        email,
        expires_in=expires_in,
        expired=expires_in is not None and expires_in <= 0,
        failing_for=email.failing_for + seconds if email.failing_for else 0.0,
    )
