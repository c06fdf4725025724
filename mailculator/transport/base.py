"""Transports know mail and HTTP, not statuses. Pipelines import only this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from mailculator.values import value


@value
class Envelope:
    """Who a mail is from and to, as the relay is told (RFC 5321 section 2.3.1).

    Arguments:
        sender, recipient: addr-specs, the domain in A-label form.
        smtputf8: a local part needs SMTPUTF8 (RFC 6531).
    """

    sender: str
    recipient: str
    smtputf8: bool = False


class StreamedMessage(Protocol):
    """A message that is made piece by piece while it leaves, since it is too large to be held. It serves one send."""

    @property
    def size(self) -> int:
        """Octets of all pieces together, as SIZE announces them (RFC 1870 section 3): exact, not dot-stuffed."""

    @property
    def eight_bit(self) -> bool:
        """Whether an octet above 127 may occur: BODY=8BITMIME is asked for then (RFC 6152)."""

    async def next_piece(self) -> bytes:
        """The next octets, 1 MB or so at the most; b"" behind the last.

        A piece may end anywhere, amid a line or a CRLF too. It is asked for when all of the one before has left this
        process, never by two tasks at once, and not at all where the relay refuses the mail before the message. What it
        raises, and a cancellation of it, ends the connection before the final dot.
        """


class Relay(Protocol):
    """A way to hand mail to an SMTP relay. Safe to use from many tasks at once."""

    async def send(
        self,
        envelope: Envelope,
        message: bytes | StreamedMessage,
        *,
        before_data: Callable[[], bool],
        before_dot: Callable[[], Awaitable[bool]],
        after_reply: Callable[[int, str], Awaitable[None]],
    ) -> str:
        """Hand one message over; returns the relay's reply on one line (`250 2.0.0 Ok: queued as 4F1A`).

        Arguments:
            message: complete, CRLF line ends, not dot-stuffed, no line over 998 octets. One that is streamed ends in
                CRLF, and has exactly the octets that it announces: where it turns out otherwise the connection is
                dropped before the final dot, and RelayRefused raised. What `next_piece` raises is passed on unchanged.
            before_data: asked right before DATA leaves, or the group of commands that DATA is part of (RFC 2920). When
                it says no, LeaseLapsed is raised. Asked again where a connection turns out to be gone and another is
                taken.
            before_dot: awaited when all of the message but its end (CRLF "." CRLF) has left this process. Its yes is
                followed by that end with nothing awaited in between, unless the relay has spoken or the link has ended
                meanwhile; its no is LeaseLapsed. What it raises ends the connection and is passed on. Before its yes
                the relay has nothing that it could deliver (RFC 5321 section 4.1.1.10); from then until the reply the
                outcome is unknown.
            after_reply: awaited with the code and the text, on one line, of the reply to the final dot, be it 2yz, 4yz
                or 5yz, before anything else is; not where there was none. It changes neither the outcome nor the
                connection: by then the latter has been kept or dropped. What it raises takes the outcome's place, so it
                should raise nothing that its caller cannot tell from one.

        Errors: RelayUnavailable, RelayDeferred, RelayRefused, RelayLost (only after the dot), LeaseLapsed. A cancelled
        or timed-out send closes its connection; a failing QUIT or RSET never changes the outcome.
        """

    async def close(self) -> None:
        """Say QUIT on idle connections, within a short time, and forget them."""


@value
class Answer:
    """What a callback URL said.

    Arguments:
        status: HTTP status.
        retry_after: seconds it asked to be left alone, if it did.
        text: the first characters of its body, on one line.
    """

    status: int
    retry_after: float | None = None
    text: str = ""


class CallbackClient(Protocol):
    """A way to call the producer back. Safe to use from many tasks at once."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST `body` to the configured URL. Errors: CallbackUnavailable (network, TLS, time)."""

    async def close(self) -> None:
        """Close idle connections."""
