"""What must hold before a step, each with its evidence. What is not known is a no, with what to do about it.

What must hold of DynamoDB before it may be left is in `emptiness`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailculator.cutover import evidence
from mailculator.cutover.evidence import DAY, NEW, OLD, SEEN, Situation
from mailculator.notes import GUARD
from mailculator.stores.base import Minute
from mailculator.words import at, emails, some, span, title

OVERDUE = 5
"""Minutes that mail may be due on the new store before it counts as not keeping up."""

VARIABLES = {OLD: "EMAIL_OUTBOX_TABLE and AWS_REGION", NEW: "MYSQL_HOST, MYSQL_USER and MYSQL_DATABASE"}


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """One line of the answer.

    Arguments:
        name: short and stable; it labels a metric.
        met: yes or no.
        evidence: what was seen, since when, counted how.
        todo: what to do where it is a no.
    """

    name: str
    met: bool
    evidence: str
    todo: str = ""


def ready(situation: Situation, name: str) -> Prerequisite:
    """The store's settings are given, it answers, and its schema is current."""
    label = f"{name}_ready"
    look = situation.look(name)
    if not look.configured:
        return Prerequisite(label, False, f"{title(name)} is not configured", f"set {VARIABLES[name]}; see `check`")
    if not look.known:
        trouble = look.trouble or "nobody has looked"
        return Prerequisite(
            label, False, trouble, "run `mailculator check` with it switched on, and `mailculator schema status`"
        )
    return Prerequisite(label, True, f"{title(name)} answers and its schema is current")


def replicas(situation: Situation, *names: str) -> Prerequisite:
    """Every replica that lives works on all these stores, in this version."""
    label, wanted = "replicas", " and ".join(title(name) for name in names)
    looks = {name: situation.look(name) for name in names}
    unknown = [title(name) for name, look in looks.items() if not look.known]
    if unknown:
        return Prerequisite(label, False, f"the minutes of {some(unknown)} cannot be read", "see the lines above")
    seen = {name: evidence.living(situation, look) for name, look in looks.items()}
    known = sorted(set().union(*seen.values()))
    if not known:
        told = f"no replica has noted a minute in the last {span(SEEN * situation.minute)}"
        return Prerequisite(label, False, told, "start the service in this version; it notes its first minute in two")
    odd = [trouble for replica in known if (trouble := _trouble(situation, replica, seen))]
    if odd:
        todo = (
            f"give every replica the same settings and version {situation.service} and restart it; one that was killed "
            f"is forgotten after {span(SEEN * situation.minute)}"
        )
        return Prerequisite(label, False, some(odd), todo)
    oldest = min(minute.at for store in seen.values() for minute in store.values()) + situation.minute
    told = f"{some(known)}: on {wanted}, version {situation.service}, each heard of at {at(oldest)} or later"
    return Prerequisite(label, True, told)


def _trouble(situation: Situation, replica: str, seen: dict[str, dict[str, Minute]]) -> str | None:
    for name, store in seen.items():
        minute = store.get(replica)
        if minute is None:
            return f"{replica} does not work on {title(name)}"
        if minute.at > situation.now + situation.minute:
            return f"{replica} noted a minute that is yet to come ({at(minute.at)}): its clock or this one is wrong"
        if not evidence.is_fresh(situation, minute):
            return f"{replica} has noted nothing of {title(name)} since {at(minute.at + situation.minute)}"
        if minute.service != situation.service:
            return f"{replica} is version {minute.service}"
    return None


def guard(situation: Situation) -> Prerequisite:
    """Ids that stand in both stores are sent once, by every replica."""
    label, todo = "guard", "set MAILCULATOR_DUPLICATE_GUARD=true for every replica, or unset it"
    if not situation.guard:
        return Prerequisite(label, False, "MAILCULATOR_DUPLICATE_GUARD is false", todo)
    off = {
        replica
        for look in (situation.old, situation.new)
        for replica, minute in evidence.living(situation, look).items()
        if minute.notes.get(GUARD) == "off"
    }
    if off:
        return Prerequisite(label, False, f"switched off at {some(sorted(off))}", todo)
    return Prerequisite(label, True, "an id that stands in both queues is sent once")


def mail_through_new(situation: Situation) -> Prerequisite:
    """Test messages went through the new store from one end to the other."""
    label, look = "mail_through_mysql", situation.new
    left = [minute for minute in look.minutes if minute.left]
    if not left:
        told = f"no email has ended on MariaDB in the last {span(DAY * situation.minute)}"
        return Prerequisite(label, False, told, "insert test messages into MariaDB by hand, and wait two minutes")
    count = sum(minute.left for minute in left)
    told = f"{emails(count)} ended there, the last in the minute of {at(left[-1].at)}"
    return Prerequisite(label, True, told)


def new_keeps_up(situation: Situation) -> Prerequisite:
    """What has been written to the new store does not lie about."""
    label, look = "mysql_keeps_up", situation.new
    if not look.known:
        return Prerequisite(label, False, "MariaDB could not be counted", "see mysql_ready")
    if look.oldest_age > OVERDUE * situation.minute.total_seconds():
        told = f"its oldest mail has been due for {span(look.oldest_age)}"
        return Prerequisite(label, False, told, "look at `mailculator queue list --store mysql`, the relay and /health")
    return Prerequisite(label, True, f"{emails(look.active)} in hand, none due for longer than {span(look.oldest_age)}")


def producer_known(why: str, known: bool) -> Prerequisite:
    """It is on record where the producer writes."""
    todo = "" if known else "wait until ten minutes in a row are on record"
    return Prerequisite("producer_known", known, why, todo)


def producer_switched(situation: Situation) -> Prerequisite:
    """New email comes to the new store, and has not come to the old one for as long as that must have been empty."""
    label, old, new = "producer_switched", situation.old, situation.new
    last = evidence.last_entry(old)
    since = None if last is None else last.at
    came = evidence.entered(new, since)
    place = f"{emails(came)} came to MariaDB since" if last else f"{emails(came)} came to MariaDB"
    if last is None:
        told = f"no new email in DynamoDB in the last {span(evidence.reaches_back(situation.quiet, situation.minute))}"
    else:
        told = f"the last new email came to DynamoDB at {at(last.at)}, {span(situation.ago(last.at))} ago"
    met = came > 0 and (last is None or last.at + situation.minute <= situation.now - situation.quiet)
    todo = "" if met else f"the producer must write to MariaDB, and for {span(situation.quiet)} nothing to DynamoDB"
    return Prerequisite(label, met, f"{told}; {place}", todo)
