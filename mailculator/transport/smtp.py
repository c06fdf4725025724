"""The SMTP relay: a pool of sessions over every address its name resolves to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mailculator.errors import LeaseLapsed, RelayDeferred, RelayRefused, RelayUnavailable
from mailculator.timing import Timing
from mailculator.transport.base import Envelope, StreamedMessage
from mailculator.transport.outgoing import check_envelope, prepare
from mailculator.transport.relay_settings import RelaySettings, tls_context
from mailculator.transport.replies import describe, one_line
from mailculator.transport.smtp_judgement import settle
from mailculator.transport.smtp_session import Session
from mailculator.transport.smtp_wire import Trace
from mailculator.transport.streamed import Leaving, Streamed

MAILS_PER_CONNECTION = 50
"""Relays commonly end a session after 100 mails; ours ends before it."""

Address = tuple[str, int]
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Host and port to the addresses to try. Errors: OSError."""


async def resolve(host: str, port: int) -> list[Address]:
    """Every address of a host, in the resolver's order. Errors: OSError (socket.gaierror)."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(sockaddr[0]), port) for *_, sockaddr in found))


class SmtpRelay:
    """A Relay over SMTP. At most `settings.connections` are open; a session serves one task at a time.

    Arguments:
        clock: monotonic seconds; decides a connection's age.
        resolve: for tests.
        reread: the password as its file has it now, None where it has no file. Asked after the relay refused the old
            one, in a thread. Errors: OSError, ValueError.
        trace: told of every line of every conversation, secrets masked, messages left out.
    """

    def __init__(
        self,
        settings: RelaySettings,
        timing: Timing,
        *,
        clock: Callable[[], float] = time.monotonic,
        resolve: Resolve = resolve,
        trace: Trace | None = None,
        reread: Callable[[], str | None] | None = None,
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._timing = timing
        self._clock = clock
        self._resolve = resolve
        self._trace = trace
        self._slots = asyncio.Semaphore(settings.connections)
        self._idle: list[tuple[Session, float]] = []  # and when it has been idle for too long; the newest last
        self._sweep: asyncio.TimerHandle | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None
        self._loading = asyncio.Lock()
        self._turn = 0
        self._failed_at: dict[Address, float] = {}
        self._closed = False

    async def send(
        self,
        envelope: Envelope,
        message: bytes | StreamedMessage,
        *,
        before_data: Callable[[], bool],
        before_dot: Callable[[], Awaitable[bool]],
        after_reply: Callable[[int, str], Awaitable[None]],
    ) -> str:
        """As Relay.send."""
        check_envelope(envelope)
        outgoing = await prepare(message) if isinstance(message, bytes) else Streamed(message)
        async with self._slots:
            session = await self._begin(envelope, outgoing, before_data)
            try:
                reply = await session.hand_over(outgoing, before_dot)
            except BaseException as error:
                self._end_step(session, error)
                raise
            self._give_back(session)
            # Between the reply and this the session was kept or dropped, and nothing was awaited.
            text = one_line(reply.words)
            await after_reply(reply.code, text)
            return settle(reply, text)

    async def ping(self) -> None:
        """Open a session, TLS and AUTH included, and say goodbye. Errors: RelayUnavailable.

        Somebody waits in front of a screen: it may take no longer than two connections, whatever the relay may take
        for mail.
        """
        try:
            async with asyncio.timeout(2 * self._timing.smtp_connect):
                session = await self._open()
        except TimeoutError as cause:
            raise RelayUnavailable("greeting", f"{self._settings.host}: {describe(cause)}") from cause
        await session.quit()

    async def reread_password(self) -> None:
        """Take the password anew from where it came, if that can be read: new sessions log in with it."""
        try:
            password = None if self._reread is None else await asyncio.to_thread(self._reread)
        except (OSError, ValueError):
            return  # half written, or gone for now: the one we have may be right again by the next try
        if password is not None:
            self._settings = replace(self._settings, password=password)

    async def close(self) -> None:
        """As Relay.close; a session still in use is closed as soon as it is given back."""
        self._closed = True
        for session, _ in self._idle:
            self._dismiss(session)
        self._idle.clear()
        if self._sweep is not None:
            self._sweep.cancel()
        while self._goodbyes:
            await asyncio.wait(self._goodbyes)

    async def _begin(self, envelope: Envelope, message: Leaving, before_data: Callable[[], bool]) -> Session:
        """A session whose relay waits for the message: a used one; a new one, also where the used one is gone."""
        session = self._take_idle()
        if session is not None:
            try:
                await self._offer(session, envelope, message, before_data)
                return session
            except RelayUnavailable:
                if not session.gone:
                    raise
        session = await self._open()
        await self._offer(session, envelope, message, before_data)
        return session

    async def _offer(
        self, session: Session, envelope: Envelope, message: Leaving, before_data: Callable[[], bool]
    ) -> None:
        try:
            await session.offer(envelope, message, before_data)
        except BaseException as error:
            self._end_step(session, error)
            raise

    def _take_idle(self) -> Session | None:
        while self._idle:
            session, _ = self._idle.pop()
            if self._reusable(session):
                return session
            self._dismiss(session)
        return None

    def _reusable(self, session: Session) -> bool:
        young = self._clock() - session.opened_at < self._timing.smtp_age
        return session.alive and young and session.used < MAILS_PER_CONNECTION

    def _end_step(self, session: Session, error: BaseException) -> None:
        """Decides what becomes of a session after a step that failed.

        A refusal of the mail, or of ours to send it, leaves the session in order where it did not end it itself (RSET
        clears the envelope). Anything else, cancellation above all, leaves a reply on its way that would answer the
        next mail's command.
        """
        if isinstance(error, (RelayDeferred, RelayRefused, LeaseLapsed)):
            self._give_back(session)
        else:
            session.abort()

    def _give_back(self, session: Session) -> None:
        """Keep a session for the next mail, or say goodbye to it."""
        if self._closed or not self._reusable(session):
            self._dismiss(session)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timing.smtp_idle
        self._idle.append((session, until))
        if self._sweep is None:
            self._sweep = loop.call_at(until, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Dismiss who has been idle for too long; those that came back last, and are taken first, have not been."""
        self._sweep = None
        while self._idle and self._idle[0][1] <= loop.time():
            session, _ = self._idle.pop(0)
            self._dismiss(session)
        if self._idle:
            self._sweep = loop.call_at(self._idle[0][1], self._expire, loop)

    def _dismiss(self, session: Session) -> None:
        if not session.alive:
            session.abort()
            return
        # The set holds the task: the loop itself keeps only a weak reference.
        goodbye = asyncio.get_running_loop().create_task(session.quit(), name="smtp-quit")
        self._goodbyes.add(goodbye)
        goodbye.add_done_callback(self._goodbyes.discard)

    async def _open(self) -> Session:
        """Try every address in turn. Errors: RelayUnavailable, which names each and carries the last one's phase."""
        if self._closed:
            raise RelayUnavailable("connect", "the relay was closed")
        context = await self._tls_context()
        failures: list[tuple[Address, RelayUnavailable]] = []
        for address in self._in_order(await self._addresses()):
            try:
                session = await Session.open(
                    self._settings, self._timing, address, context, clock=self._clock, trace=self._trace
                )
            except RelayUnavailable as error:
                self._failed_at[address] = self._clock()
                failures.append((address, error))
                if error.phase == "auth" and (error.code or 0) >= 500:
                    await self.reread_password()
                    break  # the same password at every address would only lock the account
            else:
                self._failed_at.pop(address, None)
                return session
        raise _unavailable(failures)

    async def _addresses(self) -> Sequence[Address]:
        try:
            async with asyncio.timeout(self._timing.smtp_connect):
                found = await self._resolve(self._settings.host, self._settings.port)
        except OSError as cause:
            raise RelayUnavailable("connect", f"{self._settings.host}: {describe(cause)}") from cause
        if not found:
            raise RelayUnavailable("connect", f"{self._settings.host} has no address")
        return found

    def _in_order(self, addresses: Sequence[Address]) -> list[Address]:
        """A different one first each time; those that failed within a connection's age last."""
        start = self._turn % len(addresses)
        self._turn += 1
        horizon = self._clock() - self._timing.smtp_age
        self._failed_at = {at: when for at, when in self._failed_at.items() if when > horizon and at in addresses}
        return sorted([*addresses[start:], *addresses[:start]], key=lambda at: self._failed_at.get(at, float("-inf")))

    async def _tls_context(self) -> ssl.SSLContext | None:
        if self._settings.tls == "none":
            return None
        async with self._loading:  # reading the system's authorities takes 100 ms of CPU: once is enough
            if self._context is None:
                try:
                    self._context = await asyncio.to_thread(tls_context, self._settings)
                except OSError as cause:
                    raise RelayUnavailable("tls", f"CA file {self._settings.ca_file}: {describe(cause)}") from cause
            return self._context


def _unavailable(failures: Sequence[tuple[Address, RelayUnavailable]]) -> RelayUnavailable:
    _, last = failures[-1]
    if len(failures) == 1:
        (host, _), _ = failures[0]
        detail = f"{host}: {last.detail}"
    else:
        detail = "; ".join(f"{host}: {error}" for (host, _), error in failures)
    error = RelayUnavailable(last.phase, one_line(detail), last.code)
    error.__cause__ = last
    return error
