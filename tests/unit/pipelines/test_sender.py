"""What the relay's answer, or the lack of one, means for a mail. Real files, a relay that says what it is told to."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from mailculator.config import Settings
from mailculator.errors import LeaseLapsed, RelayDeferred, RelayLost, RelayRefused, RelayUnavailable
from mailculator.events import BreakerChanged, SmtpAttempted
from mailculator.lifecycle import UNKNOWN, Failed, Invalid, Outcome, Park, Release, Retry, Sent, Unknown, Wait, move
from mailculator.model import Email, Lease, Status
from mailculator.payload import parse
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.budget import ByteBudget
from mailculator.pipelines.checked import MOVES, Checked
from mailculator.pipelines.sender import ENOUGH, Sender
from mailculator.pipelines.threads import Threads
from mailculator.timing import Timing
from mailculator.transport.base import Envelope, StreamedMessage
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.marks import MemoryMarks
from tests.support.memory_store import email

TIMING = Timing()
ID = "550e8400-e29b-41d4-a716-446655440000"
PAYLOAD = {
    "id": ID,
    "from": "sender@example.com",
    "reply_to": "sender@example.com",
    "to": "Anna <anna@example.org>",
    "subject": "Ciao",
    "body_text": "Testo\n",
}


class FakeRelay:
    """Takes what it is told to take; `error` is raised after the dot when `late`, else at once."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.late = False
        self.hang: asyncio.Event | None = None
        self.before_dot: Callable[[], None] = lambda: None
        self.pieces = 0
        self.between_pieces: Callable[[], None] = lambda: None
        self.hanging = asyncio.Semaphore(0)
        self.taken: list[tuple[Envelope, bytes]] = []

    async def send(
        self,
        envelope: Envelope,
        message: bytes | StreamedMessage,
        *,
        before_data: Callable[[], bool],
        before_dot: Callable[[], Awaitable[bool]],
        after_reply: Callable[[int, str], Awaitable[None]],
    ) -> str:
        if self.error is not None and not self.late:
            raise self.error
        if not before_data():
            raise LeaseLapsed
        if self.hang is not None and not self.late:
            await self._hang()
        content = message if isinstance(message, bytes) else await self._whole(message)
        self.before_dot()
        if not await before_dot():
            raise LeaseLapsed
        if self.hang is not None:
            await self._hang()
        if self.error is not None:
            raise self.error
        self.taken.append((envelope, content))
        await after_reply(250, "2.0.0 Ok: queued as 1")
        return "250 2.0.0 Ok: queued as 1"

    async def _whole(self, message: StreamedMessage) -> bytes:
        pieces = []
        while piece := await message.next_piece():
            pieces.append(piece)
            self.pieces += 1
            self.between_pieces()
        assert sum(map(len, pieces)) == message.size
        return b"".join(pieces)

    async def _hang(self) -> None:
        assert self.hang is not None
        self.hanging.release()
        self.hang.set()
        await asyncio.Event().wait()

    async def waiting(self, count: int) -> None:
        """Until so many sends hang."""
        for _ in range(count):
            await self.hanging.acquire()

    async def close(self) -> None:
        return None


class Bench:
    def __init__(self, directory: Path, **settings: Any) -> None:
        self.clock, self.seen, self.relay, self.turns = FakeClock(), Recording(), FakeRelay(), 0
        self.slowed: list[str] = []
        self.later: dict[str, float] = {}
        self.path = directory / "payload.json"
        self.path.write_text(json.dumps(PAYLOAD))
        self.breaker = Breaker("relay", observer=self.seen, clock=self.clock, probe_every=5, probe_hold=60)
        self.share = Breaker("share", observer=self.seen, clock=self.clock, probe_every=5, probe_hold=60)
        self.journal = Breaker(
            "journal", observer=self.seen, clock=self.clock, probe_every=5, probe_hold=60, threshold=1, probes=False
        )
        self.marks, self.found_fit = MemoryMarks(), Checked(self.clock)
        self.sender = Sender(
            Settings(
                smtp_host="relay.example",
                smtp_from="bounces@example.com",
                message_id_domain="example.com",
                attachments_base_path=directory,
                eml_storage_path=directory,
                **settings,
            ),
            TIMING,
            store="mysql",
            relay=self.relay,
            breaker=self.breaker,
            share=self.share,
            journal=self.journal,
            marks=self.marks,
            threads=Threads(2, "test"),
            found_fit=self.found_fit,
            rate=self.turn,
            turn=self.turn_of,
            slowed=self.slowed.append,
            budget=ByteBudget(1 << 30),
            clock=self.clock,
            rng=random.Random(5),
            observer=self.seen,
            concurrency=4,
        )

    async def turn(self) -> None:
        self.turns += 1

    async def turn_of(self, domain: str) -> float:
        return self.later.get(domain, 0.0)

    def ready(self, **changes: object) -> Email:
        lease = Lease(self.clock.now() + TIMING.lease, self.clock.now)
        plain: dict[str, object] = {"payload_file_path": str(self.path), "attempts": 1, "lease": lease}
        return email(ID, Status.PROCESSING, **plain | changes)

    async def handle(self, **changes: object) -> Outcome:
        return await self.sender.handle(self.ready(**changes))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_mail_goes_to_its_one_recipient_from_the_configured_envelope_sender(bench: Bench) -> None:
    assert await bench.handle() == Sent("250 2.0.0 Ok: queued as 1")
    [(envelope, content)] = bench.relay.taken
    assert envelope == Envelope("bounces@example.com", "anna@example.org")
    assert f"Message-ID: <{ID}@example.com>\r\n".encode() in content
    assert bench.turns == 1
    assert [event.result for event in bench.seen.of(SmtpAttempted)] == ["sent"]


async def test_what_intake_has_just_found_fit_is_sent_as_it_was(bench: Bench) -> None:
    raw = bench.path.read_bytes()
    bench.found_fit.put(bench.ready(version=2), parse(raw), len(raw))
    bench.path.unlink()

    assert await bench.handle(version=2 + MOVES) == Sent("250 2.0.0 Ok: queued as 1")
    [(envelope, content)] = bench.relay.taken
    assert envelope.recipient == "anna@example.org"
    assert b"Subject: Ciao\r\n" in content


async def test_what_was_requeued_meanwhile_is_read_again(bench: Bench) -> None:
    raw = bench.path.read_bytes()
    bench.found_fit.put(bench.ready(version=2), parse(raw), len(raw))
    bench.path.write_text(json.dumps({**PAYLOAD, "subject": "Corretto"}))

    await bench.handle(version=4 + MOVES)

    [(_, content)] = bench.relay.taken
    assert b"Subject: Corretto\r\n" in content


async def test_every_try_sends_the_same_octets(bench: Bench) -> None:
    await bench.handle()
    await bench.handle(attempts=2)
    assert bench.relay.taken[0] == bench.relay.taken[1]


def attach(bench: Bench, *, octets: int, name: str = "a.pdf") -> Path:
    """An attachment of the bench's mail."""
    path = bench.path.parent / name
    path.write_bytes(b"A" * octets)
    bench.path.write_text(json.dumps(PAYLOAD | {"attachments": [f"/{name}"]}))
    return path


@pytest.mark.parametrize("octets", [1000, 2_000_000])
async def test_an_attachment_arrives_whole_at_every_try_and_a_large_one_is_never_in_memory(
    bench: Bench, octets: int
) -> None:
    attach(bench, octets=octets)
    bench.sender._budget = ByteBudget(3_000_000)  # less than one such mail takes as a whole
    assert isinstance(await bench.handle(), Sent)
    assert isinstance(await bench.handle(attempts=2), Sent)
    (_, first), (_, second) = bench.relay.taken
    assert first == second
    read: EmailMessage = BytesParser(policy=SMTP).parsebytes(first)
    (part,) = read.iter_attachments()
    assert part.get_content() == b"A" * octets
    assert (bench.relay.pieces > 2) == (octets > 1000)


async def test_bad_input_37_an_attachment_that_changes_while_it_leaves_ends_the_mail_before_the_dot(
    bench: Bench,
) -> None:
    path = attach(bench, octets=2_000_000)

    def shrink() -> None:
        path.write_bytes(b"A" * 10)

    bench.relay.between_pieces = shrink
    outcome = await bench.handle()
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("attachment_changed: ")
    assert bench.relay.taken == []
    assert bench.marks.made == [], "no dot was about to leave"


async def test_a_share_that_goes_away_while_an_attachment_leaves_costs_the_mail_a_try(bench: Bench) -> None:
    path = attach(bench, octets=2_000_000)
    bench.relay.between_pieces = lambda: path.unlink(missing_ok=True)
    assert isinstance(await bench.handle(), Retry)
    assert bench.relay.taken == []


async def test_expired_mail_is_not_sent(bench: Bench) -> None:
    assert await bench.handle(expired=True) == Failed("expired")
    assert bench.relay.taken == []


@pytest.mark.parametrize("expired", [False, True])
async def test_mail_that_another_store_sends_is_given_up_and_nobody_is_told_that_it_failed(
    bench: Bench, expired: bool
) -> None:
    assert await bench.handle(duplicate_in="dynamodb", expired=expired) == Invalid("duplicate: in dynamodb")
    assert bench.relay.taken == []


async def test_a_refusal_at_rcpt_or_later_fails_the_mail(bench: Bench) -> None:
    bench.relay.error = RelayRefused("rcpt", "no such user", 550)
    assert await bench.handle() == Failed("rcpt: 550 no such user")


@pytest.mark.parametrize("code", [450, 451, 452])
async def test_g8_every_deferral_is_tried_again_later(bench: Bench, code: int) -> None:
    bench.relay.error = RelayDeferred("rcpt", "later", code)
    outcome = await bench.handle()
    assert isinstance(outcome, Retry)
    assert 0 < outcome.delay <= TIMING.relay_backoff.base


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [(421, "too many connections", "421"), (454, "Throttling failure", "454"), (451, "4.7.1 slow down", "45x")],
)
async def test_g8_a_reply_about_the_rate_slows_the_sender_and_costs_the_mail_no_try(
    bench: Bench, code: int, text: str, told: str
) -> None:
    bench.relay.error = RelayDeferred("data", text, code)
    for _ in range(10):
        outcome = await bench.handle(failing_for=10 * TIMING.relay_give_up)
        assert isinstance(outcome, Wait)
        assert 0 < outcome.delay <= TIMING.relay_backoff.base
    assert bench.slowed == [told] * 10
    assert not bench.breaker.is_open
    assert {event.result for event in bench.seen.of(SmtpAttempted)} == {"throttled"}


async def test_a_relay_that_takes_no_connection_for_the_rate_is_slowed_down_for_too(bench: Bench) -> None:
    bench.relay.error = RelayUnavailable("greeting", "4.7.0 too many connections", 421)
    assert isinstance(await bench.handle(), Wait)
    assert bench.slowed == ["421"]


async def test_mail_of_a_domain_that_has_its_share_comes_again_and_it_costs_no_try_and_no_turn(bench: Bench) -> None:
    bench.later = {"example.org": 7.0}
    outcome = await bench.handle()
    assert outcome == Wait(ENOUGH, 7.0)
    assert not move(bench.ready(), outcome).counts
    assert (bench.turns, bench.relay.taken, bench.marks.made) == (0, [], [])
    bench.later = {"example.com": 7.0}
    assert isinstance(await bench.handle(), Sent)


async def test_mail_that_waits_for_its_domain_is_still_known_to_have_been_lost_before(bench: Bench) -> None:
    bench.later = {"example.org": 7.0}
    outcome = await bench.handle(last_error=f"{UNKNOWN}: no reply")
    assert isinstance(outcome, Wait)
    assert outcome.reason == f"{UNKNOWN} before; then {ENOUGH}"


async def test_g8_deferrals_end_after_a_day_whatever_the_tries(bench: Bench) -> None:
    bench.relay.error = RelayDeferred("rcpt", "later", 451)
    assert isinstance(await bench.handle(attempts=500, failing_for=TIMING.relay_give_up - 1), Retry)
    assert isinstance(await bench.handle(attempts=2, failing_for=TIMING.relay_give_up), Failed)


async def test_a_relay_that_is_away_fails_no_mail_ever_and_opens_the_breaker(bench: Bench) -> None:
    bench.relay.error = RelayUnavailable("auth", "authentication failed", 535)
    for _ in range(4):
        assert isinstance(await bench.handle(failing_for=10 * TIMING.relay_give_up), Wait)
    assert not bench.breaker.is_open
    probe = asyncio.create_task(bench.handle(failing_for=10 * TIMING.relay_give_up))
    await bench.seen.expect(BreakerChanged, 1)
    await bench.clock.until_waited_for(5.0)
    bench.relay.error = None
    await bench.clock.advance(5.0)
    assert isinstance(await probe, Sent)
    assert not bench.breaker.is_open


async def test_an_unknown_outcome_is_sent_once_more_and_then_told_as_it_is(bench: Bench) -> None:
    bench.relay.error, bench.relay.late = RelayLost("dot", "connection lost"), True
    first = await bench.handle()
    assert isinstance(first, Unknown)
    assert isinstance(first.then, Retry)
    assert first.then.reason.startswith(UNKNOWN)
    second = await bench.handle(attempts=2, last_error=first.then.reason)
    assert isinstance(second, Unknown)
    assert isinstance(second.then, Failed)
    assert second.then.reason.startswith(UNKNOWN)


async def test_g3_mails_at_once_keep_their_own_outcomes(bench: Bench) -> None:
    """The original shared one error variable between all of them."""
    marking = bench.marks.hold("ACC")
    taken = asyncio.create_task(bench.handle())
    await marking.wait()
    bench.relay.error = RelayRefused("rcpt", "no such user", 550)
    assert await bench.handle() == Failed("rcpt: 550 no such user")
    bench.relay.error, bench.relay.hang, bench.relay.late = None, asyncio.Event(), False
    cut = asyncio.create_task(bench.handle())
    await bench.relay.hang.wait()
    cut.cancel()
    bench.marks.let_go()
    assert await taken == Sent("250 2.0.0 Ok: queued as 1")
    with pytest.raises(asyncio.CancelledError):
        await cut


async def test_g7_a_lease_goes_by_the_monotonic_clock(bench: Bench) -> None:
    """Whoever sets the wall clock ends no lease, and keeps none alive."""
    assert isinstance(await bench.handle(), Sent)
    lease = Lease(bench.clock.now() + TIMING.lease, bench.clock.now)
    await bench.clock.advance(TIMING.lease)
    assert isinstance(await bench.handle(lease=lease), Release)


async def test_a_lease_that_is_about_to_end_keeps_the_message_here(bench: Bench) -> None:
    lease = Lease(bench.clock.now() + TIMING.lease_margin - 0.1, bench.clock.now)
    assert isinstance(await bench.handle(lease=lease), Release)
    assert bench.relay.taken == []


async def test_what_lies_between_two_unknown_outcomes_hides_neither(bench: Bench) -> None:
    last: str | None = None
    copies = 0
    for attempt in range(1, 12):
        bench.relay.late = bool(attempt % 2)
        bench.relay.error = RelayLost("body", "cut") if attempt % 2 else RelayDeferred("rcpt", "later", 451)
        copies += attempt % 2
        outcome = await bench.handle(attempts=attempt, last_error=last)
        back = outcome.then if isinstance(outcome, Unknown) else outcome
        if isinstance(back, Failed):
            break
        assert isinstance(back, Retry)
        last = back.reason
    assert isinstance(back, Failed)
    assert back.reason.startswith(UNKNOWN)
    assert copies == 2


@pytest.mark.parametrize("phase", ["rcpt", "data", "body"])
async def test_a_link_that_dies_before_the_dot_is_a_try_and_no_unknown_outcome(bench: Bench, phase: str) -> None:
    bench.relay.error = RelayUnavailable(phase, "reset")
    outcome = await bench.handle()
    assert isinstance(outcome, Retry)
    assert not outcome.reason.startswith(UNKNOWN)


async def test_interrupted_before_the_dot_it_is_given_back_as_it_was(bench: Bench) -> None:
    bench.relay.hang = asyncio.Event()
    work = asyncio.create_task(bench.handle())
    await bench.relay.hang.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_interrupted_after_the_message_left_it_says_so(bench: Bench) -> None:
    bench.relay.hang, bench.relay.late = asyncio.Event(), True
    work = asyncio.create_task(bench.handle())
    await bench.relay.hang.wait()
    work.cancel()
    outcome = await work
    assert isinstance(outcome, Unknown)
    assert isinstance(outcome.then, Retry)
    assert outcome.then.reason.startswith(UNKNOWN)


async def test_interrupted_while_the_relays_yes_is_being_marked_it_is_sent(bench: Bench) -> None:
    """The reply is known here, whatever becomes of its mark: only ignorance may cost a second copy."""
    marking = bench.marks.hold("ACC")
    work = asyncio.create_task(bench.handle())
    await marking.wait()
    work.cancel()
    assert await work == Sent("250 2.0.0 Ok: queued as 1")


async def test_the_dot_is_marked_before_it_leaves_and_the_reply_before_anything_else(bench: Bench) -> None:
    await bench.handle()
    assert bench.marks.kinds(ID) == ["DOT", "ACC"]
    assert bench.marks.replies == ["250 2.0.0 Ok: queued as 1"]


async def test_without_its_mark_no_dot_leaves_and_the_mail_pays_nothing(bench: Bench) -> None:
    bench.marks.broken = "cannot be written since 03:12: No space left on device"
    for attempts in range(1, 40):
        outcome = await bench.handle(attempts=attempts, failing_for=10 * TIMING.relay_give_up)
        assert isinstance(outcome, Wait)
        assert "No space left on device" in outcome.reason
    assert bench.relay.taken == []
    assert not bench.breaker.is_open


async def test_while_the_journal_cannot_be_written_nothing_is_claimed_to_be_sent(bench: Bench) -> None:
    assert bench.journal in bench.sender.breakers
    bench.journal.failed("full")
    assert min(breaker.admits(100) for breaker in bench.sender.breakers) == 0
    bench.journal.succeeded()
    assert min(breaker.admits(100) for breaker in bench.sender.breakers) == 100


async def test_a_reply_that_cannot_be_marked_is_known_all_the_same(bench: Bench) -> None:
    bench.marks.fails = {"ACC"}
    assert await bench.handle() == Sent("250 2.0.0 Ok: queued as 1")


async def test_a_lease_that_ended_while_the_disk_took_its_time_keeps_the_dot_here(bench: Bench) -> None:
    marking = bench.marks.hold("DOT")
    lease = Lease(bench.clock.now() + TIMING.lease, bench.clock.now)
    work = asyncio.create_task(bench.handle(lease=lease))
    await marking.wait()
    lease.lost = True
    bench.marks.let_go()
    assert isinstance(await work, Release)
    assert bench.relay.taken == []


async def test_a_lease_is_renewed_before_the_dot(bench: Bench) -> None:
    lease = Lease(bench.clock.now() + 1.0, bench.clock.now)

    async def refresh(lease: Lease) -> None:
        lease.expires_at = bench.clock.now() + TIMING.lease

    assert isinstance(await bench.handle(lease=lease), Release), "before DATA it has too little left"
    lease.expires_at = bench.clock.now() + TIMING.lease
    lease.refresh = refresh
    bench.relay.before_dot = lambda: setattr(lease, "expires_at", bench.clock.now() + 1.0)
    assert isinstance(await bench.handle(lease=lease), Sent)


@pytest.mark.parametrize(("policy", "then"), [("resend", Retry), ("hold", Park), ("fail", Failed)])
async def test_what_follows_an_unknown_outcome_is_the_operators_to_say(
    tmp_path: Path, policy: str, then: type[Outcome]
) -> None:
    bench = Bench(tmp_path, outcome_unknown=policy)
    bench.relay.error, bench.relay.late = RelayLost("body", "connection lost"), True
    outcome = await bench.handle()
    assert isinstance(outcome, Unknown)
    assert isinstance(outcome.then, then)


async def test_mail_that_expires_while_it_probes_is_not_sent(bench: Bench) -> None:
    for _ in range(5):
        bench.breaker.failed("refused")
    bench.relay.error = RelayUnavailable("connect", "refused")
    work = asyncio.create_task(bench.handle(expires_at=bench.clock.now() + 7.0))
    await bench.clock.until_waited_for(5.0)
    await bench.clock.advance(5.0)
    await bench.clock.until_waited_for(5.0)
    bench.relay.error = None
    await bench.clock.advance(5.0)
    assert await work == Failed("expired")
    assert bench.relay.taken == []


async def test_a_payload_that_was_changed_into_nonsense_fails_the_mail(bench: Bench) -> None:
    bench.path.write_text("[]")
    outcome = await bench.handle()
    assert isinstance(outcome, Failed)
    assert "json_type" in outcome.reason


async def test_a_share_that_is_gone_fails_no_mail_and_opens_its_breaker(bench: Bench) -> None:
    content = bench.path.read_text()
    bench.path.unlink()
    for _ in range(4):
        assert isinstance(await bench.handle(failing_for=10 * TIMING.relay_give_up), Retry)
    probe = asyncio.create_task(bench.handle())
    await bench.seen.expect(BreakerChanged, 1)
    assert not bench.breaker.is_open, "the relay has nothing to do with it"
    assert isinstance(await bench.handle(), Wait), "who comes while another probes waits, and is due soon"
    await bench.clock.until_waited_for(5.0)
    bench.path.write_text(content)
    await bench.clock.advance(5.0)
    assert isinstance(await probe, Sent)
    assert not bench.share.is_open


async def test_mail_whose_ttl_passed_while_it_waited_here_is_not_sent(bench: Bench) -> None:
    assert await bench.handle(expires_at=bench.clock.now() - 0.1) == Failed("expired")
    assert bench.relay.taken == []


async def test_prepared_files_hold_the_memory_they_need_and_no_more(tmp_path: Path) -> None:
    limit = 1 << 20
    bench = Bench(tmp_path, max_message_size=limit)
    (tmp_path / "a.eml").write_bytes(b"From: x@example.com\nTo: bob@example.org\n\nhi\n")
    bench.relay.hang = asyncio.Event()
    # Large enough for two small files, far too small for two of the largest that are allowed.
    bench.sender._budget = ByteBudget(limit)
    two = [
        asyncio.create_task(bench.handle(payload_file_path=None, eml_file_path="a.eml", claim_token=token))
        for token in "ab"
    ]
    await bench.relay.waiting(2)
    for one in two:
        one.cancel()
    await asyncio.wait(two)


async def test_a_payload_that_is_gone_from_a_share_that_is_there_fails_after_a_day(bench: Bench) -> None:
    (bench.path.parent / "another.json").write_text("{}")
    bench.path.unlink()
    assert isinstance(await bench.handle(), Retry)
    assert isinstance(await bench.handle(failing_for=TIMING.relay_give_up), Failed)


async def test_a_message_that_grew_over_the_limit_in_encoding_is_not_sent(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_message_size=65_536)
    bench.path.write_text(json.dumps(PAYLOAD | {"body_text": "é" * 30_000}))
    outcome = await bench.handle()
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("size")


async def test_texts_over_the_limit_are_refused_before_anything_is_made_of_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_message_size=65_536)
    bench.path.write_text(json.dumps(PAYLOAD | {"body_text": "é" * 33_000}))
    bench.sender._budget = ByteBudget(1)
    assert await bench.handle() == Failed("size: the message would have about 66000 bytes; the limit is 65536")


async def test_a_prepared_file_is_sent_as_it_stands(bench: Bench) -> None:
    (bench.path.parent / "a.eml").write_bytes(b"From: x@example.com\nTo: Bob <bob@example.org>\nSubject: s\n\nhi\n")
    assert isinstance(await bench.handle(payload_file_path=None, eml_file_path="a.eml"), Sent)
    [(envelope, content)] = bench.relay.taken
    assert envelope.recipient == "bob@example.org"
    assert content == b"From: x@example.com\r\nTo: Bob <bob@example.org>\r\nSubject: s\r\n\r\nhi\r\n"


async def test_a_prepared_file_for_two_fails(bench: Bench) -> None:
    (bench.path.parent / "a.eml").write_bytes(b"From: x@example.com\nTo: a@example.org, b@example.org\n\nhi\n")
    assert isinstance(await bench.handle(payload_file_path=None, eml_file_path="a.eml"), Failed)


async def test_a_row_without_any_file_is_set_aside_where_an_operator_sees_it(bench: Bench) -> None:
    assert isinstance(await bench.handle(payload_file_path=None), Park)
