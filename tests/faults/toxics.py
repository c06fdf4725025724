"""What may befall a connection on its way: what each fault is, while the connection is made and to each piece of bytes.

In the phase `connect` a fault meets connections as they are made, in `request` what comes from the service, in `reply`
what the dependency says. What is held up goes on as soon as the way heals, unless the fault itself says otherwise.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from weakref import WeakKeyDictionary


class Phase(StrEnum):
    """When a fault strikes."""

    CONNECT = "connect"
    REQUEST = "request"
    REPLY = "reply"


class Door(StrEnum):
    """What becomes of whoever knocks: let in, told that nobody is there (RST), or left without any answer."""

    OPEN = "open"
    CLOSED = "closed"
    SILENT = "silent"


class Torn(Exception):
    """The connection ends here, on both sides. `reset`: by RST; else by FIN."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__(reset)
        self.reset = reset


class Link(Protocol):
    """What a fault may do to the connection that it befalls."""

    async def held(self, seconds: float | None = None) -> None:
        """Until it heals, or for that many seconds at the most."""

    async def given_up(self) -> None:
        """Until the service has hung up."""

    def lose_dependency(self) -> None:
        """The dependency's side is gone, and nobody tells the service."""


class Toxic:
    """A fault. As it stands here it does no harm."""

    door = Door.OPEN

    async def greet(self, link: Link) -> None:
        """In `connect`: before a connection that the service takes for made leads anywhere. Errors: Torn."""

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        """In `request` and `reply`: what is passed on of these bytes, piece by piece. Errors: Torn."""
        yield data

    async def finish(self, link: Link) -> None:
        """In `request` and `reply`: before the FIN of one side is passed on."""


@dataclass
class Latency(Toxic):
    """Everything comes late, by so many seconds. Connect: accepted, and nobody is there yet; request and reply: each
    piece, one after the other."""

    seconds: float

    async def greet(self, link: Link) -> None:
        await link.held(self._delay())

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        await link.held(self._delay())
        yield data

    def _delay(self) -> float:
        return self.seconds


@dataclass
class Jitter(Latency):
    """Latency of no fixed length: each time anything from none to twice as much."""

    rng: random.Random

    def _delay(self) -> float:
        return self.rng.uniform(0.0, 2.0 * self.seconds)


@dataclass
class Bandwidth(Toxic):
    """So many bytes a second on each connection; connect: there are none."""

    rate: float

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        step = max(1, int(self.rate / 20))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            await link.held(len(piece) / self.rate)
            yield piece


class Reset(Toxic):
    """RST. Connect: nobody listens, the connection is refused; request: before the dependency has any of it; reply: in
    the place of the answer."""

    door = Door.CLOSED

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        raise Torn(reset=True)
        yield data


class Fin(Toxic):
    """An orderly end. Connect: accepted and hung up on; request and reply: as a reset, with FIN."""

    async def greet(self, link: Link) -> None:
        raise Torn(reset=False)

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        raise Torn(reset=False)
        yield data


@dataclass
class Blackhole(Toxic):
    """Packets vanish, and both ends keep the connection. Connect: a SYN has no answer. Request and reply: nothing comes
    through. When it heals, what was said meanwhile arrives, as TCP sends it again, also where the service has given up
    by then: a statement is carried out, and a mail taken, that nobody waits for any more. Or else the connection stays
    dark, as behind a firewall that has forgotten it.

    Arguments:
        forgotten: says which of the two, for each that it meets.
    """

    forgotten: Callable[[], bool]
    door = Door.SILENT

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        await self._dark(link)
        yield data

    async def finish(self, link: Link) -> None:
        await self._dark(link)

    async def _dark(self, link: Link) -> None:
        if self.forgotten():
            await link.given_up()
            raise Torn(reset=True)
        await link.held()


@dataclass
class HalfOpen(Toxic):
    """The dependency's host is gone without a word, and the service believes that it is connected. Connect: accepted,
    and nobody is there; request: the dependency loses the connection and the bytes are lost; reply: it has carried the
    request out, and loses the connection with the answer.

    Bytes that nobody acknowledged are sent again, and when it heals the host says by RST that it knows nothing of the
    connection. Who only waits is never told.

    Arguments:
        phase: in which it strikes.
    """

    phase: Phase

    async def greet(self, link: Link) -> None:
        await link.given_up()
        raise Torn(reset=True)

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        link.lose_dependency()
        await (link.held() if self.phase is Phase.REQUEST else link.given_up())
        raise Torn(reset=True)
        yield data


class Slicer(Toxic):
    """One byte a packet; connect: there is none to slice."""

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        for byte in data:
            yield bytes((byte,))
            await asyncio.sleep(0)


@dataclass
class CutAfter(Toxic):
    """So many bytes of a connection come through, then FIN: part of a request, or of a reply; connect: see Fin.

    Arguments:
        count: says how many, for each connection anew.
    """

    count: Callable[[], int]
    _left: WeakKeyDictionary[Link, int] = field(default_factory=WeakKeyDictionary)

    async def carry(self, data: bytes, link: Link) -> AsyncIterator[bytes]:
        left = self._left.setdefault(link, self.count())
        self._left[link] = left - len(data)
        yield data[:left]
        if left <= len(data):
            raise Torn(reset=False)
