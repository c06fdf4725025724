"""The overview as server-sent events: one look for all who listen, and for each of them no more than the latest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from mailculator.clock import Clock
from mailculator.web.admin.answers import HEAD, Refusal

EVERY = 1.0
"""Seconds between two overviews."""
LISTENERS = 64
"""Pages that are open at once."""
HEARTBEAT = 10.0
"""Seconds after which a page is told that it is still connected, where there is nothing else to tell."""
STALLED = 10.0
"""Seconds after which whoever reads nothing is cut off."""


class Stream:
    """Composes overviews while somebody listens.

    Arguments:
        compose: makes the document, as octets.
    """

    def __init__(self, compose: Callable[[], Awaitable[bytes]], *, clock: Clock) -> None:
        self._compose = compose
        self._clock = clock
        self._listeners: set[asyncio.Event] = set()
        self._latest = b""
        self._composing: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many there are."""
        return len(self._listeners)

    async def serve(self, request: web.BaseRequest, lasts: Callable[[], bool]) -> web.StreamResponse:
        """Until the client is gone, the session is over, or the service stops.

        Arguments:
            lasts: whether who listens may do so still.

        Errors: Refusal.
        """
        if self._closed.is_set() or len(self._listeners) >= LISTENERS:
            raise Refusal(503, "Too many pages are open, or this replica stops.", headers={"Retry-After": "5"})
        head = {**HEAD, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=head)
        response.force_close()
        fresh = asyncio.Event()
        self._listeners.add(fresh)
        try:
            await response.prepare(request)
            if self._latest and self._composing is not None:
                fresh.set()
            self._begin()
            await self._feed(response, fresh, lasts)
        except (TimeoutError, ConnectionError):
            # Whoever stopped reading may have half a document: there is no ending it in good order.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._listeners.discard(fresh)
        return response

    def close(self) -> None:
        """End every stream, now; none begins any more."""
        self._closed.set()
        for fresh in self._listeners:
            fresh.set()
        if self._composing is not None:
            self._composing.cancel()

    async def _feed(self, response: web.StreamResponse, fresh: asyncio.Event, lasts: Callable[[], bool]) -> None:
        while not self._closed.is_set() and lasts():
            # Not one by one: who reads slowly misses what is old, and nothing is kept for him.
            said = b":\n\n"
            if await self._clock.wait(fresh, HEARTBEAT):
                if not self._latest:
                    return  # it could not be composed; the client comes again, and so may the overview
                fresh.clear()
                said = b"event: overview\ndata: " + self._latest + b"\n\n"
            if self._closed.is_set():
                break
            async with asyncio.timeout(STALLED):
                await response.write(said)

    def _begin(self) -> None:
        if self._composing is None:
            self._composing = asyncio.create_task(self._run(), name="overviews")

    async def _run(self) -> None:
        try:
            while self._listeners:
                self._latest = await self._compose()
                for fresh in self._listeners:
                    fresh.set()
                await self._clock.wait(self._closed, EVERY)
        finally:
            self._composing = None
            self._latest = b""
            for fresh in self._listeners:
                fresh.set()
