"""How long results gather between two writes: a write has its price, however many results are in it."""

from __future__ import annotations

import asyncio

from mailculator.clock import Clock

SHARE = 4
"""Results gather for so many times as long as the last write took: a fifth of the time is spent on writing, however
dear a write is. A quiet queue waits for nothing: by its next result that time is over."""


class Gathering:
    """Lets results gather for a while after a write; longer where more mail waits for its turn than is worked on.

    Such mail waits anyway, and what it costs is what makes it wait. There the pause doubles with each write, so that a
    burst reaches the next pipeline at once and goes on in large groups; it is cut short when no more mail waits.

    Arguments:
        most: the longest pause, in seconds.
    """

    def __init__(self, clock: Clock, *, most: float) -> None:
        self._clock = clock
        self._most = most
        self._pause = 0.0
        self._enough = asyncio.Event()
        self._hurry = asyncio.Event()
        self._least_until = self._until = clock.now()

    def enough(self) -> None:
        """A whole group has come, or the last result: wait no more, until the next `wrote`."""
        self._enough.set()
        self._hurry.set()

    def hurry(self) -> None:
        """No more mail waits for its turn: wait no longer than what a write costs makes worth while."""
        self._hurry.set()

    def wrote(self, took: float, *, backlog: bool) -> None:
        """A write has ended: the next results gather from now on.

        Arguments:
            took: seconds.
            backlog: whether more mail waits for its turn than is worked on.
        """
        least = min(SHARE * took, self._most)
        self._pause = min(max(2 * self._pause, least), self._most) if backlog else least
        now = self._clock.now()
        self._least_until, self._until = now + least, now + self._pause
        self._enough.clear()
        if backlog:
            self._hurry.clear()

    async def wait(self) -> None:
        """Until the pause is over."""
        await self._clock.wait(self._enough, self._least_until - self._clock.now())
        await self._clock.wait(self._hurry, self._until - self._clock.now())
