"""What must hold of DynamoDB before it may be left, each with its evidence. What is not known is a no.

It is empty and has been for long enough, its counts miss nothing, and nobody works on it.
"""

from __future__ import annotations

from mailculator.cutover import evidence
from mailculator.cutover.evidence import ACTIVE, NEW, OLD, Look, Situation
from mailculator.cutover.prerequisites import Prerequisite
from mailculator.model import Status
from mailculator.notes import HELD, STORES
from mailculator.stores.base import Minute
from mailculator.words import at, emails, some, span


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
