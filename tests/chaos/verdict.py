"""What holds after any chaos: one check over the queue, the journals, the relay's and the callback's books.

`judge` sorts what does not hold into the words of the promise. Whatever `invariants` has is taken from there; what is
of its own is how often a mail may have reached the relay, which depends on where its holders were cut short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from mailculator.lifecycle import TERMINAL, UNKNOWN
from mailculator.model import Status
from tests.chaos.evidence import Claim, Evidence
from tests.support import invariants
from tests.support.counting_sink import Accepted, Answered
from tests.support.invariants import Books, Standing

SET_ASIDE = "crashed 3 times"
SENT_TWICE_UNKNOWN = 2
"""Claims of unknown outcome after which a mail is FAILED: it was sent once more after the first."""

ELSEWHERE = frozenset({"all there", "terminal once", "sent once", "acknowledged was answered"})
"""Invariants that are not judged as they are: they have counts of their own here."""


class Kind(StrEnum):
    """What a mail is put on the queue for."""

    VALID = "valid"
    REFUSED = "refused"
    INVALID = "invalid"


ENDS = {
    Kind.VALID: Status.SENT_ACKNOWLEDGED,
    Kind.REFUSED: Status.FAILED_ACKNOWLEDGED,
    Kind.INVALID: Status.INVALID,
}
"""How each kind ends, unless nobody knows whether a valid one was sent."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A message whose end has reached the relay.

    Arguments:
        client: the name that its sender gave in EHLO.
        at: epoch milliseconds.
    """

    email_id: str
    client: str
    at: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A process that stood still. Times are epoch milliseconds.

    Arguments:
        client: its name in EHLO.
        since: just before it was stopped.
        until: just before it went on.
        unanswered: emails and versions of its claims of which its journal had the dot and no reply just before it went
            on. A reply that it had read and not yet written down is among them: its mark tells when it was made, which
            may be before the stop, and nobody could read it until the process went on.
    """

    incarnation: str
    client: str
    since: int
    until: int
    unanswered: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that was written down about one run.

    Arguments:
        promised: every email that was put on the queue, and for what.
        refused: ids whose recipients the relay refused.
        dots: of all messages, accepted or not, in the order in which they came.
        ended: incarnations of processes that were killed or told to stop amid their work.
        cut: messages whose end a sender that lives gave away, and no reply came back to it: what was between the two
            kept it, and says so.
        torn: messages amid which the connection was cut by what was between the two: the end of one may have left all
            the same, before its sender heard of the cut, and reached nobody.
    """

    promised: Mapping[str, Kind]
    emails: Sequence[Standing]
    accepted: Sequence[Accepted]
    refused: frozenset[str]
    answers: Sequence[Answered]
    evidence: Evidence
    dots: Sequence[Dot] = ()
    ended: frozenset[str] = frozenset()
    pauses: Sequence[Pause] = ()
    cut: Sequence[Dot] = ()
    torn: Sequence[Dot] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What does not hold, in words, and what may be. An email stands in one line of each at the most.

    Arguments:
        lost: not on the queue any more.
        stuck: in no terminal status.
        falsely_final: terminal, and it is not so: acknowledged without a 2xx, SENT without a mail, and the like.
        set_aside: healthy mail that was taken for what its processes died of.
        doubled_in_window: copies more of mail whose holder, or whose connection, was cut short between the dot and the
            relay's reply.
        doubled_after_pause: copies more of mail whose holder was stopped between its last look and the dot.
        doubled_outside: copies more of any other mail.
        broken: other invariants.
    """

    lost: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    falsely_final: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    doubled_in_window: tuple[str, ...] = ()
    doubled_after_pause: tuple[str, ...] = ()
    doubled_outside: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def faults(self) -> dict[str, tuple[str, ...]]:
        """What no run may have: all but the two that the promise excepts."""
        excepted = {"doubled_in_window", "doubled_after_pause"}
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in excepted}
        return {name: lines for name, lines in found.items() if lines}


def judge(account: Account) -> Verdict:
    """Hold everything against everything."""
    doubled = _Doubled(account)
    books = Books(frozenset(account.promised), account.emails, account.accepted, account.answers, undisturbed=False)
    return Verdict(
        lost=tuple(sorted(account.promised.keys() - {email.id for email in account.emails})),
        stuck=tuple(f"{email.id} stands in {email.status}" for email in account.emails if email.status not in TERMINAL),
        falsely_final=tuple(_falsely_final(account, books)),
        set_aside=tuple(_set_aside(account)),
        doubled_in_window=tuple(doubled.in_window),
        doubled_after_pause=tuple(doubled.after_pause),
        doubled_outside=tuple(doubled.outside),
        broken=tuple(_broken(account, books)),
    )


def is_window(claim: Claim, account: Account) -> bool:
    """Whether nobody could know whether the relay had the mail: its holder, or its connection, was cut short between
    dot and reply."""
    if claim.dot is None:
        return False
    if claim.replied is None and (claim.incarnation in account.ended or _was_cut(claim, account)):
        return True
    return any(_stood_still(claim, pause) for pause in account.pauses)


def is_unknown(claim: Claim, account: Account) -> bool:
    """Whether its holder could not know whether the relay had the mail, though it may be plain to those who watched."""
    return is_window(claim, account) or (claim.dot is not None and claim.replied is None and _was_torn(claim, account))


def _was_cut(claim: Claim, account: Account) -> bool:
    """Whether its reply was kept from it. What was kept from a later claim of that mail excuses this one not."""
    marks = [one.dot for one in account.evidence.claims if one.email_id == claim.email_id and one.dot is not None]
    return any(
        cut.email_id == claim.email_id and claim.dot == max((mark for mark in marks if mark <= cut.at), default=None)
        for cut in account.cut
    )


def _was_torn(claim: Claim, account: Account) -> bool:
    """Whether the connection was cut amid its message. That of another claim of that mail excuses it not."""
    begun = [one.begun for one in account.evidence.claims if one.email_id == claim.email_id and one.begun is not None]
    return any(
        torn.email_id == claim.email_id
        and claim.begun == max((start for start in begun if start <= torn.at), default=0)
        for torn in account.torn
    )


def _stood_still(claim: Claim, pause: Pause) -> bool:
    # A mark that was made afterwards excuses nothing: its holder still had to look whether the mail was its own.
    return (
        pause.incarnation == claim.incarnation
        and claim.dot is not None
        and claim.dot <= pause.until
        and (
            claim.replied is None or claim.replied >= pause.since or (claim.email_id, claim.version) in pause.unanswered
        )
    )


def _let_go_afterwards(claim: Claim, account: Account) -> bool:
    """Whether its holder stood still with the mark made and the dot in its hand, and it left after that."""
    return any(
        _stood_still(claim, pause)
        and any(
            (dot.email_id, dot.client) == (claim.email_id, pause.client)
            and pause.until <= dot.at
            and (claim.replied is None or dot.at <= claim.replied)
            for dot in account.dots
        )
        for pause in account.pauses
    )


class _Doubled:
    """Copies beyond the first, each under what excuses it; an excuse is good for one copy."""

    def __init__(self, account: Account) -> None:
        self.in_window: list[str] = []
        self.after_pause: list[str] = []
        self.outside: list[str] = []
        taken = Counter(mail.email_id for mail in account.accepted)
        claims = account.evidence.by_email()
        for email_id, count in taken.items():
            cut = [claim for claim in claims.get(email_id, ()) if is_window(claim, account)]
            late = sum(_let_go_afterwards(claim, account) for claim in cut)
            for copy in range(2, count + 1):
                line = f"{email_id} reached the relay {count} times: copy {copy}; {claims.get(email_id, ())}"
                if copy - 2 < late:
                    self.after_pause.append(line)
                elif copy - 2 < len(cut):
                    self.in_window.append(line)
                else:
                    self.outside.append(line)


def _falsely_final(account: Account, books: Books) -> Iterator[str]:
    taken = Counter(mail.email_id for mail in account.accepted)
    claims = account.evidence.by_email()
    for email in account.emails:
        kind = account.promised.get(email.id)
        if kind is None or email.status not in TERMINAL:
            continue
        windows = sum(is_unknown(claim, account) for claim in claims.get(email.id, ()))
        if _is_unknown(email) and kind is Kind.VALID:
            if windows < SENT_TWICE_UNKNOWN:
                yield f"{email.id} ended as unknown after {windows} windows"
        elif email.status is not ENDS[kind]:
            yield f"{email.id} is {kind} and ended {email.status}: {_story(email)}"
        elif kind is Kind.VALID and not taken[email.id]:
            yield f"{email.id} ended {email.status} and never reached the relay"
        elif kind is not Kind.VALID and taken[email.id]:
            yield f"{email.id} ended {email.status} and reached the relay"
        elif kind is Kind.REFUSED and email.id not in account.refused:
            yield f"{email.id} ended {email.status} and was never refused"
    yield from invariants.CHECKS["acknowledged was answered"](books)


def _story(email: Standing) -> str:
    """Its last steps, for people."""
    return "; ".join(f"{note.version} {note.status} {note.reason}" for note in email.history[-10:])


def _is_unknown(email: Standing) -> bool:
    # It comes back to FAILED, with another reason, when a process dies over its callback.
    reasons = [note.reason or "" for note in email.history if note.status == Status.FAILED]
    return email.status is Status.FAILED_ACKNOWLEDGED and bool(reasons) and reasons[0].startswith(UNKNOWN)


def _set_aside(account: Account) -> Iterator[str]:
    for email in account.emails:
        if any(SET_ASIDE in (note.reason or "") for note in email.history):
            yield f"{email.id} stands in {email.status}: {SET_ASIDE}"


def _broken(account: Account, books: Books) -> Iterator[str]:
    for name, check in invariants.CHECKS.items():
        if name not in ELSEWHERE:
            yield from (f"{name}: {what}" for what in check(books))
    there = Counter(email.id for email in account.emails)
    yield from (f"all there: {email_id} was never put there" for email_id in sorted(there.keys() - account.promised))
    yield from (f"all there: {email_id} is there {count} times" for email_id, count in there.items() if count > 1)
    for email in account.emails:
        ends = [note.status for note in email.history if note.status in TERMINAL]
        if len(ends) > 1:
            yield f"terminal once: {email.id} ended {len(ends)} times: {ends}"
    unknown = {mail.email_id for mail in account.accepted} - account.promised.keys()
    yield from (f"sent once: the relay has {one!r}" for one in sorted(unknown))
    yield from (f"journal: {line}" for line in account.evidence.damage)
