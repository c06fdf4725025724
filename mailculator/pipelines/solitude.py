"""Lets an email that a process may have died of be handled with nothing else under way in this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailculator.clock import Clock


class Solitude:
    """A lock that many hold together, or one alone. One for the whole process: all stores, all pipelines.

    Who wants to be alone waits for those who are there, and newcomers pass until the house happens to be empty, so that
    a mail which hangs at the relay for ten minutes does not bring everything else to a halt. After `patience` they do
    wait, or under load nobody would ever be alone.

    Arguments:
        patience: seconds for which newcomers pass.
    """

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._inside = 0
        self._alone = False
        self._insisting = 0
        self._changed = asyncio.Event()

    async def join(self) -> None:
        """Be there with whoever else is; `leave` must follow."""
        while not self.join_now():
            await self._changed.wait()

    def join_now(self) -> bool:
        """The same where nobody has to be waited for; else False. A call of its own, since every email passes here."""
        if self._alone or self._insisting:
            return False
        self._inside += 1
        return True

    def leave(self) -> None:
        """After `join`, or `join_now`."""
        self._inside -= 1
        if not self._inside:
            self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """With nobody else."""
        await self._become_alone()
        try:
            yield
        finally:
            self._alone = False
            self._tell()

    async def _become_alone(self) -> None:
        until = self._clock.now() + self._patience
        insists = False
        try:
            while self._inside or self._alone:
                if not insists and self._clock.now() >= until:
                    insists = True
                    self._insisting += 1
                if insists:
                    await self._changed.wait()
                else:
                    await self._clock.wait(self._changed, until - self._clock.now())
            self._alone = True
        finally:
            self._insisting -= insists
            if not self._alone:  # cancelled: those who waited for it need not any more
                self._tell()

    def _tell(self) -> None:
        """Wake everybody who waits; each looks again for itself, in the order in which they came."""
        self._changed.set()
        self._changed = asyncio.Event()
