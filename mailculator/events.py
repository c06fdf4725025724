"""What happened, as frozen values.

The core emits them; the log and the metrics are listeners, and nobody else counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailculator.model import Status
from mailculator.values import value


@value
class Claimed:
    """A claim returned `count` emails, taking `seconds`; an empty poll is one too."""

    store: str
    pipeline: str
    count: int
    seconds: float


@value
class Moved:
    """An outcome is on record: one per outcome, the only event of a transition.

    Arguments:
        outcome: the outcome's name in lower case: sent, failed, retry, …
        attempt: the number of the try that ended.
        seconds: from claim to record.
        age: seconds since the email was created.
        note: the history's reason.
    """

    store: str
    pipeline: str
    email_id: str
    outcome: str
    origin: Status
    to: Status
    version: int
    attempt: int
    seconds: float
    age: float
    note: str | None
    parked: bool = False


@value
class ClaimLost:
    """The row was not ours any more when its result was to be written (another holder, or deleted)."""

    store: str
    pipeline: str
    email_id: str
    outcome: str


@value
class Rescued:
    """A working row whose holder let its lease expire was moved to where it belongs by what is known of it.

    Arguments:
        outcome: rescued (one step back), sent, failed, unknown, …
    """

    store: str
    email_id: str
    origin: Status
    to: Status
    holder: str | None
    outcome: str = "rescued"


@value
class Purged:
    """`count` terminal rows past their ttl were deleted."""

    store: str
    count: int


@value
class StoreCalled:
    """A verb of a store ended. `error` is None when it worked.

    Arguments:
        pipeline: whose claim it was: one pipeline's may fail, for what it needs beside the store, while others work.
    """

    store: str
    op: str
    seconds: float
    error: str | None = None
    pipeline: str | None = None


@value
class StoreNoticed:
    """A store met something that somebody should know of.

    Arguments:
        kind: short and stable: poisoned, unworkable, foreign_write, producer_requeue, adopted, repaired,
            own_write_recognised, race_lost, stopped, resumed, throttled, past, without_ttl, sweep_failed, note_lost,
            duplicate, guard_skipped, clock, clock_off, clock_right.
        email_id: the email it is about, if it is about one.
        detail: for people; no address and no secret in it.
    """

    store: str
    kind: str
    email_id: str | None = None
    detail: str = ""


@value
class SmtpAttempted:
    """One try at the relay. `result`: sent, deferred, throttled, refused, unavailable, lost. `code` 0 = no reply.

    Arguments:
        reply: what the relay said, or what kept it from saying anything; for whoever is on call, not for the log.
    """

    result: str
    code: int
    seconds: float
    reply: str = ""


@value
class CallbackAttempted:
    """One POST. `kind`: sent or failed. `result`: acknowledged, not_ready, refused, unavailable."""

    kind: str
    result: str
    seconds: float


@value
class BreakerChanged:
    """A breaker opened or closed. `reason` is the last failure when it opened."""

    name: str
    open: bool
    reason: str


@value
class RateChanged:
    """The relay has refused mail for its rate, and less is offered to it; or all of it again.

    Arguments:
        per_second: mails that may leave in a second from now on; 0 = any number.
        reason: the class of its reply (421, 454, 45x); "" where nothing is held back any more.
    """

    per_second: float
    reason: str


@value
class PauseChanged:
    """An operator has paused a pipeline, or its pause is over. `who` and `why` are those of the pause."""

    store: str
    pipeline: str
    paused: bool
    who: str = ""
    why: str = ""


@value
class PipelineFailed:
    """A handler raised what it should not have, or a loop died.

    Arguments:
        store: "" where it is none's but the whole process's: the journal.
        fatal: the process will end.
    """

    store: str
    pipeline: str
    error: str
    email_id: str | None = None
    fatal: bool = False
    traceback: str | None = None


@value
class Lifetime:
    """A milestone of the process: started, stopping, stopped, warning. `fields` are for the log alone."""

    name: str
    fields: tuple[tuple[str, str | int | float | bool | None], ...] = ()


Event = (
    Claimed
    | Moved
    | ClaimLost
    | Rescued
    | Purged
    | StoreCalled
    | StoreNoticed
    | SmtpAttempted
    | CallbackAttempted
    | BreakerChanged
    | RateChanged
    | PauseChanged
    | PipelineFailed
    | Lifetime
)
Observer = Callable[[Event], None]
"""Takes an event. It must not block and must not raise."""


class _FanOut:
    """Finds out once for each kind of event who heeds it: an email has several, and most observers heed few kinds."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)
        self._heeding: dict[type[Event], tuple[Observer, ...]] = {}

    def __call__(self, event: Event) -> None:
        kind = type(event)
        heeding = self._heeding.get(kind)
        if heeding is None:
            heeding = tuple(one for one in self.observers if kind in getattr(one, "heeds", (kind,)))
            self._heeding[kind] = heeding
        for observer in heeding:
            observer(event)


def fan_out(*observers: Observer) -> Observer:
    """One observer that passes every event on, in order.

    Arguments:
        observers: one that has an attribute `heeds`, a collection of kinds of events, is told of these alone.
    """
    return _FanOut(each for one in observers for each in (one.observers if isinstance(one, _FanOut) else (one,)))


def ignore(event: Event) -> None:
    """The observer of those who watch nothing."""
