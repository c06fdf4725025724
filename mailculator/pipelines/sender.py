"""The sender: READY mail is composed and handed to the relay."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from mailculator import lifecycle
from mailculator.clock import Clock
from mailculator.config import Settings
from mailculator.errors import (
    LeaseLapsed,
    PayloadError,
    PayloadUnavailable,
    RelayDeferred,
    RelayLost,
    RelayRefused,
    TransportError,
)
from mailculator.events import Observer, SmtpAttempted
from mailculator.journal.base import Marks
from mailculator.journal.marks import Key
from mailculator.lifecycle import Failed, Invalid, Outcome, Park, Release, Retry, Sent, Wait
from mailculator.model import Email
from mailculator.pipelines.attempt import Attempt
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.budget import ByteBudget
from mailculator.pipelines.checked import Checked
from mailculator.pipelines.composing import COPIES, Composer, Outgoing
from mailculator.pipelines.feed import Feed
from mailculator.pipelines.threads import Threads
from mailculator.pipelines.unknown import Policy, decide, remember
from mailculator.retry import spread
from mailculator.throttling import asks_for_less
from mailculator.timing import Timing
from mailculator.transport.base import Relay, StreamedMessage

FROM_RCPT_ON = frozenset({"rcpt", "data", "body"})
"""Phases in which the relay knows which mail it is about."""

ENOUGH = "its recipient's domain has as much mail as MAILCULATOR_SMTP_DOMAIN_RATE allows"
"""Why a mail waits though the relay is there: its last error until it is sent, since that is where people look."""


class Sender:
    """The pipeline READY → SENT or FAILED.

    Arguments:
        store: the name of the store whose mail it sends.
        relay: shared by every store's sender, like `breaker` (the relay's), `rate` and `budget`.
        journal: the journal's breaker; while it cannot be written nothing is sent.
        marks: the journal.
        share: the breaker of the file system that payloads lie on, shared with intake.
        threads: where files are read and messages rendered.
        found_fit: what intake has just read.
        rate: awaited before each try, so that no more leave in a second than the operator and the relay allow.
        turn: awaited before that with the recipient's domain; gives the seconds after which to come again, or 0.
        slowed: told the class of a reply that refuses mail for the rate at which it comes.
        concurrency: emails under way at once.
    """

    stage = lifecycle.SENDER

    def __init__(
        self,
        settings: Settings,
        timing: Timing,
        *,
        store: str,
        relay: Relay,
        breaker: Breaker,
        share: Breaker,
        journal: Breaker,
        marks: Marks,
        threads: Threads,
        found_fit: Checked,
        rate: Callable[[], Awaitable[None]],
        turn: Callable[[str], Awaitable[float]],
        slowed: Callable[[str], None],
        budget: ByteBudget,
        clock: Clock,
        rng: random.Random,
        observer: Observer,
        concurrency: int,
    ) -> None:
        self.breakers: tuple[Breaker, ...] = (breaker, share, journal)
        self.concurrency = concurrency
        self._store = store
        self._guard = breaker
        self._share = share
        self._marks = marks
        self._policy = Policy(settings.outcome_unknown)
        self._threads = threads
        self._found_fit = found_fit
        self._composer = Composer(settings)
        self._timing = timing
        self._relay = relay
        self._rate = rate
        self._turn = turn
        self._slowed = slowed
        self._budget = budget
        self._clock = clock
        self._rng = rng
        self._observer = observer

    async def handle(self, email: Email) -> Outcome:
        """Send one email, or say why not."""
        if email.duplicate_in is not None:
            return Invalid(f"duplicate: in {email.duplicate_in}")
        if (ending := lifecycle.withdrawn(email)) is not None:
            return ending
        if not (email.payload_file_path or email.eml_file_path):
            return Park("row_corrupt: a READY email needs a payload_file_path or an eml_file_path")
        return await self._share.guard(lambda: self._send(email))

    async def _send(self, email: Email) -> Outcome:
        try:
            if email.payload_file_path:
                return await self._from_payload(email, email.payload_file_path)
            return await self._from_file(email, email.eml_file_path or "")
        except PayloadError as error:
            # Intake found it fit, so the files have changed since; or the older consumer prepared what cannot be sent.
            return Failed(str(error))
        except PayloadUnavailable as error:
            return self._postpone(email, error)

    async def _from_payload(self, email: Email, path: str) -> Outcome:
        if (known := self._found_fit.take(email)) is not None:
            mail, size = known
            async with self._budget.hold(COPIES * size):
                return await self._hand_over(email, self._composer.compose(email, mail))
        mail, room, outgoing = await self._threads.run(self._composer.read, email, path)
        async with self._budget.hold(room):
            if outgoing is None:
                outgoing = await self._threads.run(self._composer.compose, email, mail)
            self._share.succeeded()
            return await self._hand_over(email, outgoing)

    async def _from_file(self, email: Email, path: str) -> Outcome:
        room = await self._threads.run(self._composer.measure_prepared, path)
        async with self._budget.hold(room):
            outgoing = await self._threads.run(self._composer.load_prepared, path)
            self._share.succeeded()
            return await self._hand_over(email, outgoing)

    async def _hand_over(self, email: Email, outgoing: Outgoing) -> Outcome:
        if later := await self._turn(outgoing.envelope.recipient.rpartition("@")[2]):
            return Wait(remember(email, ENOUGH), later)

        async def attempt() -> Outcome:
            await self._rate()
            # It may have been in hand for a while: claimed ahead, waiting for memory, or as an open breaker's probe.
            if email.expires_at is not None and self._clock.now() >= email.expires_at:
                return Failed("expired")
            return await self._attempt(email, outgoing)

        return await self._guard.guard(attempt)

    async def _attempt(self, email: Email, outgoing: Outgoing) -> Outcome:
        started = self._clock.now()
        key = Key(self._store, email.id, email.version)
        attempt = Attempt(email, key, self._marks, self._timing.lease_margin)
        try:
            await self._relay.send(
                outgoing.envelope,
                self._content(outgoing),
                before_data=attempt.is_ours,
                before_dot=attempt.may_leave,
                after_reply=attempt.replied,
            )
        except TransportError as error:
            return self._explain(email, error, started)
        except LeaseLapsed:
            if attempt.broken is not None:
                return Wait(remember(email, str(attempt.broken)), spread(self._timing.wait, self._rng))
            return Release("the lease ran out before the message left")
        except asyncio.CancelledError:
            if not attempt.left:
                raise
            return self._interrupted(email, attempt, started)
        return self._sent(attempt, started)

    def _content(self, outgoing: Outgoing) -> bytes | StreamedMessage:
        """For one send: what is streamed is read anew by each."""
        if isinstance(outgoing.content, bytes):
            return outgoing.content
        return Feed(
            outgoing.content,
            self._threads,
            eight_bit=outgoing.envelope.smtputf8,
            patience=self._timing.smtp_body,
        )

    def _sent(self, attempt: Attempt, started: float) -> Outcome:
        self._guard.succeeded()
        self._tell("sent", 250, attempt.answer, started)
        return Sent(attempt.answer)

    def _interrupted(self, email: Email, attempt: Attempt, started: float) -> Outcome:
        """Cancelled when the mail had left; the reply may have come all the same, and been marked."""
        if attempt.reply is not None:
            code, text = attempt.reply
            if code // 100 == 2:
                return self._sent(attempt, started)
            refused = RelayRefused if code // 100 == 5 else RelayDeferred
            return self._explain(email, refused("body", text, code), started)
        self._tell("lost", 0, "no reply", started)
        return self._resend(email, "interrupted while the relay's answer was awaited")

    def _explain(self, email: Email, error: TransportError, started: float) -> Outcome:
        throttled = asks_for_less(error.code, error.detail, phase=error.phase)
        if throttled:
            self._slowed(throttled)
        match error:
            case RelayRefused():
                self._guard.succeeded()
                self._tell("refused", error.code, str(error), started)
                return Failed(str(error))
            case RelayDeferred() if throttled:
                # Not this mail's doing: it waits its turn, and no try of it is used up.
                self._guard.succeeded()
                self._tell("throttled", error.code, str(error), started)
                return Wait(remember(email, str(error)), spread(self._timing.relay_backoff.base, self._rng))
            case RelayDeferred():
                self._guard.succeeded()
                self._tell("deferred", error.code, str(error), started)
                return self._retry(email, str(error))
            case RelayLost():
                self._guard.failed(str(error))
                self._tell("lost", error.code, str(error), started)
                return self._resend(email, str(error))
            case _:
                self._guard.failed(str(error))
                self._tell("unavailable", error.code, str(error), started)
                if error.phase in FROM_RCPT_ON and not self._guard.is_open:
                    # The relay had taken the sender, so this mail may have to do with it: the try counts.
                    return self._retry(email, str(error))
                return Wait(remember(email, str(error)), spread(self._timing.wait, self._rng))

    def _retry(self, email: Email, reason: str) -> Outcome:
        if email.failing_for >= self._timing.relay_give_up:
            return Failed(reason)
        return self._again(email, remember(email, reason))

    def _resend(self, email: Email, reason: str) -> Outcome:
        return decide(self._policy, email, reason, lambda error: self._again(email, error))

    def _again(self, email: Email, error: str) -> Retry:
        return Retry(error, self._timing.relay_backoff.delay(email.attempts, self._rng))

    def _postpone(self, email: Email, error: PayloadUnavailable) -> Outcome:
        if error.shared:
            self._share.failed(error.detail)
            if self._share.is_open:
                return Wait(remember(email, error.detail), spread(self._timing.wait, self._rng))
        if error.missing and not error.shared and email.failing_for >= self._timing.relay_give_up:
            return Failed(error.detail)
        return Retry(remember(email, error.detail), self._timing.payload_backoff.delay(email.attempts, self._rng))

    def _tell(self, result: str, code: int | None, reply: str, started: float) -> None:
        self._observer(SmtpAttempted(result, code or 0, self._clock.now() - started, reply))
