"""What a dead holder's journal makes of its mail: guarantees G6, and the table of docs/reliability.md."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from mailculator.journal.marks import Key, Reply, claim_key
from mailculator.journal.traces import Trace
from mailculator.lifecycle import Failed, Invalid, Outcome, Park, Rescued, Retry, Sent, Unknown
from mailculator.model import Email, Status
from mailculator.pipelines.inquest import ALONE, CLOCKS, Inquest
from mailculator.pipelines.unknown import Policy
from mailculator.stores.base import Overdue
from mailculator.timing import Timing
from tests.support.memory_store import email

SINCE = datetime(2026, 11, 20, 3, 12, tzinfo=UTC)
NOTE = "rescued: the lease of blue expired"
UNSEEN = Trace()
BEGUN = Trace(begun=True)
DOT = Trace(begun=True, dot=True)
UNREADABLE = Trace(unreadable=True)


class Archive:
    """Journals that say what a test has them say, and who was asked since when."""

    def __init__(self, traces: Mapping[str, Trace]) -> None:
        self.traces = traces
        self.asked: dict[str, datetime | None] = {}

    async def look(
        self, holder: str, keys: Collection[Key], since: datetime | None = None, *, claims: Collection[Key] = ()
    ) -> Mapping[Key, Trace]:
        assert claims == {claim_key("mysql", "token")}
        self.asked[holder] = since
        return {key: self.traces[key.email_id] for key in keys}


def overdue(
    name: str, status: Status = Status.PROCESSING, *, holder: str | None = "blue", **changes: object
) -> Overdue:
    return Overdue(email(name, status, claim_token="token", **changes), holder, SINCE)


async def judged(one: Overdue, trace: Trace, policy: Policy = Policy.RESEND) -> Outcome:
    archive = Archive({one.email.id: trace})
    inquest = Inquest("mysql", archive, policy=policy, timing=Timing(), rng=random.Random(1))
    [outcome] = await inquest([one])
    return outcome


@pytest.mark.parametrize("trace", [UNSEEN, BEGUN])
async def test_without_a_dot_the_relay_cannot_have_it(trace: Trace) -> None:
    outcome = await judged(overdue("a"), trace)
    assert isinstance(outcome, Rescued)
    assert (outcome.note, outcome.error) == (NOTE, None)


async def test_what_the_relay_took_is_sent_and_never_sent_again() -> None:
    trace = Trace(begun=True, dot=True, reply=Reply(250, "250 2.0.0 Ok: queued as 4F1A"))
    assert await judged(overdue("a"), trace) == Sent(f"250 2.0.0 Ok: queued as 4F1A (by the journal; {NOTE})")


async def test_what_the_relay_refused_has_failed_or_is_tried_again_later() -> None:
    refused = Trace(begun=True, dot=True, reply=Reply(554, "5.7.1 spam"))
    assert await judged(overdue("a"), refused) == Failed("body: 554 5.7.1 spam")
    deferred = Trace(begun=True, dot=True, reply=Reply(451, "4.3.0 later"))
    outcome = await judged(overdue("a"), deferred)
    assert isinstance(outcome, Retry)
    assert outcome.reason == "body: 451 4.3.0 later"
    assert 0 < outcome.delay <= Timing().relay_backoff.base


@pytest.mark.parametrize("trace", [DOT, UNREADABLE, Trace(begun=True, dot=True, ended=True)])
async def test_a_dot_alone_is_an_unknown_outcome_and_so_is_a_journal_that_cannot_be_read(trace: Trace) -> None:
    first = await judged(overdue("a"), trace)
    assert first == Unknown(Rescued(NOTE, error=f"outcome unknown: {NOTE}"))
    second = await judged(overdue("a", last_error="outcome unknown: before"), trace)
    assert second == Unknown(Failed(f"outcome unknown: {NOTE}"))
    assert await judged(overdue("a"), trace, Policy.HOLD) == Unknown(Park(f"outcome unknown: {NOTE}"))
    assert await judged(overdue("a"), trace, Policy.FAIL) == Unknown(Failed(f"outcome unknown: {NOTE}"))


async def test_of_mail_that_another_program_was_sending_nobody_knows() -> None:
    outcome = await judged(overdue("a", holder=None), UNSEEN)
    assert outcome == Unknown(
        Rescued("rescued: no sign of its holder", error="outcome unknown: rescued: no sign of its holder")
    )


@pytest.mark.parametrize("status", [Status.INTAKING, Status.CALLING_SENT_CALLBACK, Status.CALLING_FAILED_CALLBACK])
@pytest.mark.parametrize("trace", [DOT, UNREADABLE, UNSEEN])
async def test_only_sending_can_end_unknown(status: Status, trace: Trace) -> None:
    outcome = await judged(overdue("a", status), trace)
    assert isinstance(outcome, Rescued)
    assert outcome.error is None


@pytest.mark.parametrize(
    ("trace", "crashed"),
    [
        (UNSEEN, False),
        (BEGUN, True),
        (UNREADABLE, True),
        (Trace(begun=True, ended=True), False),
        (Trace(begun=True, outlived=Timing().lease + 1), False),
    ],
)
async def test_a_crash_counts_for_what_had_begun_and_not_ended_when_the_process_fell_silent(
    trace: Trace, crashed: bool
) -> None:
    outcome = await judged(overdue("a", Status.INTAKING), trace)
    assert outcome == Rescued(NOTE, crashed=crashed)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (Status.INTAKING, Invalid("crashed 3 times")),
        (Status.PROCESSING, Failed("crashed 3 times")),
        (Status.CALLING_SENT_CALLBACK, Park("crashed 3 times")),
        (Status.CALLING_FAILED_CALLBACK, Park("crashed 3 times")),
    ],
)
async def test_mail_that_kills_its_process_is_set_aside_after_three_crashes_alone(
    status: Status, wanted: Outcome
) -> None:
    for crashes in range(ALONE):
        assert await judged(overdue("a", status, crashes=crashes), BEGUN) == Rescued(NOTE, crashed=True)
    assert await judged(overdue("a", status, crashes=ALONE), BEGUN) == wanted
    # Not for a death that it had no part in.
    assert await judged(overdue("a", status, crashes=ALONE), UNSEEN) == Rescued(NOTE)


async def test_each_holder_is_asked_once_from_before_its_oldest_claim() -> None:
    early = Overdue(email("b", Status.PROCESSING, claim_token="token"), "blue", SINCE - timedelta(hours=2))
    found = [overdue("a"), early, overdue("c", holder="green"), overdue("d", holder=None)]
    archive = Archive({"a": UNSEEN, "b": DOT, "c": UNSEEN})
    inquest = Inquest("mysql", archive, policy=Policy.RESEND, timing=Timing(), rng=random.Random(1))
    outcomes = await inquest(found)
    assert archive.asked == {"blue": SINCE - timedelta(hours=2) - CLOCKS, "green": SINCE - CLOCKS}
    assert [type(outcome) for outcome in outcomes] == [Rescued, Unknown, Rescued, Unknown]


def test_the_email_is_named_as_its_claim_was_marked() -> None:
    one: Email = overdue("a", version=7).email
    assert Key("mysql", one.id, one.version) == Key("mysql", "a", 7)
