"""Time as the loops see it: injected, so that tests move it instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock, and the one way to wait: for an event, at most for a while."""

    def now(self) -> float:
        """Monotonic seconds."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Until the event is set, or for that many seconds. True when it is set."""


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        """Monotonic seconds; unaffected by anyone who sets the wall clock."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Until the event is set, or for that many seconds. True when it is set."""
        if not event.is_set() and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                pass
        return event.is_set()
