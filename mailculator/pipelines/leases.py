"""The keeper of leases: everything that a process holds in one store is renewed in one go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from mailculator.clock import Clock
from mailculator.errors import StoreError
from mailculator.model import Email, Lease
from mailculator.stores.base import Store
from mailculator.timing import Timing


class Keeper:
    """Renews the leases of held emails, and tells who lost one.

    A lease counts from before the store was asked, so what this process believes never outlives what the store says.
    """

    def __init__(self, store: Store, *, timing: Timing, clock: Clock) -> None:
        self._store = store
        self._timing = timing
        self._clock = clock
        self._held: dict[str, tuple[Email, Callable[[], None]]] = {}
        self._stop = asyncio.Event()
        self._renewing = asyncio.Lock()

    def hold(self, email: Email, asked_at: float, on_lost: Callable[[], None]) -> Email:
        """Keep a fresh claim alive until `drop`. Returns the email with its lease.

        Arguments:
            asked_at: the clock's time from before the claim was asked for.
            on_lost: called once when a renewal finds that the claim is not ours any more.
        """
        lease = Lease(asked_at + self._timing.lease, self._clock.now, refresh=self._refresh)
        expires_at = None if email.expires_in is None else asked_at + email.expires_in
        # In place, though it is a value: it has just been made, and to make another takes longer than all else here.
        object.__setattr__(email, "lease", lease)
        object.__setattr__(email, "expires_at", expires_at)
        self._held[email.id] = (email, on_lost)
        return email

    def drop(self, email: Email) -> None:
        """Stop renewing: its result is on record, or it is lost."""
        known = self._held.get(email.id)
        if known is not None and known[0].claim_token == email.claim_token:
            del self._held[email.id]

    def held(self, emails: Iterable[Email]) -> frozenset[str]:
        """Ids of those that are kept under the very claim with which they stand here."""
        known = ((email, self._held.get(email.id)) for email in emails)
        return frozenset(email.id for email, ours in known if ours and ours[0].claim_token == email.claim_token)

    def stop(self) -> None:
        """End `run` at its next turn."""
        self._stop.set()

    async def run(self) -> None:
        """Renew every `renew_every` seconds; sooner again after the store was away."""
        pause = self._timing.renew_every
        while not await self._clock.wait(self._stop, pause):
            pause = self._timing.renew_every
            try:
                await self.renew()
            except StoreError:
                # Reported by the store's watcher. Leases run out while we wait, so ask again soon.
                pause = min(self._timing.renew_every, self._timing.store_backoff.cap)

    async def _refresh(self, lease: Lease) -> None:
        """Renew now what should have been renewed by now. Whoever else asks meanwhile is served by the same renewal."""
        async with self._renewing:
            if lease.holds(self._timing.lease - self._timing.renew_every):
                return
            with contextlib.suppress(StoreError):  # reported by the store's watcher; the lease is as old as it is
                await self.renew()

    async def renew(self) -> None:
        """Renew everything that is held, once. Errors: StoreError; what was held stays held."""
        held = [email for email, _ in self._held.values()]
        if not held:
            return
        asked_at = self._clock.now()
        renewal = await self._store.renew(held, lease=self._timing.lease)
        for email in held:
            lease = email.lease
            if lease is None:  # hold() always sets one
                continue
            if email.id in renewal.held:
                lease.expires_at = asked_at + self._timing.lease
            elif email.id in renewal.lost:
                self._lose(email, lease)

    def _lose(self, email: Email, lease: Lease) -> None:
        known = self._held.get(email.id)
        # Its result may have been recorded while the renewal was under way: then it left on its own.
        if known is None or known[0] is not email:
            return
        del self._held[email.id]
        lease.lost = True
        known[1]()
