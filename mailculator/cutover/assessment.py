"""Which phase of the cutover the evidence amounts to, what the next step is, and whether it is safe.

::

    0 DynamoDB alone ─▶ 1 both, the producer writes to DynamoDB ─▶ 2 both, it writes to MariaDB, DynamoDB drains
                                                                              │
                      done: MariaDB alone ◀─ 3 both, DynamoDB has been empty for long enough

A phase is read from the switches and from what happened, never from what somebody set out to do. So a way back shows
as the phase that it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from types import MappingProxyType

from mailculator.cutover import emptiness, evidence
from mailculator.cutover import prerequisites as needs
from mailculator.cutover.evidence import NEW, OLD, WINDOW, Look, Situation
from mailculator.cutover.prerequisites import Prerequisite
from mailculator.notes import ROUTINE
from mailculator.words import at, emails, some, span, title


class Phase(Enum):
    """The phases, by the names operators give them."""

    NONE = "none"
    OLD_ONLY = "0"
    BOTH = "1"
    DRAINING = "2"
    EMPTY = "3"
    DONE = "done"

    @property
    def number(self) -> int:
        """For a gauge: -1 for none, 4 for done."""
        return {"none": -1, "done": 4}.get(self.value, 0) or int(self.value)


class Step(StrEnum):
    """The steps from one phase to the next."""

    BOTH = "both"
    SWITCH = "switch"
    DISABLE = "disable"
    FORGET = "forget"


TITLES = {
    Phase.NONE: "no cutover: neither DynamoDB nor MariaDB is switched on here",
    Phase.OLD_ONLY: "DynamoDB alone",
    Phase.BOTH: "both run, the producer writes to DynamoDB",
    Phase.DRAINING: "both run, the producer writes to MariaDB, DynamoDB drains",
    Phase.EMPTY: "both run, DynamoDB has been empty for long enough",
    Phase.DONE: "MariaDB alone",
}

UNKNOWN = "both run, and it is not on record to which the producer writes"
"""The title of phase 1 while nobody can tell it from phase 2; the steps of phase 1 lose nothing in either."""

STEPS = {
    Step.BOTH: "run on both: set MYSQL_PIPELINES_ENABLED=true for every replica and restart it",
    Step.SWITCH: "let the producer write to MariaDB instead of DynamoDB",
    Step.DISABLE: "set DYNAMODB_PIPELINES_ENABLED=false for every replica and restart it",
    Step.FORGET: "none; the table may go when nobody needs its past any more",
}
NEXT = {
    Phase.OLD_ONLY: Step.BOTH,
    Phase.BOTH: Step.SWITCH,
    Phase.DRAINING: Step.DISABLE,
    Phase.EMPTY: Step.DISABLE,
    Phase.DONE: Step.FORGET,
}

BACKS = {
    Phase.NONE: "nothing to go back to",
    Phase.OLD_ONLY: "nothing to go back to",
    Phase.BOTH: "let MariaDB run empty, then set MYSQL_PIPELINES_ENABLED=false and restart",
    Phase.DRAINING: "let the producer write to DynamoDB again; keep both switched on, so that MariaDB's mail is worked",
    Phase.EMPTY: "let the producer write to DynamoDB again; keep both switched on, so that MariaDB's mail is worked",
    Phase.DONE: "set DYNAMODB_PIPELINES_ENABLED=true for every replica and restart it; nothing is lost by that",
}


@dataclass(frozen=True, slots=True)
class Assessment:
    """The answer.

    Arguments:
        title: the phase in words.
        because: what the phase was read from.
        step: what comes next, with its flag.
        prerequisites: of that step.
        attention: what else somebody should look at, whatever the phase.
    """

    phase: Phase
    title: str
    because: tuple[str, ...]
    step: str
    prerequisites: tuple[Prerequisite, ...]
    attention: tuple[str, ...]

    @property
    def back(self) -> str:
        """How to go back from here."""
        return BACKS[self.phase]

    @property
    def safe(self) -> bool:
        """Whether the next step may be taken. Where none is known, none may."""
        return bool(self.prerequisites) and all(one.met for one in self.prerequisites)


def assess(situation: Situation, step: Step | None = None) -> Assessment:
    """Judge a situation.

    Arguments:
        step: judge this step, and not the one that comes next in the phase at hand.
    """
    found = _phase(situation)
    step = step or NEXT.get(found.phase)
    words, lines = "none from here; run this with the environment of the service", found.lines
    if step is not None:
        words = STEPS[step]
        if not lines or step is not NEXT[found.phase]:
            lines = PREREQUISITES[step](situation)
    return Assessment(found.phase, found.title, found.because, words, lines, _attention(situation))


@dataclass(frozen=True, slots=True)
class _Phase:
    """The phase, what it was read from, and the prerequisites of the next step where they were looked at for it."""

    phase: Phase
    title: str
    because: tuple[str, ...]
    lines: tuple[Prerequisite, ...] = ()


def _phase(situation: Situation) -> _Phase:
    old, new = situation.old, situation.new
    flags = f"{_flag(old)}, {_flag(new)}"
    if not old.enabled and not new.enabled:
        return _Phase(Phase.NONE, TITLES[Phase.NONE], (flags,))
    if not new.enabled:
        return _Phase(Phase.OLD_ONLY, TITLES[Phase.OLD_ONLY], (flags,))
    if not old.enabled:
        return _Phase(Phase.DONE, TITLES[Phase.DONE], (flags,))
    producer = _producer(situation)
    because = (flags, producer.why)
    if not producer.switched:
        return _Phase(Phase.BOTH, TITLES[Phase.BOTH] if producer.known else UNKNOWN, because)
    lines = _to_disable(situation)
    phase = Phase.EMPTY if all(one.met for one in lines) else Phase.DRAINING
    return _Phase(phase, TITLES[phase], because, lines)


def _flag(look: Look) -> str:
    return f"{title(look.name)} is switched {'on' if look.enabled else 'off'} here"


def _to_both(situation: Situation) -> tuple[Prerequisite, ...]:
    return (
        needs.ready(situation, OLD),
        needs.ready(situation, NEW),
        needs.replicas(situation, OLD),
        needs.guard(situation),
    )


def _to_switch(situation: Situation) -> tuple[Prerequisite, ...]:
    producer = _producer(situation)
    return (
        needs.ready(situation, OLD),
        needs.ready(situation, NEW),
        needs.replicas(situation, OLD, NEW),
        needs.mail_through_new(situation),
        needs.new_keeps_up(situation),
        needs.producer_known(producer.why, producer.known),
        needs.guard(situation),
    )


def _to_disable(situation: Situation) -> tuple[Prerequisite, ...]:
    return (
        needs.ready(situation, OLD),
        needs.ready(situation, NEW),
        needs.replicas(situation, OLD, NEW),
        needs.producer_switched(situation),
        emptiness.recorded(situation),
        emptiness.empty(situation),
        emptiness.empty_now(situation),
        emptiness.nothing_held(situation),
        emptiness.no_foreign_write(situation),
        emptiness.swept(situation),
        emptiness.poisoned(situation),
        emptiness.claims_go_on(situation),
    )


def _to_forget(situation: Situation) -> tuple[Prerequisite, ...]:
    return (
        needs.ready(situation, OLD),
        needs.ready(situation, NEW),
        needs.replicas(situation, NEW),
        emptiness.nobody_on_old(situation),
        emptiness.empty_now(situation),
        emptiness.swept(situation),
        emptiness.poisoned(situation),
    )


PREREQUISITES: Mapping[Step, Callable[[Situation], tuple[Prerequisite, ...]]] = MappingProxyType(
    {Step.BOTH: _to_both, Step.SWITCH: _to_switch, Step.DISABLE: _to_disable, Step.FORGET: _to_forget}
)


@dataclass(frozen=True, slots=True)
class _Producer:
    """Whether the producer writes to the new store, whether the minutes suffice to tell, and what it was read from."""

    switched: bool
    known: bool
    why: str


def _producer(situation: Situation) -> _Producer:
    old, new, minute = situation.old, situation.new, situation.minute
    if not old.known or not new.known:
        return _Producer(False, False, "the minutes of both stores are not at hand, so nobody knows who writes where")
    missing = evidence.gaps(replace(situation, quiet=WINDOW * minute), old)
    if missing:
        begin, end = missing[-1]
        return _Producer(False, False, f"what came to DynamoDB from {at(begin)} to {at(end)} is not on record")
    last = evidence.last_entry(old)
    if last is not None and last.at + minute > situation.since(WINDOW):
        ago = span(situation.ago(last.at))
        return _Producer(False, True, f"a new email came to DynamoDB in the minute of {at(last.at)}, {ago} ago")
    came = evidence.entered(new, None if last is None else last.at)
    if not came:
        return _Producer(False, True, f"no new email came to MariaDB{'' if last is None else f' since {at(last.at)}'}")
    quiet = f"no new email came to DynamoDB in the last {span(WINDOW * minute)}"
    return _Producer(True, True, f"{quiet}, and {emails(came)} to MariaDB since the last one")


def _attention(situation: Situation) -> tuple[str, ...]:
    lines: list[str] = []
    for look in situation.stores.values():
        name = title(look.name)
        if look.configured and look.trouble:
            lines.append(f"{name}: {look.trouble}")
        if not look.enabled and look.active:
            lines.append(f"{name} is switched off here and holds {emptiness.contents(look)}: nobody works on it")
        if look.parked:
            lines.append(f"{name}: {emails(look.parked)} parked; `mailculator queue list --parked --store {look.name}`")
        survey = look.survey
        if survey is not None and survey.stopped is not None:
            lines.append(f"{name}: claims are stopped: {survey.stopped}; `mailculator dynamodb resume --why …`")
        if survey is not None and survey.poisoned_count:
            shown = some(survey.poisoned, 20)
            lines.append(f"{name}: {survey.poisoned_count} of its records cannot be worked on: {shown}")
        for replica, minute in sorted(evidence.living(situation, look).items()):
            said = [f"{key}: {value}" for key, value in minute.notes.items() if key not in ROUTINE]
            if said:
                lines.append(f"{name}: {replica} says {some(said)}")
    return tuple(lines)
