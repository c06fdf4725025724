"""The callbacks: what became of a mail is told to its producer, until it says that it has heard."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from mailculator import lifecycle
from mailculator.clock import Clock
from mailculator.errors import CallbackUnavailable
from mailculator.events import CallbackAttempted, Observer
from mailculator.lifecycle import Acknowledged, Outcome, Park, Retry, Stage, Wait
from mailculator.model import Email
from mailculator.pipelines.breaker import Breaker
from mailculator.retry import spread
from mailculator.timing import Timing
from mailculator.transport.base import Answer, CallbackClient

NOT_READY = 409
NOT_READY_TRIES = 3
"""Tries within one claim while the producer says that it is not ready yet."""


class Wording(Protocol):
    """How a result is written for producers."""

    def body(self, *, sent: bool, reached_at: datetime, email_id: str, reason: str | None) -> bytes:
        """The request's body."""

    def headers(self, *, sent: bool, email_id: str, generation: int, body: bytes) -> Mapping[str, str]:
        """The request's headers, signed for now."""


class Callback:
    """The pipelines SENT → SENT-ACKNOWLEDGED and FAILED → FAILED-ACKNOWLEDGED.

    Arguments:
        stage: lifecycle.SENT_CALLBACK or lifecycle.FAILED_CALLBACK.
        breaker: shared by both, and by every store's: there is one URL.
    """

    def __init__(
        self,
        stage: Stage,
        timing: Timing,
        *,
        client: CallbackClient,
        wording: Wording,
        breaker: Breaker,
        clock: Clock,
        rng: random.Random,
        observer: Observer,
        concurrency: int,
    ) -> None:
        self.stage = stage
        self.breakers: tuple[Breaker, ...] = (breaker,)
        self.concurrency = concurrency
        self._sent = stage is lifecycle.SENT_CALLBACK
        self._guard = breaker
        self._timing = timing
        self._client = client
        self._wording = wording
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._never = asyncio.Event()

    async def handle(self, email: Email) -> Outcome:
        """Tell the producer about one email."""
        return await self._guard.guard(lambda: self._attempt(email))

    async def _attempt(self, email: Email) -> Outcome:
        body = self._wording.body(
            sent=self._sent,
            reached_at=email.reached_at or email.created_at,
            email_id=email.id,
            reason=email.reason,
        )
        for left in reversed(range(NOT_READY_TRIES)):
            try:
                answer = await self._post(email, body)
            except CallbackUnavailable as error:
                return self._postpone(email, str(error), None)
            if answer.status != NOT_READY or not left:
                break
            await self._clock.wait(self._never, self._timing.not_ready_pause)
        if 200 <= answer.status < 300:
            self._guard.succeeded()
            return Acknowledged(f"{answer.status}")
        return self._postpone(email, f"{answer.status} {answer.text}", answer.retry_after)

    async def _post(self, email: Email, body: bytes) -> Answer:
        headers = self._wording.headers(sent=self._sent, email_id=email.id, generation=email.generation, body=body)
        started = self._clock.now()
        try:
            answer = await self._client.post(body, headers)
        except CallbackUnavailable:
            self._tell("unavailable", started)
            raise
        if 200 <= answer.status < 300:
            self._tell("acknowledged", started)
        else:
            self._tell("not_ready" if answer.status == NOT_READY else "refused", started)
        return answer

    def _postpone(self, email: Email, reason: str, retry_after: float | None) -> Outcome:
        self._guard.failed(reason)
        if email.failing_for >= self._timing.callback_give_up:
            return Park(f"given up: {reason}")
        if self._guard.is_open:
            # It is the callback that is away, not this email that it refuses: due as soon as claims go on.
            return Wait(reason, spread(self._timing.wait, self._rng))
        delay = self._timing.callback_backoff.delay(email.attempts, self._rng)
        return Retry(reason, max(delay, min(retry_after or 0.0, self._timing.callback_backoff.cap)))

    def _tell(self, result: str, started: float) -> None:
        kind = "sent" if self._sent else "failed"
        self._observer(CallbackAttempted(kind, result, self._clock.now() - started))
