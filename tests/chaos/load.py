"""Mixed load: mail that is fit to be sent, mail that the relay refuses, mail that is wrong; it never stops coming."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailculator.clock import SystemClock
from tests.chaos.ground import Ground
from tests.chaos.verdict import Dot, Kind
from tests.support.counting_sink import CountingSink, Step
from tests.support.producer import recipient, write_payload

SHARES = {Kind.VALID: 80, Kind.REFUSED: 10, Kind.INVALID: 10}
"""How many of a hundred."""
WRONG: tuple[dict[str, Any], ...] = ({"body_text": ""}, {"subject": "two\nlines"}, {"from": None})
"""Fields of payloads that are INVALID at once."""
REFUSAL = "550 5.1.1 no such user here"
_NOBODY = "nobody-"
_PAUSE = 0.1
"""Seconds between two groups of new mail."""
_TRICKLE = 0.1
"""How likely one more comes after a pause, when all that was meant to come is there and a blow waits for mail."""


@dataclass
class Load:
    """The producer.

    Arguments:
        rng: what comes, and how much at once.
        allowed: emails that it writes as fast as it can; whoever makes the chaos raises it, so that there is mail
            from the first blow to the last however fast the machine is.
        promised: what stands on the queue, and for what.
    """

    ground: Ground
    folder: Path
    rng: random.Random
    allowed: int = 0
    promised: dict[str, Kind] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write until the block ends, and then what is still allowed."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._repeat(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _repeat(self, stop: asyncio.Event) -> None:
        while not await SystemClock().wait(stop, _PAUSE):
            left = self.allowed - len(self.promised)
            await self._put(min(self.rng.randint(1, 6), left) if left > 0 else self.rng.random() < _TRICKLE)
        await self._put(self.allowed - len(self.promised))

    async def _put(self, count: int) -> None:
        kinds = {str(uuid.uuid4()): self._kind() for _ in range(count)}
        if kinds:
            paths = {email_id: self._write(email_id, kind) for email_id, kind in kinds.items()}
            await self.ground.put(paths)
            self.promised |= kinds

    def _kind(self) -> Kind:
        return self.rng.choices(list(SHARES), list(SHARES.values()))[0]

    def _write(self, email_id: str, kind: Kind) -> Path:
        to = f"{_NOBODY if kind is Kind.REFUSED else ''}{recipient(email_id)}"
        fields = self.rng.choice(WRONG) if kind is Kind.INVALID else {}
        return write_payload(self.folder / f"{email_id}.json", to=to, **fields)


@dataclass
class Moods:
    """How the relay behaves: slow at each step in its own way, slowest where nobody knows whether it has the mail.

    Arguments:
        data: seconds before the go-ahead for a message, at the most.
        dot: seconds before the reply to a message, at the most.
        hung: of a hundred messages so many are answered after `hang` seconds.
        dots: the end of every message that reached it.
        rng: of no seed, since who comes when is not for one to say.
    """

    data: float = 0.02
    dot: float = 0.4
    hung: int = 0
    hang: float = 0.0
    dots: list[Dot] = field(default_factory=list)
    rng: random.Random = field(default_factory=random.Random)

    def sink(self) -> CountingSink:
        """A relay of that kind, which knows no recipient that begins with `nobody-`."""
        return CountingSink(delay=self._delay, refuse=_refuse)

    def _delay(self, step: Step) -> float:
        if step.phase == "dot":
            self.dots.append(Dot(addressee(step.recipient), step.client, int(time.time() * 1000)))
            return self.hang if self.rng.randrange(100) < self.hung else self.rng.uniform(0.0, self.dot)
        return self.rng.uniform(0.0, self.data if step.phase == "data" else 0.02)


def addressee(address: str) -> str:
    """Whose mail goes to that address."""
    before, _, after = recipient("|").partition("|")
    return address.removeprefix(_NOBODY).removeprefix(before).removesuffix(after)


def refused(sink: CountingSink) -> frozenset[str]:
    """Ids whose recipients were refused."""
    return frozenset(addressee(step.recipient) for step in sink.refused)


def _refuse(step: Step) -> str | None:
    return REFUSAL if step.phase == "rcpt" and step.recipient.startswith(_NOBODY) else None
