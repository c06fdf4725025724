"""Waiting for news of one connection until a deadline, with one timer for many waits.

A timer of its own for each reply (asyncio.timeout) costs more than the reply. Here a timer that rings before the
deadline of the wait at hand is set anew, and one that rings while nobody waits is not: a conversation that goes on
sets one in half a minute, however many mails it holds.
"""

from __future__ import annotations

import asyncio


class Waiting:
    """One task waits at a time; whatever happens to the connection wakes it."""

    def __init__(self) -> None:
        self._news: asyncio.Future[bool] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    async def wait(self, deadline: float) -> None:
        """Until `wake`. The caller looks what it is: it may be of no interest. Errors: TimeoutError.

        Arguments:
            deadline: by the event loop's clock.
        """
        loop = asyncio.get_running_loop()
        self._deadline = deadline
        if self._timer is None or deadline < self._rings_at:
            self._set_timer(loop)
        self._news = news = loop.create_future()
        try:
            # A cancellation that comes with the news wins, as Task.cancel has it: nothing is swallowed.
            in_time = await news
        finally:
            self._news = None
        if not in_time:
            raise TimeoutError

    def wake(self) -> None:
        """There is news for whoever waits."""
        if self._news is not None and not self._news.done():
            self._news.set_result(True)

    def end(self) -> None:
        """There will be no more waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._deadline
        self._timer = loop.call_at(self._deadline, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._news is None or self._news.done():
            return  # the next wait sets a timer, for a deadline that may have passed by then
        if loop.time() < self._deadline:
            self._set_timer(loop)
        else:
            self._news.set_result(False)
