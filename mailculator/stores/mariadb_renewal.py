"""Renewing leases although somebody has rows locked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mailculator.model import Email
from mailculator.stores import mariadb_claims as claims
from mailculator.stores.base import Renewal
from mailculator.stores.mariadb_errors import Aborted
from mailculator.stores.mariadb_pool import TRIES, Pool


async def renew(pool: Pool, emails: Sequence[Email], *, lease: float) -> Renewal:
    """See Store."""
    with pool.verb():
        first = await _renew(pool, emails, lease, wait=False)
        late = _unseen(emails, first)
        if not late:
            return first
        # Gone, or locked by a record of ours or an operator's session; the others are renewed by now.
        try:
            second = await _renew(pool, late, lease, wait=True)
        except Aborted:
            # One of them stays locked, and may have stood before others that are free by now.
            second = await _renew(pool, late, lease, wait=False)
        unseen = _unseen(late, second)
        gone: frozenset[str] = frozenset()
        if unseen:
            async with pool.session("renew") as session:
                gone = await claims.fallen(session, unseen)
        return Renewal(first.held | second.held, first.lost | second.lost | gone)


async def _renew(pool: Pool, emails: Sequence[Email], lease: float, *, wait: bool) -> Renewal:
    if not emails:
        return Renewal(frozenset(), frozenset())
    call = partial(claims.renew, emails=emails, lease=lease, wait=wait)
    return await pool.run("renew", call, tries=1 if wait else TRIES)


def _unseen(emails: Sequence[Email], renewal: Renewal) -> list[Email]:
    return [email for email in emails if email.id not in renewal.held and email.id not in renewal.lost]
