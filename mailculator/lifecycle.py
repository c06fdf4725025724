"""The status machine: stages, outcomes, and the one place that turns an outcome into a move.

::

    ACCEPTED ─▶ INTAKING ─▶ READY ─▶ PROCESSING ─▶ SENT ───▶ CALLING-SENT-CALLBACK ───▶ SENT-ACKNOWLEDGED
                    └─────▶ INVALID       └──────▶ FAILED ─▶ CALLING-FAILED-CALLBACK ─▶ FAILED-ACKNOWLEDGED

Beside the diagram: every working status goes one step back (retry, rescue, release); INTAKING→FAILED (expired,
cancelled, or invalid where the setting says that producers hear of it); PROCESSING→INVALID (the id is another store's
to send); and an operator's requeue. No other move exists, in any store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mailculator.model import Email, Row, Status
from mailculator.values import value

UNKNOWN = "outcome unknown"
"""How the errors and reasons of such mail begin, in every store."""
REASON_LIMIT = 1000
"""Characters of a reason that are kept; what a relay or a callback says beyond that tells nobody anything."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a pipeline claims, and how it holds it.

    Arguments:
        name: the pipeline's name, in logs, metrics and the command line.
        waiting: the status it claims.
        working: the status a claimed email stands in.
    """

    name: str
    waiting: Status
    working: Status


INTAKE = Stage("intake", Status.ACCEPTED, Status.INTAKING)
SENDER = Stage("sender", Status.READY, Status.PROCESSING)
SENT_CALLBACK = Stage("sent-callback", Status.SENT, Status.CALLING_SENT_CALLBACK)
FAILED_CALLBACK = Stage("failed-callback", Status.FAILED, Status.CALLING_FAILED_CALLBACK)

STAGES: tuple[Stage, ...] = (INTAKE, SENDER, SENT_CALLBACK, FAILED_CALLBACK)
STAGE_BY_WORKING: Mapping[Status, Stage] = MappingProxyType({stage.working: stage for stage in STAGES})
STAGE_BY_WAITING: Mapping[Status, Stage] = MappingProxyType({stage.waiting: stage for stage in STAGES})

WAITING = frozenset(STAGE_BY_WAITING)
WORKING = frozenset(STAGE_BY_WORKING)
UNSENT = frozenset({Status.ACCEPTED, Status.INTAKING, Status.READY, Status.PROCESSING})
TERMINAL = frozenset({Status.INVALID, Status.SENT_ACKNOWLEDGED, Status.FAILED_ACKNOWLEDGED})
MAY_BE_UNKNOWN = frozenset(
    {Status.READY, Status.PROCESSING, Status.FAILED, Status.CALLING_FAILED_CALLBACK, Status.FAILED_ACKNOWLEDGED}
)
"""Where mail of unknown outcome stands: it waits for another try, or has failed. Mail that was requeued and then sent
may have kept the reason of its first try; nothing is unknown of it any more."""

MOVES: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.ACCEPTED: frozenset({Status.INTAKING}),
        Status.INTAKING: frozenset({Status.READY, Status.INVALID, Status.FAILED, Status.ACCEPTED}),
        Status.READY: frozenset({Status.PROCESSING}),
        Status.PROCESSING: frozenset({Status.SENT, Status.FAILED, Status.INVALID, Status.READY}),
        Status.SENT: frozenset({Status.CALLING_SENT_CALLBACK}),
        Status.CALLING_SENT_CALLBACK: frozenset({Status.SENT_ACKNOWLEDGED, Status.SENT}),
        Status.FAILED: frozenset({Status.CALLING_FAILED_CALLBACK, Status.READY}),
        Status.CALLING_FAILED_CALLBACK: frozenset({Status.FAILED_ACKNOWLEDGED, Status.FAILED}),
        Status.INVALID: frozenset({Status.ACCEPTED}),
        Status.SENT_ACKNOWLEDGED: frozenset({Status.SENT}),
        Status.FAILED_ACKNOWLEDGED: frozenset({Status.READY}),
    }
)
"""Every move there is. FAILED→READY and all moves out of a terminal status are an operator's requeue alone."""

REQUEUES: Mapping[Status, Status] = MappingProxyType(
    {
        Status.INVALID: Status.ACCEPTED,
        Status.FAILED: Status.READY,
        Status.FAILED_ACKNOWLEDGED: Status.READY,
        Status.SENT_ACKNOWLEDGED: Status.SENT,
    }
)
"""Where an operator's requeue leads. The ones to ACCEPTED and READY send anew and raise the generation."""

REQUEUE_TTL = 7 * 86_400.0
"""Seconds that an email past its ttl gets anew when it is requeued."""

STAMPS_REACHED = frozenset({Status.SENT, Status.FAILED})
"""Forward moves into these set `reached_at` from the store's clock."""


@value
class Prepared:
    """Intake: the mail is fit to be sent. `domain` is the recipient's, in A-label form; `note` goes to the history."""

    domain: str
    note: str | None = None


@value
class Invalid:
    """The mail itself is wrong, for good."""

    reason: str


@value
class Sent:
    """The relay took the mail. `reply` is its answer, for the history."""

    reply: str


@value
class Failed:
    """The mail was not and will not be sent; its producer is told `reason`."""

    reason: str


@value
class Acknowledged:
    """The producer answered 2xx. `answer` goes to the history."""

    answer: str


@value
class Retry:
    """This try failed and counts. `delay` in seconds until the next."""

    reason: str
    delay: float


@value
class Wait:
    """Something around the mail is away; the try does not count. `delay` in seconds until the next."""

    reason: str
    delay: float


@value
class Release:
    """Nothing was begun: given back as it was, due at once, the try uncounted."""

    reason: str


@value
class Park:
    """Given back and set aside until an operator releases it."""

    reason: str


@value
class Rescued:
    """Its holder is gone, and nothing says how its work ended: given back, due at once, the try counted.

    Arguments:
        note: goes to the history.
        crashed: whether the holder's process died of this email, as far as anybody can tell; counted in the row.
        error: what is to be known of the try (`outcome unknown: …`); None keeps the row's last error.
    """

    note: str
    crashed: bool = False
    error: str | None = None


Back = Retry | Wait | Release | Park | Rescued
"""What leads one step back, to be worked on again."""


@value
class Unknown:
    """The message left, and the relay's answer never came: it may have the mail, or not.

    Arguments:
        then: what follows from that, by the operator's policy.
    """

    then: Back | Failed


_Known = Prepared | Invalid | Sent | Failed | Acknowledged | Back
Outcome = _Known | Unknown


@value
class Move:
    """What a store is asked to write for one email; the store knows moves, not outcomes.

    Arguments:
        email: the claim the move rests on (id, status, version, token).
        to: the new status.
        note: the history row's reason.
        reason: the row's new reason; None keeps the one it has.
        error: the row's new last_error. None keeps the one it has, and a move forward clears it.
        delay: seconds until the row is due.
        counts: False takes the claim's try back.
        failing: the row's first failure at this stage is stamped now, unless it was before.
        park: set aside.
        domain: the recipient's domain to keep; None keeps what is there.
        crashes: the row's new count of crashes; None keeps the one it has. Whatever ends a try sets it to 0.
    """

    email: Email
    to: Status
    note: str | None
    reason: str | None = None
    error: str | None = None
    delay: float = 0.0
    counts: bool = True
    failing: bool = False
    park: bool = False
    domain: str | None = None
    crashes: int | None = 0

    @property
    def forward(self) -> bool:
        """Whether the email leaves its stage (tries start anew), as opposed to going one step back."""
        return self.to != STAGE_BY_WORKING[self.email.status].waiting


def move(email: Email, outcome: Outcome) -> Move:
    """Turn an outcome into the one move it means for this email.

    Errors: ValueError when the outcome does not exist at the email's stage; that is a bug of a pipeline.
    """
    stage = STAGE_BY_WORKING[email.status]
    if isinstance(outcome, Unknown):
        outcome = outcome.then
    result = _move(stage, email, outcome)
    stays = isinstance(outcome, Back)
    if result.to not in MOVES[email.status] or stays == result.forward:
        raise ValueError(f"{stage.name}: {type(outcome).__name__} cannot follow {email.status}")
    return result


def _move(stage: Stage, email: Email, outcome: _Known) -> Move:
    match outcome:
        case Prepared(domain=domain, note=note):
            return Move(email, Status.READY, note, domain=domain)
        case Invalid(reason=reason):
            return Move(email, Status.INVALID, clean(reason), reason=clean(reason))
        case Sent(reply=reply):
            return Move(email, Status.SENT, clean(reply))
        case Failed(reason=reason):
            return Move(email, Status.FAILED, clean(reason), reason=clean(reason))
        case Acknowledged(answer=answer):
            to = Status.SENT_ACKNOWLEDGED if stage is SENT_CALLBACK else Status.FAILED_ACKNOWLEDGED
            return Move(email, to, clean(answer))
        case _:
            return _step_back(stage, email, outcome)


def _step_back(stage: Stage, email: Email, outcome: Back) -> Move:
    back = stage.waiting
    match outcome:
        case Retry(reason=reason, delay=delay):
            return Move(email, back, clean(reason), error=clean(reason), delay=delay, failing=True)
        case Wait(reason=reason, delay=delay):
            # A callback that is away for the configured age is parked; a relay that is away blames no mail, ever.
            ages = stage in (SENT_CALLBACK, FAILED_CALLBACK)
            return Move(email, back, clean(reason), error=clean(reason), delay=delay, counts=False, failing=ages)
        case Release(reason=reason):
            return Move(email, back, clean(reason), counts=False, crashes=None)
        case Park(reason=reason):
            return Move(email, back, clean(reason), error=clean(reason), failing=True, park=True)
        case Rescued(note=note, crashed=crashed, error=error):
            crashes = email.crashes + 1 if crashed else None
            return Move(email, back, clean(note), error=None if error is None else clean(error), crashes=crashes)


def withdrawn(email: Email) -> Failed | None:
    """Why an email is not to be sent any more, whatever stands in it; None where it is."""
    if email.expired:
        return Failed("expired")
    if email.cancelled is None:
        return None
    # Whoever cancels mail that the relay may have must not hide that it may.
    before = f"{email.last_error}; then " if says_unknown(email.last_error) else ""
    return Failed(f"{before}cancelled: {email.cancelled}")


def says_unknown(reason: str | None) -> bool:
    """Whether an error or a reason tells of a try whose outcome nobody knows: the relay may have that mail."""
    return reason is not None and reason.startswith(UNKNOWN)


def is_of_unknown_outcome(row: Row) -> bool:
    """Whether an email says so, of its last try or of its end."""
    return says_unknown(row.last_error) or says_unknown(row.reason)


def clean(text: str) -> str:
    """One line of at most REASON_LIMIT characters without control characters: safe in a row, a log and a terminal."""
    kept = text[: 4 * REASON_LIMIT]
    if not kept.isprintable():
        kept = "".join(ch if ch.isprintable() else " " for ch in kept)
    return " ".join(kept.split())[:REASON_LIMIT]
