"""One id, two stores: the one object through which MariaDB and DynamoDB agree on who sends it.

The agreement stands in MariaDB's reservations, a row for each id that a sender has claimed, with the one store that may
send it. What each store does, so that an id is sent by one of them and given up by the other, never by both:

- MariaDB reserves what it claims within the claim's transaction. It looks at DynamoDB when that is committed, since
  nothing may wait for a network inside a transaction, and only then hands its emails out.
- DynamoDB reserves before it claims. MariaDB's copies are read in the same transaction.
- Whoever finds the other's reservation gives its copy up, unless the other's copy is gone, or ended INVALID and so will
  not be sent: then the reservation is taken over.
- Whoever reserves an id first also looks whether the other store has it past READY, and yields if so.
- MariaDB's look comes after its reservation is seen by others. A copy that DynamoDB is just giving up, on the strength
  of that very reservation, stands in PROCESSING for a moment and looks as if DynamoDB were sending it. So a refusal
  settles a reservation, and to a copy in PROCESSING a settled one is not yielded any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from mailculator.clock import Clock
from mailculator.errors import StoreError, StoreUnavailable
from mailculator.events import Observer, StoreNoticed
from mailculator.model import Status

KEEPER = "mysql"
"""The store that keeps the reservations."""

OTHER = "dynamodb"
"""The store that shares its ids with it."""

PAST_READY = frozenset(Status) - {Status.ACCEPTED, Status.INTAKING, Status.READY, Status.INVALID}
"""Where a copy counts as taken: it is being sent, was sent, or its producer is told that it failed."""


class Guard(Protocol):
    """What a store asks that keeps its reservations with another one."""

    async def reserve(self, emails: Sequence[tuple[str, int | None]]) -> Mapping[str, str | None]:
        """Reserve what is about to be claimed for sending; one batch, one transaction.

        Arguments:
            emails: id and ttl in epoch seconds; None where it has none or it is not known yet. A second call for the
                same email makes its reservation last as long as the ttl that is named then.

        Returns, per id: None where it is to be sent, else the name of the other store that has it. Then the copy here
        must end INVALID once it is claimed.

        Errors: StoreUnavailable while the reservations cannot be had; then nothing may be claimed for sending.
        """


class Lookout(Protocol):
    """What the store asks that keeps the reservations."""

    async def look(self, ids: Sequence[str]) -> Mapping[str, Status] | None:
        """How the other store's copies stand, without the ids that it does not have; None when it cannot be told."""


@runtime_checkable
class Reservations(Protocol):
    """A store that keeps reservations for another one."""

    async def reserve_for(self, store: str, emails: Sequence[tuple[str, int | None]]) -> Mapping[str, str | None]:
        """As Guard.reserve, for the store of that name."""


@runtime_checkable
class Copies(Protocol):
    """A store that says how its copies stand."""

    async def standing(self, ids: Sequence[str]) -> Mapping[str, Status]:
        """The status of each, as last written; ids that are not there are left out."""


class DuplicateGuard:
    """Guard for DynamoDB and Lookout for MariaDB.

    Arguments:
        patience: seconds that mail of MariaDB waits for DynamoDB's answer; then it leaves without a look.
        pause: seconds after such a silence in which DynamoDB is not asked again.
    """

    def __init__(self, *, observer: Observer, clock: Clock, patience: float = 2.0, pause: float = 30.0) -> None:
        self._observer = observer
        self._clock = clock
        self._patience = patience
        self._pause = pause
        self._keeper: Reservations | None = None
        self._copies: Copies | None = None
        self._opened = asyncio.Event()
        self._ask_from = clock.now()
        self._skipping = False

    def joined(self, name: str, store: object) -> None:
        """A store has been opened."""
        if name == KEEPER and isinstance(store, Reservations):
            self._keeper = store
        if name == OTHER and isinstance(store, Copies):
            self._copies = store
            self._ask_from = self._clock.now()
            self._opened.set()

    def left(self, name: str) -> None:
        """A store is about to be closed."""
        if name == KEEPER:
            self._keeper = None
        if name == OTHER:
            self._copies = None
            self._opened.clear()

    async def reserve(self, emails: Sequence[tuple[str, int | None]]) -> Mapping[str, str | None]:
        """See Guard."""
        if not emails:
            return {}
        if self._keeper is None:
            raise _waits("it has not been reached yet")
        try:
            verdicts = await self._keeper.reserve_for(OTHER, emails)
        except StoreError as error:
            raise _waits(error.detail) from error
        for email_id, store in verdicts.items():
            if store is not None:
                self._observer(StoreNoticed(OTHER, "duplicate", email_id, f"in {store}"))
        return verdicts

    async def look(self, ids: Sequence[str]) -> Mapping[str, Status] | None:
        """See Lookout."""
        if self._clock.now() < self._ask_from:
            return None
        try:
            async with asyncio.timeout(self._patience):
                seen = await self._standing(ids)
        except TimeoutError:
            self._skip(f"no answer within {self._patience:g} s")
            return None
        except StoreError as error:
            self._skip(str(error))
            return None
        self._skipping = False
        return seen

    async def _standing(self, ids: Sequence[str]) -> Mapping[str, Status]:
        # The two stores are opened side by side at the start: what the faster one claims waits for the other one.
        await self._opened.wait()
        return {} if self._copies is None else await self._copies.standing(ids)

    def _skip(self, why: str) -> None:
        self._ask_from = self._clock.now() + self._pause
        if not self._skipping:
            self._skipping = True
            detail = f"mail leaves without a look whether {OTHER} has it too: {why}"
            self._observer(StoreNoticed(KEEPER, "guard_skipped", None, detail))


def _waits(why: str) -> StoreUnavailable:
    return StoreUnavailable(OTHER, "claim", f"sending waits for MariaDB, which keeps the reservations: {why}")
