"""One session with the relay: opened, then one mail after another, then QUIT.

RFC 5321 for the commands and replies, RFC 2920 for PIPELINING. The moment that counts is the final dot: before it the
relay has nothing that it could deliver, after it nobody but the relay knows.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from mailculator.errors import LeaseLapsed, RelayDeferred, RelayLost, RelayRefused, RelayUnavailable
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.outgoing import END, PIECE, Outgoing
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.replies import one_line
from mailculator.transport.smtp_extensions import Extensions, mail_parameters
from mailculator.transport.smtp_judgement import Guard, accept, ended_before_mail, leaves_mail_behind, refusal
from mailculator.transport.smtp_opening import open_wire
from mailculator.transport.smtp_replies import Reply, ReplyError
from mailculator.transport.smtp_wire import Trace, Wire
from mailculator.transport.streamed import Leaving, Streamed


class _Step(NamedTuple):
    """One command of a mail: the phase it stands for, its line, and the seconds that its reply may take."""

    phase: str
    line: bytes
    seconds: float


class Session:
    """One connection, used by one task at a time. After any failure it is aborted and never used again.

    Arguments:
        used: mails offered over it.
        opened_at: monotonic seconds.
        gone: the relay had ended the session before it heard of the mail: another connection may do.
    """

    def __init__(self, wire: Wire, extensions: Extensions, timing: Timing, *, opened_at: float) -> None:
        self.used = 0
        self.opened_at = opened_at
        self.gone = False
        self._wire = wire
        self._extensions = extensions
        self._timing = timing
        # RSET may take no longer than a new connection would: this one is given up for one.
        self._reset = _Step("rset", b"RSET", timing.smtp_connect)
        self._data = _Step("data", b"DATA", timing.smtp_data)

    @classmethod
    async def open(
        cls,
        settings: RelaySettings,
        timing: Timing,
        address: tuple[str, int],
        context: ssl.SSLContext | None,
        *,
        clock: Callable[[], float],
        trace: Trace | None = None,
    ) -> Session:
        """Connect to one address and bring the session to where mail can be offered. Errors: RelayUnavailable.

        Arguments:
            context: needed unless tls is `none`.
        """
        opened_at = clock()
        wire, extensions = await open_wire(settings, timing, address, context, trace)
        return cls(wire, extensions, timing, opened_at=opened_at)

    @property
    def alive(self) -> bool:
        """Whether it can be used again."""
        return self._wire.alive

    def abort(self) -> None:
        """Drop the connection at once."""
        self._wire.abort()

    async def quit(self) -> None:
        """Say goodbye and close, within a short time. Never fails: no mail depends on it."""
        try:
            if self.alive:
                await self._wire.exchange(b"QUIT", self._timing.smtp_connect / 10)
        except (OSError, ReplyError):
            pass
        finally:
            self.abort()

    async def offer(self, envelope: Envelope, message: Leaving, before_data: Callable[[], bool]) -> None:
        """MAIL, RCPT and DATA, on a used session RSET before them: all at once where the relay offers PIPELINING.

        Returns when the relay waits for the message. Errors: as Relay.send, RelayLost excepted; `gone` is set where
        RelayUnavailable was this connection's trouble alone.

        Arguments:
            before_data: as Relay.send.
        """
        used, self.used = self.used > 0, self.used + 1
        steps = self._steps(envelope, message, reset=used)
        try:
            if "pipelining" in self._extensions:
                _ask_leave(before_data)
                await self._offer_at_once(steps)
            else:
                await self._offer_in_turn(steps, before_data)
        except RelayUnavailable as error:
            self.gone = ended_before_mail(error)
            raise

    async def hand_over(self, message: Leaving, before_dot: Callable[[], Awaitable[bool]]) -> Reply:
        """The message itself; returns what the relay said to the final dot: 2yz, 4yz or 5yz.

        Errors: as Relay.send; RelayDeferred and RelayRefused only for what the relay said before the dot.
        """
        self._wire.tell("C", f"(message, {message.size + 3} octets with its final dot)")
        if isinstance(message, Outgoing):
            silent = await self._transmit(message.pieces())
        else:
            silent = await self._transmit_as_made(message)
        if silent:
            await self._ask_for_the_dot(before_dot)
        with Guard(self._wire, "body"):
            if not (silent and self._wire.finish(END)):
                await self._take_early_reply()
        # The dot is out: from here on nobody but the relay knows whether it has taken the mail.
        with Guard(self._wire, "body", RelayLost):
            reply = await self._wire.read_reply(self._timing.smtp_dot)
            if reply.code // 100 == 3:
                raise RelayLost("body", one_line(reply.words), reply.code)
        if reply.code == 421:
            self.abort()
        return reply

    async def _transmit(self, pieces: Iterable[bytes]) -> bool:
        """Whether the relay was silent while all of them left."""
        with Guard(self._wire, "body"):
            return await self._wire.transmit(pieces, self._timing.smtp_body)

    async def _transmit_as_made(self, message: Streamed) -> bool:
        """The same for a message that is made meanwhile. Errors: also what making it raises: it is not the relay's."""
        silent = await self._transmit(())  # a message is under way from here on, whatever happens
        while silent:
            try:
                piece = await message.next_piece()
            except BaseException:
                self.abort()  # amid a message no session is in order
                raise
            if piece is None:
                return await self._transmit(())  # it may have said something while the end was looked for
            silent = await self._transmit(piece[at : at + PIECE] for at in range(0, len(piece), PIECE))
        return False

    def _steps(self, envelope: Envelope, message: Leaving, *, reset: bool) -> list[_Step]:
        mail = f"MAIL FROM:<{envelope.sender}>{mail_parameters(self._extensions, envelope, message)}"
        steps = [
            _Step("mail", mail.encode(), self._timing.smtp_command),
            _Step("rcpt", f"RCPT TO:<{envelope.recipient}>".encode(), self._timing.smtp_command),
            self._data,
        ]
        return [self._reset, *steps] if reset else steps

    async def _offer_in_turn(self, steps: Sequence[_Step], before_data: Callable[[], bool]) -> None:
        for step in steps:
            if step.phase == "data":
                _ask_leave(before_data)
            with Guard(self._wire, step.phase):
                accept(step.phase, await self._wire.exchange(step.line, step.seconds))

    async def _offer_at_once(self, steps: Sequence[_Step]) -> None:
        """One group (RFC 2920 section 3.1), which DATA ends; each reply is judged by the command it answers."""
        answered = 0
        try:
            with Guard(self._wire, steps[0].phase) as guard:
                self._wire.send(*[step.line for step in steps])
                for step in steps:
                    guard.phase = step.phase
                    reply = await self._wire.read_reply(step.seconds)
                    answered += 1
                    accept(step.phase, reply)
        except (RelayDeferred, RelayRefused):
            if answered < len(steps):
                await self._take_rest(len(steps) - answered)
            raise

    async def _take_rest(self, replies: int) -> None:
        """What is still to come of a group in which the mail was refused; it changes nothing for the mail.

        A relay that refuses DATA as well has left the mail behind. One that says 354 all the same waits for a message:
        whatever it were sent then, an empty message too, it might deliver. So that session is ended. The replies may
        take no longer than the new connection that would be needed without them.
        """
        try:
            for _ in range(replies):
                last = await self._wire.read_reply(self._timing.smtp_connect)
        except (OSError, ReplyError):
            self.abort()
        except BaseException:
            self.abort()
            raise
        else:
            if not leaves_mail_behind(last.code):
                self.abort()

    async def _ask_for_the_dot(self, before_dot: Callable[[], Awaitable[bool]]) -> None:
        """Errors: LeaseLapsed; and what before_dot raises, as it is: it is not the relay's."""
        go = False
        try:
            go = await before_dot()
        finally:
            if not go:
                self.abort()  # amid a message no session is in order
        if not go:
            raise LeaseLapsed("the claim was about to run out before the final dot")

    async def _take_early_reply(self) -> None:
        """What the relay said while the message was under way; it has not got the dot, and never will."""
        reply = await self._wire.read_reply(self._timing.smtp_body)
        if reply.code // 100 not in (4, 5):
            raise ReplyError(f"said out of turn: {reply.code} {reply.words}")
        self.abort()  # it might take whatever comes next for more of the message
        raise refusal("body", reply)


def _ask_leave(before_data: Callable[[], bool]) -> None:
    if not before_data():
        raise LeaseLapsed("the claim was about to run out before DATA")
