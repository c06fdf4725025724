"""An SMTP sink and a callback receiver for thousands of mails: they write each one down before they say yes.

The sink takes what a relay takes and forgets the content but for its hash. It can be slow at a phase, and refuse.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.support.callback_peer import CallbackPeer

_MESSAGE_ID = re.compile(rb"^Message-ID: <([^@>\r\n]+)@[^>\r\n]+>\r\n", re.MULTILINE)
_MAILCULATOR_ID = re.compile(rb"^X-Mailculator-Id: ([^\r\n]+)\r\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Accepted:
    """One mail that the sink said 250 to.

    Arguments:
        email_id: left side of its Message-ID.
        header_id: its X-Mailculator-Id; None = it has none.
        client: the name its client gave in EHLO.
        sha256: of the octets, dot-stuffing undone.
    """

    email_id: str
    header_id: str | None
    client: str
    sender: str
    recipient: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Step:
    """A command whose reply is about to be sent.

    Arguments:
        phase: ehlo, mail, rcpt, data or dot.
        mail: the number of this client name's mail, from 1; 0 before the first.
    """

    phase: str
    client: str
    mail: int
    recipient: str = ""


@dataclass
class CountingSink:
    """The relay. `async with CountingSink() as sink:` starts and stops it.

    Arguments:
        delay: seconds before the reply to a step.
        refuse: the reply to a step in place of yes; None = yes.
    """

    delay: Callable[[Step], float] = lambda _: 0.0
    refuse: Callable[[Step], str | None] = lambda _: None
    pipelining: bool = True
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Step] = field(default_factory=list)
    sessions: int = 0
    port: int = 0
    mails: dict[str, int] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _talks: set[_Talk] = field(default_factory=set)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Talk(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for talk in list(self._talks):
            talk.end()
        await self._server.wait_closed()

    async def received(self, count: int) -> None:
        """Until that many mails have been accepted."""
        while len(self.accepted) < count:
            self._came.clear()
            await self._came.wait()

    def write_down(self, mail: Accepted) -> None:
        self.accepted.append(mail)
        self._came.set()


class _Talk(asyncio.Protocol):
    """One session. Commands that arrive together are answered together, so PIPELINING costs no more."""

    def __init__(self, sink: CountingSink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._replies: list[bytes] = []
        self._in_data = False
        self._waiting: asyncio.TimerHandle | None = None
        self._client = self._sender = self._recipient = ""
        self._mail = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sink.sessions += 1
        self._sink._talks.add(self)
        self._reply("220 counting.test")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink._talks.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def end(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def _work(self) -> None:
        while self._waiting is None and (self._take_message() if self._in_data else self._take_command()):
            pass
        self._flush()

    def _take_command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        command = self._buffer[:end].decode()
        del self._buffer[: end + 2]
        verb, _, rest = command.partition(" ")
        match verb.upper():
            case "EHLO" | "HELO":
                self._client = rest
                offers = "250-PIPELINING\r\n" if self._sink.pipelining else ""
                self._answer("ehlo", f"250-counting.test\r\n{offers}250-SIZE 50000000\r\n250 8BITMIME")
            case "MAIL":
                self._sender, self._recipient = _path(rest), ""
                self._mail = self._sink.mails[self._client] = self._sink.mails.get(self._client, 0) + 1
                self._answer("mail", "250 2.1.0 Ok")
            case "RCPT":
                self._answer("rcpt", "250 2.1.5 Ok", recipient=_path(rest))
            case "DATA" if self._recipient:
                self._in_data = self._answer("data", "354 go on")
            case "DATA":
                self._reply("554 5.5.1 no recipient")
            case "RSET" | "NOOP":
                self._recipient = ""
                self._reply("250 2.0.0 Ok")
            case "QUIT":
                self._reply("221 2.0.0 Bye")
                self._flush()
                self._transport.close()
                return False
            case _:
                self._reply("500 5.5.2 what?")
        return True

    def _take_message(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            end = -2
        elif (end := self._buffer.find(b"\r\n.\r\n")) < 0:
            return False
        content = bytes(self._buffer[: end + 2])
        del self._buffer[: end + 5]
        self._in_data = False
        self._finish(content[1:] if content.startswith(b".") else content)
        return True

    def _finish(self, content: bytes) -> None:
        content = content.replace(b"\r\n.", b"\r\n")
        head = content[: content.find(b"\r\n\r\n") + 2]
        found, ours = _MESSAGE_ID.search(head), _MAILCULATOR_ID.search(head)
        mail = Accepted(
            email_id=found[1].decode() if found else "",
            header_id=ours[1].decode() if ours else None,
            client=self._client,
            sender=self._sender,
            recipient=self._recipient,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self._answer("dot", "250 2.0.0 Ok: queued", recipient=self._recipient, then=mail)
        self._recipient = ""

    def _answer(self, phase: str, reply: str, *, recipient: str = "", then: Accepted | None = None) -> bool:
        """Reply, perhaps late; nothing else of this session happens before that. Whether the step was granted."""
        step = Step(phase, self._client, self._mail, recipient)
        refusal = self._sink.refuse(step)
        if refusal is not None:
            self._sink.refused.append(step)
            reply, then = refusal, None
        elif phase == "rcpt":
            self._recipient = recipient
        if seconds := self._sink.delay(step):
            self._flush()
            self._waiting = asyncio.get_running_loop().call_later(seconds, self._late, reply, then)
        else:
            self._settle(reply, then)
        return refusal is None

    def _late(self, reply: str, then: Accepted | None) -> None:
        self._waiting = None
        self._settle(reply, then)
        self._work()

    def _settle(self, reply: str, then: Accepted | None) -> None:
        if then is not None:
            self._sink.write_down(then)
        self._reply(reply)

    def _reply(self, reply: str) -> None:
        self._replies.append(reply.encode() + b"\r\n")

    def _flush(self) -> None:
        if self._replies:
            self._transport.write(b"".join(self._replies))
            self._replies.clear()


def _path(rest: str) -> str:
    """`FROM:<a@b> SIZE=1` to `a@b`."""
    return rest.partition("<")[2].partition(">")[0]


@dataclass(frozen=True, slots=True)
class Answered:
    """One callback, and what it was told.

    Arguments:
        webhook_id: None = the header was not there (an older consumer's callback).
        kind: `sent` or `failed`, from the body's code.
    """

    email_id: str
    kind: str
    webhook_id: str | None
    status: int


@dataclass
class CountingCallback(CallbackPeer):
    """A callback receiver that also keeps what it answered."""

    answers: list[Answered] = field(default_factory=list)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        answer = await super()._answer(request)
        kind = {"TRAVELING": "sent", "DISPATCH-ERROR": "failed"}[body["code"]]
        webhook_id = request.headers.get("webhook-id")
        self.answers += [Answered(one, kind, webhook_id, answer.status) for one in body["message_ids"]]
        return answer
