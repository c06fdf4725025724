"""An SMTP server on a real socket that does what it is told to: refuse, hang, reset, drop or babble at any phase.

It writes down each accepted message before it answers 250, so that a test can hold what the relay has against what
the client believes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

Phase = Literal[
    "connect",
    "greeting",
    "ehlo",
    "starttls",
    "auth",
    "rset",
    "mail",
    "rcpt",
    "data",
    "body",
    "dot",
    "after_dot",
    "quit",
]
"""Where a fault strikes, each in place of the phase's reply.

`connect` is before any TLS; `body` when 64 KB of a message have come, `dot` when all of it came and nothing is
written down yet; `after_dot` when it has been accepted and written down.
"""


@dataclass(frozen=True)
class Received:
    """One accepted message: the envelope, MAIL's parameters, and the octets after un-stuffing and as they came."""

    sender: str
    recipient: str
    content: bytes
    parameters: str
    session: int
    octets: bytes

    @property
    def envelope(self) -> tuple[str, str]:
        return self.sender, self.recipient


@dataclass
class Fault:
    """What happens at a phase instead of its usual reply.

    Arguments:
        kind: `answer` sends `reply` (raw, the line end is added), `say` sends it beside the usual one,
            `hang` waits for the client to go, `reset` sends RST, `close` FIN.
        times: how often; None = always.
        closes: after an answer, the connection is closed.
    """

    kind: Literal["answer", "say", "hang", "reset", "close"]
    reply: bytes = b""
    times: int | None = None
    closes: bool = False


class _Ended(Exception):
    """The session is over."""


@dataclass
class SmtpPeer:
    """The server. `async with SmtpPeer() as peer:` starts and stops it.

    Arguments:
        tls: certificate for STARTTLS, or for the socket itself when `implicit`.
        users: who may log in; None = AUTH is not offered. `mechanisms` are offered.
        size: what SIZE advertises; None = not offered.
        manner: how replies leave: each at once, those to a group of commands in one segment, or octet by octet.
        stubborn: says 354 to DATA though no recipient was taken; what comes then is `unwanted`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    users: dict[str, str] | None = None
    mechanisms: str = "PLAIN LOGIN"
    size: int | None = 50_000_000
    extensions: tuple[str, ...] = ("8BITMIME", "SMTPUTF8")
    manner: Literal["each", "together", "octets"] = "each"
    stubborn: bool = False
    unwanted: bytearray = field(default_factory=bytearray)
    accepted: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    sessions: int = 0
    logins: int = 0
    faults: dict[Phase, Fault] = field(default_factory=dict)
    _reached: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    _accepted: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> SmtpPeer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port again."""
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self.tls if self.implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        for listening in self._server.sockets:
            # Else the system lets a buffer grow to tens of megabytes, and what is not read is taken all the same.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)

    async def stop(self) -> None:
        """Stop listening and cut every session."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer(self, phase: Phase, reply: str | bytes, *, times: int | None = None, closes: bool = False) -> None:
        """Answer with this instead, e.g. `450 4.2.0 later`."""
        raw = reply if isinstance(reply, bytes) else reply.encode()
        self.faults[phase] = Fault("answer", raw, times, closes)

    def say(self, phase: Phase, line: str, *, times: int | None = None) -> None:
        """Say this too, in the same packet, behind the usual reply."""
        self.faults[phase] = Fault("say", line.encode(), times)

    def hang(self, phase: Phase, *, times: int | None = None) -> None:
        """Say nothing until the client goes."""
        self.faults[phase] = Fault("hang", times=times)

    def reset(self, phase: Phase, *, times: int | None = None) -> None:
        """Cut the connection with RST."""
        self.faults[phase] = Fault("reset", times=times)

    def drop(self, phase: Phase, *, times: int | None = None) -> None:
        """Close the connection with FIN."""
        self.faults[phase] = Fault("close", times=times)

    def behave(self) -> None:
        """No faults any more."""
        self.faults.clear()

    async def reached(self, phase: str) -> None:
        """Wait until some session has come to this phase."""
        await self._reached[phase].wait()

    async def delivered(self, messages: int) -> None:
        """Wait until that many messages have been accepted."""
        while len(self.accepted) < messages:
            self._accepted.clear()
            await self._accepted.wait()

    async def deserted(self) -> None:
        """Wait until every client has gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        session = _Session(self, reader, writer, self.sessions)
        try:
            await session.run()
        except (_Ended, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            pass
        except asyncio.CancelledError:
            pass  # the peer is stopping; an asyncio server would report a cancelled handler as an error
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def take(self, phase: Phase) -> Fault | None:
        self._reached[phase].set()
        fault = self.faults.get(phase)
        if fault is None or fault.times == 0:
            return None
        if fault.times is not None:
            fault.times -= 1
        return fault


class _Session:
    def __init__(self, peer: SmtpPeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer
        self.number = number
        self.secure = peer.implicit
        self.sender: str | None = None
        self.recipient: str | None = None
        self.parameters = ""
        self.octets = b""
        self.held = b""

    async def run(self) -> None:
        await self.reply("connect", b"")
        await self.reply("greeting", b"220 peer.test ESMTP")
        while True:
            line = await self.reader.readuntil(b"\r\n")
            command = line[:-2].decode()
            self.peer.commands.append(command)
            verb = command.split(" ")[0].split(":")[0].upper()
            handler = getattr(self, f"do_{verb.lower()}", None)
            if handler is None:
                await self.send(b"500 5.5.2 what?")
            else:
                await handler(command)

    async def reply(self, phase: Phase, usual: bytes) -> bool:
        """Give the usual reply, or strike; whether the usual one was given."""
        fault = self.peer.take(phase)
        more = phase in ("rset", "mail", "rcpt")
        if fault is None:
            await self.send(usual, more=more)
            return True
        match fault.kind:
            case "answer":
                await self.send(fault.reply, more=more and not fault.closes)
                if fault.closes:
                    raise _Ended
                return False
            case "say":
                await self.send(usual + b"\r\n" + fault.reply, more=more)
                return True
            case "hang":
                if phase == "body":  # not even read, so that the client's writes come to a halt
                    await asyncio.Event().wait()
                while await self.reader.read(65536):
                    pass
            case "reset":
                raw = self.writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Ended

    async def send(self, reply: bytes, *, more: bool = False) -> None:
        """Say it; with `more` to follow, a peer that answers `together` keeps it until then."""
        if not reply:
            return
        self.held += reply + b"\r\n"
        if more and self.peer.manner == "together":
            return
        said, self.held = self.held, b""
        size = 1 if self.peer.manner == "octets" else len(said)
        for start in range(0, len(said), size):
            self.writer.write(said[start : start + size])
            await self.writer.drain()
            if size < len(said):
                await asyncio.sleep(0)  # lets the client read what there is

    async def do_ehlo(self, _: str) -> None:
        offers = ["peer.test", *self.peer.extensions]
        if self.peer.size is not None:
            offers.append(f"SIZE {self.peer.size}")
        if self.peer.tls is not None and not self.secure:
            offers.append("STARTTLS")
        if self.peer.users is not None:
            offers.append(f"AUTH {self.peer.mechanisms}")
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        await self.reply("ehlo", "\r\n".join(lines).encode())

    async def do_starttls(self, _: str) -> None:
        if self.peer.tls is None:
            await self.send(b"502 5.5.1 no TLS here")
        elif await self.reply("starttls", b"220 2.0.0 go ahead"):
            await self.writer.start_tls(self.peer.tls)
            self.secure = True

    async def do_auth(self, command: str) -> None:
        _, mechanism, *initial = command.split(" ")
        if mechanism == "PLAIN":
            _, user, password = base64.b64decode(initial[0]).decode().split("\0")
        else:
            user, password = [await self.ask(b"334 VXNlcm5hbWU6"), await self.ask(b"334 UGFzc3dvcmQ6")]
        if (self.peer.users or {}).get(user) != password:
            await self.reply("auth", b"535 5.7.8 bad credentials for " + user.encode())
        elif await self.reply("auth", b"235 2.7.0 welcome"):
            self.peer.logins += 1

    async def ask(self, prompt: bytes) -> str:
        await self.send(prompt)
        answer = await self.reader.readuntil(b"\r\n")
        return base64.b64decode(answer).decode()

    async def do_rset(self, _: str) -> None:
        self.sender = self.recipient = None
        await self.reply("rset", b"250 2.0.0 ok")

    async def do_mail(self, command: str) -> None:
        if self.sender is not None:
            await self.send(b"503 5.5.1 nested MAIL", more=True)
        elif await self.reply("mail", b"250 2.1.0 ok"):
            path, _, self.parameters = command.partition(":")[2].partition("> ")
            self.sender = path.strip("<>")

    async def do_rcpt(self, command: str) -> None:
        if self.sender is None:
            await self.send(b"503 5.5.1 MAIL first", more=True)
        elif await self.reply("rcpt", b"250 2.1.5 ok"):
            self.recipient = command.partition(":")[2].strip("<>")

    async def do_data(self, _: str) -> None:
        if self.recipient is None and self.peer.stubborn:
            await self.reply("data", b"354 go on, nobody listens")
            while octets := await self.reader.read(65536):
                self.peer.unwanted += octets
            raise _Ended
        if self.recipient is None:
            await self.send(b"503 5.5.1 RCPT first")
        elif await self.reply("data", b"354 go"):
            content = await self.read_message()
            if "dot" in self.peer.faults and not await self.reply("dot", b""):
                self.sender = self.recipient = None
                return
            await self.accept(content)

    async def read_message(self) -> bytes:
        """The message as it came, un-stuffed (RFC 5321 section 4.5.2); `body` strikes when 64 KB have come."""
        if "body" in self.peer.faults:
            await self.reader.readexactly(65536)
            await self.reply("body", b"")
        lines = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line)
        self.octets = b"".join([*lines, line])
        return b"".join(line.removeprefix(b".") for line in lines)

    async def accept(self, content: bytes) -> None:
        sender, recipient = self.sender or "", self.recipient or ""
        received = Received(sender, recipient, content, self.parameters, self.number, self.octets)
        self.peer.accepted.append(received)
        self.peer._accepted.set()
        self.sender = self.recipient = None
        await self.reply("after_dot", f"250 2.0.0 Ok: queued as {len(self.peer.accepted)}".encode())

    async def do_quit(self, _: str) -> None:
        await self.reply("quit", b"221 2.0.0 bye")
        with contextlib.suppress(ConnectionError):
            self.writer.close()
        raise _Ended
