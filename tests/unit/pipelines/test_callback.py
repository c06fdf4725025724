"""What a producer's answer means for a mail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from mailculator import lifecycle
from mailculator.errors import CallbackUnavailable
from mailculator.events import CallbackAttempted
from mailculator.lifecycle import Acknowledged, Outcome, Park, Retry, Stage, Wait
from mailculator.model import Email, Status
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.callback import Callback
from mailculator.timing import Timing
from mailculator.transport.base import Answer
from mailculator.transport.callback_format import CallbackFormat
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.memory_store import email

TIMING = Timing()
REACHED = datetime(2026, 11, 20, 8, 0, 0, 999999, tzinfo=UTC)


class Peer:
    """Answers what it is told to, the last answer again and again."""

    def __init__(self, *answers: Answer | int | CallbackUnavailable) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[bytes, Mapping[str, str]]] = []

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.calls.append((body, headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, CallbackUnavailable):
            raise answer
        return Answer(answer) if isinstance(answer, int) else answer

    async def close(self) -> None:
        return None


class Bench:
    def __init__(self, peer: Peer, stage: Stage = lifecycle.SENT_CALLBACK) -> None:
        self.clock, self.seen, self.peer = FakeClock(), Recording(), peer
        self.breaker = Breaker("callback", observer=self.seen, clock=self.clock, probe_every=5, probe_hold=60)
        self.pipeline = Callback(
            stage,
            TIMING,
            client=peer,
            wording=CallbackFormat({"X-MTRAX-SOURCE": "MULTIDIALOGO"}, "Consegnato", wall_clock=lambda: 1_000),
            breaker=self.breaker,
            clock=self.clock,
            rng=random.Random(3),
            observer=self.seen,
            concurrency=4,
        )


def sent(**changes: object) -> Email:
    return email("id-1", Status.CALLING_SENT_CALLBACK, **{"attempts": 1, "reached_at": REACHED, **changes})


async def test_sent_mail_is_told_and_acknowledged_by_any_2xx() -> None:
    for status in (200, 201, 202, 204):
        bench = Bench(Peer(status))
        assert await bench.pipeline.handle(sent()) == Acknowledged(str(status))
    [(body, headers)] = bench.peer.calls
    assert body == (
        b'{"code":"TRAVELING","reached_at":"2026-11-20T08:00:00Z","message_ids":["id-1"],"reason":"Consegnato"}'
    )
    assert headers["webhook-id"] == "id-1:sent"


async def test_failed_mail_is_told_with_its_own_reason_and_generation() -> None:
    bench = Bench(Peer(200), lifecycle.FAILED_CALLBACK)
    held = email(
        "id-1", Status.CALLING_FAILED_CALLBACK, attempts=1, reached_at=REACHED, reason="550 no such user", generation=2
    )
    assert isinstance(await bench.pipeline.handle(held), Acknowledged)
    [(body, headers)] = bench.peer.calls
    assert b'"code":"DISPATCH-ERROR"' in body
    assert b'"reason":"550 no such user"' in body
    assert headers["webhook-id"] == "id-1:failed:2"


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410, 429, 500, 503])
async def test_g9_no_other_answer_is_ever_acknowledged(status: int) -> None:
    bench = Bench(Peer(Answer(status, None, "why")))
    outcome = await bench.pipeline.handle(sent())
    assert isinstance(outcome, Retry)
    assert outcome.reason == f"{status} why"
    assert 0 < outcome.delay <= TIMING.callback_backoff.base


async def test_g9_a_network_error_is_retried_and_delays_grow_with_the_tries() -> None:
    bench = Bench(Peer(CallbackUnavailable("callback", "refused")))
    outcome = await bench.pipeline.handle(sent(attempts=4))
    assert isinstance(outcome, Retry)
    assert outcome.delay > TIMING.callback_backoff.base * 8 * TIMING.callback_backoff.floor


async def test_retry_after_is_honoured_within_reason() -> None:
    for asked, least, most in ((600.0, 600.0, 600.0), (1e9, TIMING.callback_backoff.cap, TIMING.callback_backoff.cap)):
        outcome = await Bench(Peer(Answer(429, asked))).pipeline.handle(sent())
        assert isinstance(outcome, Retry)
        assert least <= outcome.delay <= most


async def test_not_ready_is_asked_three_times_within_the_claim() -> None:
    bench = Bench(Peer(409, 409, 200))
    work: asyncio.Task[Outcome] = asyncio.create_task(bench.pipeline.handle(sent()))
    for _ in range(2):
        await bench.clock.until_waited_for(5.0)
        await bench.clock.advance(5.0)
    assert await work == Acknowledged("200")
    assert len({headers["webhook-id"] for _, headers in bench.peer.calls}) == 1
    results = [event.result for event in bench.seen.of(CallbackAttempted)]
    assert results == ["not_ready", "not_ready", "acknowledged"]


async def test_not_ready_three_times_is_a_failure_as_any_other() -> None:
    bench = Bench(Peer(409))
    work: asyncio.Task[Outcome] = asyncio.create_task(bench.pipeline.handle(sent()))
    for _ in range(2):
        await bench.clock.until_waited_for(5.0)
        await bench.clock.advance(5.0)
    assert isinstance(await work, Retry)
    assert len(bench.peer.calls) == 3


async def test_a_callback_that_is_never_accepted_is_parked_not_acknowledged() -> None:
    bench = Bench(Peer(500))
    outcome = await bench.pipeline.handle(sent(failing_for=TIMING.callback_give_up))
    assert isinstance(outcome, Park)
    assert isinstance(await bench.pipeline.handle(sent(failing_for=TIMING.callback_give_up - 1)), Retry)


async def test_while_the_breaker_is_open_what_fails_waits_and_is_due_soon() -> None:
    bench = Bench(Peer(500))
    for _ in range(5):
        bench.breaker.failed("500")
    probe = asyncio.create_task(bench.pipeline.handle(sent()))
    await bench.clock.until_waited_for(5.0)
    outcome = await bench.pipeline.handle(sent(attempts=9))
    assert isinstance(outcome, Wait)
    assert outcome.delay <= TIMING.wait
    bench.peer.answers = [200]
    await bench.clock.advance(5.0)
    assert isinstance(await probe, Acknowledged)
    assert not bench.breaker.is_open
