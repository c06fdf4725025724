"""A bound on the bytes of messages that are in memory at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """Hands out bytes in the order they were asked for, so that a large mail is not starved by small ones.

    Arguments:
        limit: bytes. One mail that is larger than all of it gets the whole, alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes for the time of the block."""
        wanted = min(size, self._limit)
        await self._take(wanted)
        try:
            yield
        finally:
            self._free += wanted
            self._hand_out()

    async def _take(self, wanted: int) -> None:
        if not self._queue and wanted <= self._free:
            self._free -= wanted
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was granted in the same turn of the loop
                self._free += wanted
            self._hand_out()
            raise

    def _hand_out(self) -> None:
        while self._queue:
            wanted, turn = self._queue[0]
            if turn.done():
                self._queue.popleft()
                continue
            if wanted > self._free:
                return
            self._queue.popleft()
            self._free -= wanted
            turn.set_result(None)
