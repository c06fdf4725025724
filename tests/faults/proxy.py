"""A TCP proxy between the service and what it depends on, which makes the connection ill on order.

It is in order until `sicken`, and again from `heal` on. The faults of a phase befall each piece one after the other.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, Self

from mailculator.clock import SystemClock
from tests.faults.toxics import Door, Phase, Torn, Toxic

HOST = "127.0.0.1"
BACKLOG = 100
_PIECE = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST."""


class Listener(Protocol):
    """Hears what goes through: what a sender of unknown outcome was told is known from here alone."""

    def handed_over(self, link: int, data: bytes) -> None:
        """Bytes that the service has sent, whatever becomes of them."""

    def delivered(self, link: int, data: bytes) -> None:
        """Bytes that reached the service, which had not hung up by then."""

    def ended(self, link: int) -> None:
        """Nothing more is heard of this connection. What the service may still say in it reaches nobody."""


class _Link:
    """A connection of the service's, and the one to the dependency once there is one.

    `gone` is set when the service has hung up, however much of what it said is still held up.
    """

    def __init__(self, number: int, healed: asyncio.Event, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]):
        self.number = number
        self.healed = healed
        self.gone = asyncio.Event()
        self.to_server: asyncio.StreamWriter | None = None
        self.dependency_lost = False
        self._from_client, self.to_client = client
        self._said: asyncio.Queue[bytes | OSError] = asyncio.Queue()

    async def hear(self, listener: Listener | None) -> None:
        """Take whatever the service says, when it says it."""
        last: bytes | OSError = b""
        try:
            while data := await self._from_client.read(_PIECE):
                if listener is not None:
                    listener.handed_over(self.number, data)
                self._said.put_nowait(data)
        except OSError as error:
            last = error
        finally:
            self.gone.set()
            self._said.put_nowait(last)

    async def said(self, _: int = 0) -> bytes:
        """What the service said next; nothing when that was all. OSError where it broke off."""
        said = await self._said.get()
        if isinstance(said, OSError):
            raise said
        return said

    async def held(self, seconds: float | None = None) -> None:
        if seconds is None:
            await self.healed.wait()
        else:
            await SystemClock().wait(self.healed, seconds)

    async def given_up(self) -> None:
        await self.gone.wait()

    def lose_dependency(self) -> None:
        self.dependency_lost = True
        if self.to_server is not None:
            self.to_server.transport.abort()

    def end(self, *, reset: bool) -> None:
        for writer in (self.to_client, self.to_server):
            if writer is not None:
                _end(writer, reset=reset)


class FaultProxy:
    """The proxy. `async with FaultProxy(port) as proxy:` starts and stops it; `proxy.port` is where it listens.

    Arguments:
        target: the dependency's port on this host.
        listener: hears what goes through; None = nobody.

    `met` is set as soon as what was ordered befalls a connection. Who knocks at a door that is not open is not seen.
    """

    def __init__(self, target: int, listener: Listener | None = None) -> None:
        self.port = 0
        self.met = asyncio.Event()
        self._target = target
        self._listener = listener
        self._links = 0
        self._faults: dict[Phase, tuple[Toxic, ...]] = {}
        self._healed = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], _Link] = {}
        self._keeper = _bound(0)
        self._door: socket.socket | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        # Bound and never listening, it keeps the port from everybody else while the door is closed.
        self.port = self._keeper.getsockname()[1]
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._shut()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keeper.close()
        # The transports report their end one turn of the loop later.
        await asyncio.sleep(0)

    async def sicken(self, phase: Phase, *toxics: Toxic) -> None:
        """From now on these befall that phase. In `connect` the connections that there are end in good order, or none
        would have to be made."""
        self._faults[phase] = toxics
        self.met.clear()
        if phase is Phase.CONNECT:
            for link in tuple(self._tasks.values()):
                link.end(reset=False)
            doors = {toxic.door for toxic in toxics}
            if Door.CLOSED in doors:
                self._shut()
            elif Door.SILENT in doors:
                await self._silence()

    async def heal(self) -> None:
        """All is in order, and what was held up goes on."""
        self._faults.clear()
        self._healed.set()
        self._healed = asyncio.Event()
        if self._server is None:
            self._shut()
            await self._open()

    async def _open(self) -> None:
        self._door = _bound(self.port)
        self._server = await asyncio.start_server(self._serve, sock=self._door, backlog=BACKLOG)

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._door is not None:
            self._door.close()
        self._server = self._door = None

    async def _silence(self) -> None:
        """A queue of connections that is full, and nobody takes one from it: the kernel drops every further SYN."""
        self._shut()
        self._door = _bound(self.port)
        self._door.listen(0)
        filler = socket.socket()
        filler.setblocking(False)
        await asyncio.get_running_loop().sock_connect(filler, (HOST, self.port))
        filler.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links += 1
        link = self._tasks[task] = _Link(self._links, self._healed, (reader, writer))
        hearing = asyncio.create_task(link.hear(self._listener))
        try:
            for toxic in self._now(link, Phase.CONNECT):
                await toxic.greet(link)
            await self._carry(link)
        except Torn as torn:
            link.end(reset=torn.reset)
        except (OSError, asyncio.CancelledError):
            link.end(reset=True)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            if self._listener is not None:
                self._listener.ended(link.number)
            del self._tasks[task]

    async def _carry(self, link: _Link) -> None:
        reader, link.to_server = await asyncio.open_connection(HOST, self._target)
        both = (
            asyncio.create_task(self._pump(link, Phase.REQUEST, link.said, link.to_server)),
            asyncio.create_task(self._pump(link, Phase.REPLY, reader.read, link.to_client)),
        )
        try:
            await asyncio.gather(*both)
            link.end(reset=False)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _pump(
        self, link: _Link, phase: Phase, read: Callable[[int], Awaitable[bytes]], target: asyncio.StreamWriter
    ) -> None:
        while data := await read(_PIECE):
            async for piece in _through(self._now(link, phase), data, link):
                target.write(piece)
                if self._listener is not None and phase is Phase.REPLY and not link.gone.is_set():
                    self._listener.delivered(link.number, piece)
                await target.drain()
        for toxic in self._now(link, phase):
            await toxic.finish(link)
        if link.dependency_lost:
            await link.given_up()
        target.write_eof()

    def _now(self, link: _Link, phase: Phase) -> tuple[Toxic, ...]:
        """What befalls the next piece, and is not changed by what is ordered after it."""
        link.healed = self._healed
        toxics = self._faults.get(phase, ())
        if toxics:
            self.met.set()
        return toxics


async def _through(toxics: Sequence[Toxic], data: bytes, link: _Link) -> AsyncIterator[bytes]:
    """The bytes as they are when all of these have befallen them."""
    if not toxics:
        yield data
        return
    async for piece in toxics[0].carry(data, link):
        async for rest in _through(toxics[1:], piece, link):
            yield rest


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setblocking(False)
    bound.bind((HOST, port))
    return bound


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    with suppress(OSError, RuntimeError):
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        else:
            writer.close()
