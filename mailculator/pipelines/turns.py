"""Places at the relay: whoever finds none waits for its turn, or hears that it need not wait any more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """So many at once, in the order in which they came.

    Arguments:
        places: how many.
        away: why what waits should not go on; "" where it should. Asked whenever a place is given back.
    """

    def __init__(self, places: int, *, away: Callable[[], str]) -> None:
        self._free = places
        self._away = away
        self._waiting: deque[asyncio.Future[str]] = deque()

    async def take(self) -> str:
        """Take a place, which must be given back, and return ""; or return why not, to whoever would have to wait."""
        if self._free:
            self._free -= 1
            return ""
        if why := self._away():
            return why
        turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            why = await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and not turn.result():  # it had come just then
                self.give_back()
            raise
        if not why and (why := self._away()):  # others may have found out since it was called
            self.give_back()
        return why

    def give_back(self) -> None:
        """After `take` has given a place."""
        self._free += 1
        self.look()

    def look(self) -> None:
        """Send on, or away, whom that concerns now: a place is free, or something has changed."""
        while self._waiting:
            if self._waiting[0].done():  # cancelled
                self._waiting.popleft()
            elif why := self._away():
                self._waiting.popleft().set_result(why)
            elif self._free:
                self._free -= 1
                self._waiting.popleft().set_result("")
            else:
                return
