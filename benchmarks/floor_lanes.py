"""Raw connections of the floor: to the relay and to the callback URL. Nothing in them belongs to a single email."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator


class Lane(asyncio.Protocol):
    """One connection to a peer: a question, its answer, the next question."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        os._exit(70)

    def data_received(self, data: bytes) -> None:
        self._said += data
        if self.answered(self._said):
            self._said = b""

    def greet(self) -> None:
        self._lanes.free(self)

    def ask(self, job: bytes) -> None:
        self._transport.write(job)

    def answered(self, said: bytes) -> bool:
        """Whether that was all of an answer; what is not the answer hoped for ends the process."""
        raise NotImplementedError


class SmtpLane(Lane):
    """A job is MAIL, RCPT and DATA, which leave in one write (RFC 2920), a NUL, and the message with its final dot."""

    _message = b""
    _phase = "greeting"

    def greet(self) -> None:
        """The relay speaks first."""

    def ask(self, job: bytes) -> None:
        commands, _, self._message = job.partition(b"\0")
        self._phase = "offer"
        self._transport.write(commands)

    def answered(self, said: bytes) -> bool:
        if not said.endswith(b"\r\n"):
            return False
        match self._phase:
            case "greeting":
                self._phase = "ehlo"
                self._transport.write(b"EHLO floor.example\r\n")
            case "ehlo":
                if b"250 " not in said:
                    return False
                self._lanes.free(self)
            case "offer":
                if said.count(b"\r\n") < 3:
                    return False
                _insist(said.startswith(b"250") and b"\r\n250" in said and b"\r\n354" in said, said)
                self._phase = "message"
                self._transport.write(self._message)
            case _:
                _insist(said.startswith(b"250"), said)
                self._lanes.done(self)
        return True


class HttpLane(Lane):
    """A job is a whole request."""

    def answered(self, said: bytes) -> bool:
        if not said.endswith(b"\r\n\r\n"):
            return False
        _insist(said.startswith(b"HTTP/1.1 200"), said)
        self._lanes.done(self)
        return True


class Lanes:
    """Several connections to one peer, which share out a batch of jobs, each made when a connection is free for it."""

    def __init__(self) -> None:
        self._jobs: Iterator[bytes] = iter(())
        self._idle: list[Lane] = []
        self._left = 0
        self._empty = asyncio.Event()

    async def open(self, kind: type[Lane], host: str, port: int, count: int) -> None:
        for _ in range(count):
            await asyncio.get_running_loop().create_connection(lambda: kind(self), host, port)

    async def run(self, jobs: Iterator[bytes], count: int) -> None:
        self._jobs, self._left = jobs, count
        self._empty.clear()
        idle, self._idle = self._idle, []
        for lane in idle:
            self.free(lane)
        await self._empty.wait()

    def done(self, lane: Lane) -> None:
        self._left -= 1
        self.free(lane)
        if not self._left:
            self._empty.set()

    def free(self, lane: Lane) -> None:
        job = next(self._jobs, None)
        if job is None:
            self._idle.append(lane)
        else:
            lane.ask(job)


def _insist(fact: bool, said: bytes) -> None:
    if not fact:
        print("a peer said", said, flush=True)
        os._exit(70)
