"""The relay and the callback's URL: what they were told, written down before they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from mailculator.errors import (
    CallbackUnavailable,
    LeaseLapsed,
    RelayDeferred,
    RelayLost,
    RelayRefused,
    RelayUnavailable,
)
from mailculator.timing import Timing
from mailculator.transport.base import Answer, Envelope
from tests.chaos.verdict import Dot
from tests.simulation.chronicle import Chronicle, milliseconds
from tests.simulation.faults import Weather
from tests.simulation.loop import Process, VirtualLoop
from tests.support.counting_sink import Accepted, Answered

NOBODY = "nobody@example.org"
"""Whom the relay does not know when it is told; of `LATER` it says so when it has the message."""
LATER = "nobody-later@example.org"


@dataclass
class Peers:
    """What both have written down, for all replicas.

    Arguments:
        lost: messages whose connection ended between the dot and the reply, each by its sender's incarnation and by
            email and version.
    """

    loop: VirtualLoop
    weather: Weather
    chronicle: Chronicle
    accepted: list[Accepted] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    answers: list[Answered] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    lost: set[tuple[str, str, int]] = field(default_factory=set)

    def later(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        """Over there, whoever dies here meanwhile."""
        self.loop.call_later(seconds, callback, *args, context=self.loop.world.context)


class SimulatedRelay:
    """The Relay of one process.

    Arguments:
        client: its name in EHLO.
    """

    def __init__(self, peers: Peers, process: Process, incarnation: str, client: str, timing: Timing) -> None:
        self._peers = peers
        self._process = process
        self._incarnation = incarnation
        self._client = client
        self._timing = timing

    async def send(
        self,
        envelope: Envelope,
        message: bytes,
        *,
        before_data: Callable[[], bool],
        before_dot: Callable[[], Awaitable[bool]],
        after_reply: Callable[[int, str], Awaitable[None]],
    ) -> str:
        """See Relay."""
        weather, email_id = self._peers.weather, message.decode()
        await asyncio.sleep(weather.rng.uniform(0.001, 0.05))
        await self._greet()
        if not before_data():
            raise LeaseLapsed
        self._address(envelope.recipient, email_id)
        await asyncio.sleep(weather.rng.uniform(0.001, 0.5))
        if weather.strikes("cut before"):
            raise RelayUnavailable("body", "the connection was lost")
        if not await before_dot():
            raise LeaseLapsed
        code, text = await self._complete(envelope.recipient, email_id, _version(before_dot))
        await after_reply(code, text)
        if code // 100 == 2:
            return f"{code} {text}"
        raise (RelayRefused if code // 100 == 5 else RelayDeferred)("body", text, code)

    async def close(self) -> None:
        """Nothing."""

    async def _greet(self) -> None:
        weather = self._peers.weather
        spell = weather.spell("relay")
        if (spell and spell.hangs) or weather.strikes("hang before"):
            await asyncio.sleep(self._timing.smtp_command)
            raise RelayUnavailable("ehlo", "no answer")
        if spell or weather.strikes("connect"):
            raise RelayUnavailable("connect", "refused")

    def _address(self, recipient: str, email_id: str) -> None:
        weather = self._peers.weather
        if weather.strikes("throttled"):
            raise RelayDeferred("mail", "4.7.0 too many messages, slow down", weather.rng.choice((421, 450, 454)))
        if weather.strikes("greylisted"):
            raise RelayDeferred("rcpt", "4.2.0 greylisted", 450)
        if recipient == NOBODY:
            self._peers.refused.add(email_id)
            raise RelayRefused("rcpt", "5.1.1 no such user", 550)

    async def _complete(self, recipient: str, email_id: str, version: int) -> tuple[int, str]:
        """The dot leaves, and nothing has been awaited before."""
        peers, weather = self._peers, self._peers.weather
        reply: asyncio.Future[tuple[int, str]] = peers.loop.create_future()
        if not self._process.alive:
            await reply
        key = (self._incarnation, email_id, version)
        travel = weather.rng.uniform(0.0, 0.02)
        if recipient != LATER and weather.strikes("cut unheard"):
            peers.later(travel, self._lose, reply, key)
        else:
            work = weather.rng.uniform(0.0, weather.rng.choice((0.02, 0.5, 5.0)))
            peers.later(travel + work, self._take, recipient, email_id, reply, key)
            peers.later(self._timing.smtp_dot, self._lose, reply, key)
        return await reply

    def _take(
        self, recipient: str, email_id: str, reply: asyncio.Future[tuple[int, str]], key: tuple[str, str, int]
    ) -> None:
        """The relay has all of the message: from here on it is the relay's to send."""
        peers, weather, client = self._peers, self._peers.weather, self._client
        peers.dots.append(Dot(email_id, client, milliseconds(peers.loop.time())))
        travel = weather.rng.uniform(0.0, 0.02)
        if recipient == LATER:
            peers.refused.add(email_id)
            peers.later(travel, _answer, reply, 554, "5.7.1 not for him")
            return
        if weather.strikes("deferred after"):
            peers.later(travel, _answer, reply, 451, "4.3.0 local error")
            return
        peers.chronicle.write("taken", client, email_id)
        peers.accepted.append(Accepted(email_id, email_id, client, "", recipient, ""))
        if weather.strikes("cut after"):
            peers.later(travel, self._lose, reply, key)
        elif not weather.strikes("hang after"):
            peers.later(travel, _answer, reply, 250, f"2.0.0 Ok: queued as {len(peers.accepted)}")

    def _lose(self, reply: asyncio.Future[tuple[int, str]], key: tuple[str, str, int]) -> None:
        if not reply.done():
            self._peers.lost.add(key)
            reply.set_exception(RelayLost("body", "the connection was lost"))


class SimulatedCallback:
    """The CallbackClient of one process."""

    def __init__(self, peers: Peers, process: Process, timing: Timing) -> None:
        self._peers = peers
        self._process = process
        self._timing = timing

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """See CallbackClient."""
        peers, weather = self._peers, self._peers.weather
        answer: asyncio.Future[Answer] = peers.loop.create_future()
        travel = weather.rng.uniform(0.001, 0.1)
        spell = weather.spell("callback")
        if spell or weather.strikes("callback away"):
            peers.later(10.0 if spell and spell.hangs else travel, _fail, answer, "away")
        elif self._process.alive:
            peers.later(travel, self._hear, headers["webhook-id"], answer)
        return await answer

    async def close(self) -> None:
        """Nothing."""

    def _hear(self, webhook_id: str, answer: asyncio.Future[Answer]) -> None:
        peers, weather = self._peers, self._peers.weather
        said = next((code for code in (503, 404, 409) if weather.strikes(f"callback {code}")), 200)
        email_id, kind, *_ = webhook_id.split(":")
        peers.answers.append(Answered(email_id, kind, webhook_id, said))
        peers.chronicle.write("called", self._process.name, f"{webhook_id} {said}")
        travel = weather.rng.uniform(0.001, 0.1)
        if weather.strikes("callback unheard"):
            peers.later(travel, _fail, answer, "no answer")
        else:
            peers.later(travel, _say, answer, Answer(said))


def _version(before_dot: Callable[[], Awaitable[bool]]) -> int:
    """Under which claim: the marks know, and a relay is not told."""
    return int(before_dot.__self__._key.version)  # type: ignore[attr-defined]  # it is an Attempt's


def _answer(reply: asyncio.Future[tuple[int, str]], code: int, text: str) -> None:
    if not reply.done():
        reply.set_result((code, text))


def _say(answer: asyncio.Future[Answer], said: Answer) -> None:
    if not answer.done():
        answer.set_result(said)


def _fail(answer: asyncio.Future[Answer], why: str) -> None:
    if not answer.done():
        answer.set_exception(CallbackUnavailable("callback", why))
