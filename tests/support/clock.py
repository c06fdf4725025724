"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Implements mailculator.clock.Clock. `advance` moves time and lets everyone who waited for it go on."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []
        self._arrivals = asyncio.Condition()

    def now(self) -> float:
        return self._now

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        if event.is_set() or seconds <= 0:
            return event.is_set()
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._now + seconds, due))
        async with self._arrivals:
            self._arrivals.notify_all()
        came = asyncio.create_task(event.wait())
        try:
            both: set[asyncio.Future[object]] = {came, due}  # type: ignore[arg-type]  # only waited for, never read
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            came.cancel()
            self._waiting = [(when, future) for when, future in self._waiting if future is not due]
        return event.is_set()

    async def until_waited_for(self, seconds: float) -> None:
        """Until somebody waits for a moment within `seconds` from now."""
        async with self._arrivals:
            await self._arrivals.wait_for(lambda: any(when <= self._now + seconds for when, _ in self._waiting))

    async def advance(self, seconds: float) -> None:
        """Let everyone get as far as they can, move time, and let those go on whose time has come."""
        await self.settle()
        self._now += seconds
        for when, future in self._waiting:
            if when <= self._now and not future.done():
                future.set_result(None)
        await self.settle()

    async def settle(self) -> None:
        """Give every task that can run a few turns; nothing here waits for time or for the network."""
        for _ in range(20):
            await asyncio.sleep(0)
