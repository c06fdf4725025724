"""Which of the emails that a claim has taken are another store's to send.

Comes after the claim's COMMIT and before anybody gets its emails: the reservations that it made are seen by then, and
the other store may be asked without a transaction open meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from mailculator import lifecycle
from mailculator.events import Observer, StoreNoticed
from mailculator.model import Email
from mailculator.stores import mariadb_reservations as reservations
from mailculator.stores.guard import KEEPER, Lookout
from mailculator.stores.mariadb_errors import RowRefused
from mailculator.stores.mariadb_pool import Pool
from mailculator.stores.mariadb_recording import record
from mailculator.stores.mariadb_reservations import Reservation


class DuplicateCheck:
    """Sorts out the emails of a claim by their reservations.

    Arguments:
        lookout: asked how the other store's copies stand; None where no other store is in use. Then what another store
            has reserved is given up unseen: it was sent there, or its producer was told.
        pause: seconds after which an email whose reservation is the other store's is looked at again, when that store
            could not be asked.
    """

    def __init__(self, pool: Pool, *, lookout: Lookout | None, pause: float, observer: Observer) -> None:
        self._pool = pool
        self._lookout = lookout
        self._pause = pause
        self._observer = observer

    async def sort_out(self, emails: list[Email], known: Mapping[str, Reservation] | None) -> list[Email]:
        """The emails to hand out, those that another store sends with its name in `duplicate_in`.

        Arguments:
            known: their reservations; None when they have to be read.

        Errors: StoreError; then none of them may be handed out.
        """
        if known is None:
            known = await self._read(emails)
        theirs = {one.email_id: one.store for one in known.values() if one.store != KEEPER}
        if self._lookout is None:
            return self._marked(emails, theirs)
        open_ = [one for one in known.values() if one.store != KEEPER or not one.settled]
        if not open_:
            return emails
        seen = await self._lookout.look([one.email_id for one in open_])
        if seen is None:
            return await self._without(emails, theirs)
        owners = await self._pool.run("claim", partial(reservations.settle, before=open_, seen=seen))
        return self._marked(emails, {email_id: store for email_id, store in owners.items() if store != KEEPER})

    async def _read(self, emails: Sequence[Email]) -> Mapping[str, Reservation]:
        async with self._pool.session("claim") as session:
            return await reservations.read(session, [email.id for email in emails])

    def _marked(self, emails: list[Email], theirs: Mapping[str, str]) -> list[Email]:
        for email_id, store in theirs.items():
            self._observer(StoreNoticed(KEEPER, "duplicate", email_id, f"in {store}"))
        return [replace(email, duplicate_in=theirs.get(email.id)) for email in emails] if theirs else emails

    async def _without(self, emails: list[Email], theirs: Mapping[str, str]) -> list[Email]:
        """Put back what may be neither sent nor given up before the other store has answered."""
        waiting = [email for email in emails if email.id in theirs]
        if waiting:
            moves = [
                lifecycle.move(email, lifecycle.Wait(f"reserved for {theirs[email.id]}, which is away", self._pause))
                for email in waiting
            ]
            # What cannot be written is put back by its rescue; it must not keep all the others.
            with suppress(RowRefused):
                await record(self._pool, moves)
        return [email for email in emails if email.id not in theirs]
