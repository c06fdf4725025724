"""The checker of the chaos runs: clean books pass, and each way of cooking them is found under its own name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mailculator.model import Status
from tests.chaos.evidence import Claim, Evidence
from tests.chaos.verdict import Account, Dot, Kind, Pause, Verdict, judge
from tests.support.counting_sink import Accepted, Answered
from tests.support.invariants import Note, Standing

KILLED, ALIVE = "k" * 32, "a" * 32
SINCE, UNTIL = 10_000, 19_000

SENT = (
    Status.INTAKING,
    Status.READY,
    Status.PROCESSING,
    Status.SENT,
    Status.CALLING_SENT_CALLBACK,
    Status.SENT_ACKNOWLEDGED,
)
FAILED = (
    *SENT[:3],
    Status.FAILED,
    Status.CALLING_FAILED_CALLBACK,
    Status.FAILED_ACKNOWLEDGED,
)
INVALID = (Status.INTAKING, Status.INVALID)


def standing(email_id: str, path: tuple[Status, ...], **reasons: str) -> Standing:
    notes = [Note(str(status), version, reasons.get(status.name)) for version, status in enumerate(path, start=2)]
    return Standing(email_id, path[-1], len(path) + 1, 0, (Note("ACCEPTED", None, "Created by producer"), *notes))


def mail(email_id: str) -> Accepted:
    return Accepted(email_id, email_id, "test", "bounce@mta.example", f"r-{email_id}@example.org", "")


def answer(email_id: str, kind: str, status: int = 200) -> Answered:
    return Answered(email_id, kind, f"{email_id}:{kind}", status)


CLEAN = Account(
    promised={"good": Kind.VALID, "nobody": Kind.REFUSED, "wrong": Kind.INVALID},
    emails=[standing("good", SENT), standing("nobody", FAILED), standing("wrong", INVALID)],
    accepted=[mail("good")],
    refused=frozenset({"nobody"}),
    answers=[answer("good", "sent", 503), answer("good", "sent"), answer("nobody", "failed")],
    evidence=Evidence([Claim(ALIVE, "good", 4, 1000, 2000, 3000)]),
    ended=frozenset({KILLED}),
)


def with_email(email: Standing) -> Account:
    return replace(CLEAN, emails=[*(one for one in CLEAN.emails if one.id != email.id), email])


def with_claims(
    *claims: Claim, copies: int = 2, dots: tuple[Dot, ...] = (), unanswered: tuple[tuple[str, int], ...] = ()
) -> Account:
    pauses = (Pause(ALIVE, "alive.test", SINCE, UNTIL, frozenset(unanswered)),)
    return replace(CLEAN, accepted=[mail("good")] * copies, evidence=Evidence(claims), dots=dots, pauses=pauses)


def cut(*claims: Claim, at: int, email_id: str = "good", copies: int = 2) -> Account:
    """A live holder's connection ended without a reply."""
    return replace(with_claims(*claims, copies=copies), pauses=(), cut=(Dot(email_id, "alive.test", at),))


def counts(verdict: Verdict) -> dict[str, int]:
    return {name: len(getattr(verdict, name)) for name in verdict.__slots__ if getattr(verdict, name)}


def test_clean_books_pass() -> None:
    assert judge(CLEAN) == Verdict()
    assert not judge(CLEAN).faults


COOKED: dict[str, tuple[Callable[[], Account], dict[str, int]]] = {
    "an email is gone": (lambda: replace(CLEAN, emails=CLEAN.emails[:2]), {"lost": 1}),
    "it stands where nobody works on it": (lambda: with_email(standing("good", SENT[:4])), {"stuck": 1, "broken": 1}),
    "sent, and the relay has none": (lambda: replace(CLEAN, accepted=[]), {"falsely_final": 1}),
    "acknowledged without a 2xx": (
        lambda: replace(CLEAN, answers=[answer("good", "sent", 503), answer("nobody", "failed")]),
        {"falsely_final": 1},
    ),
    "valid, and called invalid": (
        lambda: replace(with_email(standing("good", INVALID)), accepted=[], answers=[answer("nobody", "failed")]),
        {"falsely_final": 1},
    ),
    "valid, and failed for no reason": (
        lambda: replace(with_email(standing("good", FAILED)), answers=[*CLEAN.answers[2:], answer("good", "failed")]),
        {"falsely_final": 1},
    ),
    "failed as unknown after one window": (
        lambda: replace(
            with_email(standing("good", FAILED, FAILED="outcome unknown: rescued")),
            answers=[*CLEAN.answers[2:], answer("good", "failed")],
            evidence=Evidence([Claim(KILLED, "good", 4, 1000, 2000)]),
        ),
        {"falsely_final": 1},
    ),
    "refused, and the relay has it": (
        lambda: replace(CLEAN, accepted=[mail("good"), mail("nobody")]),
        {"falsely_final": 1},
    ),
    "failed, and the relay never refused it": (lambda: replace(CLEAN, refused=frozenset()), {"falsely_final": 1}),
    "invalid, and the relay has it": (
        lambda: replace(CLEAN, accepted=[mail("good"), mail("wrong")]),
        {"falsely_final": 1},
    ),
    "healthy, and set aside": (
        lambda: with_email(standing("wrong", INVALID, INVALID="crashed 3 times")),
        {"set_aside": 1},
    ),
    "nobody put it there": (
        lambda: replace(CLEAN, emails=[*CLEAN.emails, standing("other", INVALID)]),
        {"broken": 1},
    ),
    "it is there twice": (lambda: replace(CLEAN, emails=[*CLEAN.emails, CLEAN.emails[2]]), {"broken": 1}),
    "it ended twice": (
        lambda: with_email(standing("good", (*SENT, Status.SENT, *SENT[-2:]))),
        {"broken": 1},
    ),
    "a version is missing": (
        lambda: with_email(replace(standing("good", SENT), version=9)),
        {"broken": 1},
    ),
    "a step that does not exist": (
        lambda: with_email(standing("good", (*SENT[:2], *SENT[3:]))),
        {"broken": 1},
    ),
    "a mail of nobody's": (lambda: replace(CLEAN, accepted=[*CLEAN.accepted, mail("other")]), {"broken": 1}),
    "a journal that cannot be read": (
        lambda: replace(CLEAN, evidence=Evidence(CLEAN.evidence.claims, ["one.log: unreadable"])),
        {"broken": 1},
    ),
}


@pytest.mark.parametrize("what", COOKED)
def test_what_does_not_hold_is_found(what: str) -> None:
    cook, wanted = COOKED[what]
    verdict = judge(cook())
    assert counts(verdict) == wanted
    assert {name: len(lines) for name, lines in verdict.faults.items()} == wanted


def unknown(*claims: Claim, torn_at: int) -> Account:
    """A valid mail that ended as unknown, and the connection of a holder that lives was cut amid its message."""
    return replace(
        with_email(standing("good", FAILED, FAILED="outcome unknown: connection lost")),
        accepted=[],
        answers=[*CLEAN.answers[2:], answer("good", "failed")],
        evidence=Evidence([Claim(KILLED, "good", 4, 1000, 2000), *claims]),
        torn=(Dot("good", "alive.test", torn_at),),
    )


def test_a_dot_that_left_into_a_connection_that_was_cut_is_a_window_for_its_holder() -> None:
    assert not judge(unknown(Claim(ALIVE, "good", 6, 3000, 3010), torn_at=3005)).faults


@pytest.mark.parametrize(
    ("claims", "torn_at"),
    [
        pytest.param([Claim(ALIVE, "good", 6, 3000, 3010)], 2999, id="it was cut before that claim"),
        pytest.param([Claim(ALIVE, "good", 6, 3000)], 3005, id="no dot left"),
        pytest.param([Claim(ALIVE, "good", 6, 3000, 3010, 3020)], 3005, id="it was answered"),
        pytest.param(
            [Claim(ALIVE, "good", 6, 3000, 3010), Claim(ALIVE, "good", 8, 4000)], 4005, id="it was the next claim's"
        ),
    ],
)
def test_no_other_cut_is_a_window(claims: list[Claim], torn_at: int) -> None:
    assert set(judge(unknown(*claims, torn_at=torn_at)).faults) == {"falsely_final"}


def test_what_never_reached_the_relay_excuses_no_copy() -> None:
    doubled = replace(with_claims(Claim(ALIVE, "good", 4, 1000, 2000)), pauses=())
    assert set(judge(replace(doubled, torn=(Dot("good", "alive.test", 1500),))).faults) == {"doubled_outside"}


COPIES: dict[str, tuple[Callable[[], Account], dict[str, int]]] = {
    "no mark at all": (with_claims, {"doubled_outside": 1}),
    "killed before the dot": (lambda: with_claims(Claim(KILLED, "good", 4, 1000)), {"doubled_outside": 1}),
    "killed after the reply": (
        lambda: with_claims(Claim(KILLED, "good", 4, 1000, 2000, 3000)),
        {"doubled_outside": 1},
    ),
    "no reply, but its holder lives": (
        lambda: replace(with_claims(Claim(ALIVE, "good", 4, 1000, 2000)), pauses=()),
        {"doubled_outside": 1},
    ),
    "another's window": (lambda: with_claims(Claim(KILLED, "nobody", 4, 1000, 2000)), {"doubled_outside": 1}),
    "killed between the two": (lambda: with_claims(Claim(KILLED, "good", 4, 1000, 2000)), {"doubled_in_window": 1}),
    "one window for two copies more": (
        lambda: with_claims(Claim(KILLED, "good", 4, 1000, 2000), copies=3),
        {"doubled_in_window": 1, "doubled_outside": 1},
    ),
    "the reply was cut off": (
        lambda: cut(Claim(ALIVE, "good", 4, 1000, 2000), at=2001),
        {"doubled_in_window": 1},
    ),
    "the reply was cut off, and it has it": (
        lambda: cut(Claim(ALIVE, "good", 4, 1000, 2000, 3000), at=2001),
        {"doubled_outside": 1},
    ),
    "the reply was cut off before its dot": (
        lambda: cut(Claim(ALIVE, "good", 4, 1000, 2000), at=1999),
        {"doubled_outside": 1},
    ),
    "the reply to another was cut off": (
        lambda: cut(Claim(ALIVE, "good", 4, 1000, 2000), at=2001, email_id="nobody"),
        {"doubled_outside": 1},
    ),
    "the reply to a later claim was cut off, not to this one": (
        lambda: cut(Claim(ALIVE, "good", 4, 1000, 2000), Claim(ALIVE, "good", 6, 4000, 5000), at=5001, copies=3),
        {"doubled_in_window": 1, "doubled_outside": 1},
    ),
    "stood still between the two": (
        lambda: with_claims(Claim(ALIVE, "good", 4, 1000, 9000, UNTIL + 5), dots=(Dot("good", "alive.test", 9001),)),
        {"doubled_in_window": 1},
    ),
    "stood still after the reply": (
        lambda: with_claims(Claim(ALIVE, "good", 4, 1000, 9000, SINCE - 5)),
        {"doubled_outside": 1},
    ),
    "stood still with the reply in hand, which was not on the disk": (
        lambda: with_claims(Claim(ALIVE, "good", 4, 1000, 9000, SINCE - 5), unanswered=(("good", 4),)),
        {"doubled_in_window": 1},
    ),
    "stood still with the reply to another claim in hand": (
        lambda: with_claims(Claim(ALIVE, "good", 4, 1000, 9000, SINCE - 5), unanswered=(("good", 2), ("nobody", 4))),
        {"doubled_outside": 1},
    ),
    "another stood still": (
        lambda: with_claims(Claim("b" * 32, "good", 4, 1000, 9000, UNTIL + 5)),
        {"doubled_outside": 1},
    ),
    "stood still, and made its mark afterwards": (
        lambda: with_claims(
            Claim(ALIVE, "good", 4, 1000, UNTIL + 5, UNTIL + 9), dots=(Dot("good", "alive.test", UNTIL + 6),)
        ),
        {"doubled_outside": 1},
    ),
    "stood still with its mark made, and let the dot go afterwards": (
        lambda: with_claims(
            Claim(ALIVE, "good", 4, 1000, 9000, UNTIL + 9), dots=(Dot("good", "alive.test", UNTIL + 6),)
        ),
        {"doubled_after_pause": 1},
    ),
    "a later dot is another claim's": (
        lambda: with_claims(
            Claim(ALIVE, "good", 4, 1000, 9000, UNTIL + 5), dots=(Dot("good", "alive.test", UNTIL + 6),)
        ),
        {"doubled_in_window": 1},
    ),
}


@pytest.mark.parametrize("where", COPIES)
def test_a_second_copy_is_excused_by_its_own_mark_and_by_nothing_else(where: str) -> None:
    cook, wanted = COPIES[where]
    verdict = judge(cook())
    assert counts(verdict) == wanted
    assert verdict.faults.keys() == {"doubled_outside"} & wanted.keys()


def test_unknown_after_two_windows_may_end_failed() -> None:
    """Also where its caller was killed, and it came back to FAILED with another reason."""
    notes = list(standing("good", (*FAILED[:-1], Status.FAILED, *FAILED[-2:])).history)
    notes[4] = replace(notes[4], reason="outcome unknown: rescued: the lease of one expired")
    notes[6] = replace(notes[6], reason="rescued: the lease of one expired")
    account = replace(
        with_email(Standing("good", FAILED[-1], 9, 0, tuple(notes))),
        accepted=[mail("good")] * 2,
        answers=[*CLEAN.answers[2:], answer("good", "failed")],
        evidence=Evidence([Claim(KILLED, "good", version, 1000, 2000) for version in (4, 6)]),
    )
    assert counts(judge(account)) == {"doubled_in_window": 1}
