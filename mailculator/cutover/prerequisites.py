"""What must hold before a step, each with its evidence. What is not known is a no, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from mailculator.cutover import evidence
from mailculator.cutover.evidence import ACTIVE, DAY, NEW, OLD, SEEN, Look, Situation
from mailculator.model import Status
from mailculator.notes import GUARD, HELD, STORES
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


def recorded(situation: Situation) -> Prerequisite:
    """Every minute of the quiet span was counted by somebody."""
    label, look = "recorded", situation.old
    if not look.known:
        return Prerequisite(label, False, "DynamoDB's minutes cannot be read", f"see {OLD}_ready")
    missing = evidence.gaps(situation, look)
    wanted = span(situation.quiet)
    if missing:
        begin, end = missing[-1]
        told = f"of the last {wanted} it is not known what DynamoDB held from {at(begin)} to {at(end)}"
        more = f" (and {len(missing) - 1} more times before)" if len(missing) > 1 else ""
        todo = f"leave the service running on DynamoDB until {wanted} without a gap are on record"
        return Prerequisite(label, False, told + more, todo)
    who = {minute.replica for minute in look.minutes}
    return Prerequisite(label, True, f"each minute of the last {wanted} was counted, by {some(sorted(who))}")


def empty(situation: Situation) -> Prerequisite:
    """In all that time nothing stood there in any status but the terminal ones, nothing came and nothing left."""
    label, look = "empty", situation.old
    if not look.known:
        return Prerequisite(label, False, "DynamoDB's minutes cannot be read", f"see {OLD}_ready")
    busy = evidence.busy(situation, look)
    if busy:
        ready_at = busy[-1].at + situation.minute + situation.quiet
        todo = f"wait; it is empty for long enough at {at(ready_at)} at the earliest"
        return Prerequisite(label, False, f"at {at(busy[-1].at)}: {_contents(busy[-1])}", todo)
    since = evidence.empty_since(look.minutes, situation.minute)
    if since is None:
        return Prerequisite(
            label, False, "nobody has it on record that DynamoDB was empty", "leave the service running"
        )
    return Prerequisite(label, True, f"empty in every count since {at(since)}, {span(situation.ago(since))}")


def _contents(minute: Minute) -> str:
    parts = [f"{one.count} {status}" for status, one in minute.counts.items() if one.count]
    parts += [f"{minute.entered} came"] if minute.entered else []
    parts += [f"{minute.left} left"] if minute.left else []
    return some(parts, 8)


def empty_now(situation: Situation) -> Prerequisite:
    """The store has nothing at this moment."""
    label, look = "empty_now", situation.old
    if not look.known:
        return Prerequisite(label, False, "DynamoDB could not be counted", f"see {OLD}_ready")
    if look.active:
        todo = "wait until it has drained"
        if not look.enabled:
            todo = "set DYNAMODB_PIPELINES_ENABLED=true again and restart: nobody works on this mail"
        elif look.parked:
            todo = (
                "wait until it has drained; look at what is parked: `mailculator queue list --parked --store dynamodb`"
            )
        return Prerequisite(label, False, contents(look), todo)
    return Prerequisite(label, True, "counted now: 0 in every status but the terminal ones")


def contents(look: Look) -> str:
    """What stands in a store now, in words."""
    parts = []
    for status in ACTIVE:
        one = look.counts.get(status)
        if one is not None and one.count:
            parts.append(f"{one.count} {status}" + (f" ({one.parked} parked)" if one.parked else ""))
    return some(parts, len(ACTIVE)) or "nothing"


def no_foreign_write(situation: Situation) -> Prerequisite:
    """No other program has written there in that time."""
    label, look = "no_foreign_write", situation.old
    survey = look.survey
    if not look.known or survey is None:
        return Prerequisite(label, False, "DynamoDB could not be asked", f"see {OLD}_ready")
    if survey.foreign_write is None:
        return Prerequisite(label, True, "no write by another program was ever seen")
    ago = situation.ago(survey.foreign_write)
    told = f"another program last wrote there at {at(survey.foreign_write)}, {span(ago)} ago"
    if ago < situation.quiet:
        return Prerequisite(
            label, False, told, "wait; if that was not the producer's last message, find out who it was and stop that"
        )
    return Prerequisite(label, True, told)


def swept(situation: Situation) -> Prerequisite:
    """A full sweep that began after the last foreign write found nothing active."""
    label, look = "swept", situation.old
    survey = look.survey
    todo = "leave the service running on DynamoDB until its next sweep has ended"
    if not look.enabled:
        todo = "set DYNAMODB_PIPELINES_ENABLED=true again, restart, and wait for a sweep"
    if not look.known or survey is None:
        return Prerequisite(label, False, "DynamoDB could not be asked", f"see {OLD}_ready")
    if survey.exact:
        return Prerequisite(label, True, "its counts miss nothing by their nature")
    if survey.swept_from is None or survey.swept_until is None:
        return Prerequisite(label, False, "no sweep of the whole table has ended yet", todo)
    told = f"the last sweep went from {at(survey.swept_from)} to {at(survey.swept_until)}"
    # A sweep that was under way may have been past the place where that write went.
    if survey.foreign_write is not None and survey.swept_from <= survey.foreign_write:
        told += f", and another program wrote at {at(survey.foreign_write)}"
        return Prerequisite(label, False, told, todo)
    active = {status: count for status, count in survey.swept.items() if status in ACTIVE and count}
    if active:
        found = ", ".join(f"{count} {status}" for status, count in active.items())
        return Prerequisite(label, False, f"{told} and found {found}", todo)
    return Prerequisite(label, True, f"{told} and found nothing active in {emails(sum(survey.swept.values()))}")


def poisoned(situation: Situation) -> Prerequisite:
    """There is no record that nobody can work on."""
    label, look = "poisoned", situation.old
    survey = look.survey
    if not look.known or survey is None:
        return Prerequisite(label, False, "DynamoDB could not be asked", f"see {OLD}_ready")
    if survey.poisoned_count or survey.poisoned:
        count = max(survey.poisoned_count, len(survey.poisoned))
        shown = some(survey.poisoned, 20) + (f" and {count - len(survey.poisoned)} more" if count > 20 else "")
        todo = "mend or delete each by hand; nobody can work on it as it stands"
        return Prerequisite(label, False, f"{count} of no use: {shown}", todo)
    return Prerequisite(label, True, "no record that cannot be worked on")


def claims_go_on(situation: Situation) -> Prerequisite:
    """Claims there are not stopped."""
    label, look = "claims", situation.old
    survey = look.survey
    if not look.known or survey is None:
        return Prerequisite(label, False, "DynamoDB could not be asked", f"see {OLD}_ready")
    if survey.stopped is not None:
        todo = "find the other program, stop it, then run `mailculator dynamodb resume --why …`"
        return Prerequisite(label, False, f"stopped: {survey.stopped}", todo)
    return Prerequisite(label, True, "not stopped")


def nothing_held(situation: Situation) -> Prerequisite:
    """No replica has an email of that store in its hands."""
    label, look = "held", situation.old
    if not look.known:
        return Prerequisite(label, False, "DynamoDB's minutes cannot be read", f"see {OLD}_ready")
    holders = {
        replica: minute.notes[HELD]
        for replica, minute in evidence.living(situation, look).items()
        if minute.notes.get(HELD, "0") != "0"
    }
    working = [status for status in ACTIVE if status in _HELD_AS and _count(look, status)]
    if holders or working:
        parts = [f"{replica} holds {count}" for replica, count in sorted(holders.items())]
        parts += [f"{_count(look, status)} {status}" for status in working]
        return Prerequisite(label, False, some(parts), "wait until what is in hand is done, two minutes at the least")
    return Prerequisite(label, True, "nothing in hand, as each replica said in its last minute")


_HELD_AS = (Status.INTAKING, Status.PROCESSING, Status.CALLING_SENT_CALLBACK, Status.CALLING_FAILED_CALLBACK)


def _count(look: Look, status: Status) -> int:
    found = look.counts.get(status)
    return 0 if found is None else found.count


def nobody_on_old(situation: Situation) -> Prerequisite:
    """Every replica that lives has left the old store."""
    label = "left_by_all"
    if not situation.new.known:
        return Prerequisite(label, False, "MariaDB's minutes cannot be read", f"see {NEW}_ready")
    there = set(evidence.living(situation, situation.old))
    there |= {
        replica
        for replica, minute in evidence.living(situation, situation.new).items()
        if OLD in minute.notes.get(STORES, "").split(",")
    }
    if there:
        todo = "set DYNAMODB_PIPELINES_ENABLED=false for them as well, and restart them"
        return Prerequisite(label, False, f"{some(sorted(there))} worked on DynamoDB when last heard of", todo)
    return Prerequisite(label, True, "no replica works on DynamoDB")
