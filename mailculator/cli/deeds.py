"""How requeue, retry, park, release and cancel are done: said before, counted meanwhile, kept afterwards."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import typer

from mailculator import words
from mailculator.cli import listing, output
from mailculator.cli.progress import Progress
from mailculator.cli.steering import Order
from mailculator.errors import StoreError
from mailculator.lifecycle import REQUEUE_TTL, REQUEUES, UNSENT, WAITING
from mailculator.model import Row, Status
from mailculator.stores.base import Steered, Store

AT_ONCE = 100
"""Emails that one call acts on: their rows are locked together."""

Act = Callable[[Store, Sequence[str], Order], Awaitable[list[Steered]]]


@dataclass(frozen=True, slots=True)
class Deed:
    """One of the actions.

    Arguments:
        past: in the past tense.
        among: the statuses it can be done in.
        applies: whether it can be done to an email in one of them, at a time.
        refusal: why it cannot.
        effect: what follows, said before; for mail that is sent by it, see `sends`.
        sends: statuses out of which it sends mail, or has it sent sooner.
        undo: the command that takes it back; "" where nothing does.
        final: whether it can be asked for by filter only with a yes, beyond what sends mail.
    """

    past: str
    among: frozenset[Status]
    applies: Callable[[Row, datetime], bool]
    refusal: str
    effect: str
    act: Act
    sends: frozenset[Status] = frozenset()
    undo: str = ""
    final: bool = False


_BEFORE_SENDING = frozenset({Status.ACCEPTED, Status.READY})

DEEDS: Mapping[str, Deed] = {
    "requeue": Deed(
        "requeued",
        frozenset(REQUEUES),
        lambda _row, _now: True,
        "neither terminal nor failed: nothing to start anew",
        "their callback is made once more, and no mail is sent",
        lambda store, ids, by: store.requeue(ids, who=by.who, why=by.why, ttl_extension=REQUEUE_TTL),
        sends=frozenset(status for status, to in REQUEUES.items() if to in UNSENT),
    ),
    "retry": Deed(
        "to be tried now",
        WAITING,
        lambda row, now: not row.parked and row.due_at > now,
        "due already, parked, or not waiting: nothing to bring forward",
        "they are tried now, and no mail is sent",
        lambda store, ids, by: store.hasten(ids, who=by.who, why=by.why),
        sends=_BEFORE_SENDING,
    ),
    "park": Deed(
        "parked",
        WAITING,
        lambda row, _now: not row.parked,
        "not waiting, or parked already",
        "nobody works on them until they are released",
        lambda store, ids, by: store.park(ids, who=by.who, why=by.why),
        undo="release",
    ),
    "release": Deed(
        "released",
        WAITING,
        lambda row, _now: row.parked,
        "not parked",
        "their callback is tried again, and no mail is sent",
        lambda store, ids, by: store.release(ids, who=by.who, why=by.why),
        sends=_BEFORE_SENDING,
        undo="park",
    ),
    "cancel": Deed(
        "cancelled",
        UNSENT,
        lambda row, _now: row.cancelled is None,
        "sent, ended or cancelled already",
        "they are not sent, and their producers are told so; this cannot be taken back",
        lambda store, ids, by: store.cancel(ids, who=by.who, why=by.why),
        final=True,
    ),
}


def check(order: Order) -> None:
    """Refuse what makes no sense, before any store is opened. Errors: BadParameter."""
    deed, status = DEEDS[order.verb], order.wanted.status
    if status is not None and status not in deed.among:
        there = ", ".join(one for one in Status if one in deed.among)
        raise output.misused("--status", f"{order.verb} is for mail in {there} (got {status})")
    if order.verb == "requeue" and not order.ids and status is None and not order.wanted.unknown:
        raise output.misused("--status", "what a requeue does depends on the status: name it, or give --unknown")
    must_say = not order.ids and (_sends(order) or deed.final) and not (order.yes or order.dry_run)
    if must_say and not sys.stdin.isatty():
        what = "sends mail" if _sends(order) else "cannot be taken back"
        raise output.misused("--yes", f"by filter this {what}: say --yes where nobody can be asked")


async def by_ids(queue: Store, order: Order) -> int:
    """To the emails that are named. Returns the exit code."""
    answers: list[Steered] = []
    progress = Progress(at_once=False)
    for some in _chunks(order.ids):
        if order.dry_run:
            answers.extend([await _would(queue, order.verb, one) for one in some])
        else:
            answers.extend(await DEEDS[order.verb].act(queue, some, order))
        progress(lambda: f"{len(answers)} of {len(order.ids)}")
    told = [_told(order, answer) for answer in answers]
    if order.as_json:
        output.document([{"id": one, "result": word} for one, word in zip(order.ids, told, strict=True)])
    else:
        output.table(("id", "result"), zip(order.ids, told, strict=True))
    done = [one for one, answer in zip(order.ids, answers, strict=True) if answer is Steered.DONE]
    if done and not order.dry_run:
        some = " ".join(done) if len(done) <= 3 else "ID…"
        _tell_undo(order, f"{some} --store {queue.name}")
    return output.OK if all(answer is Steered.DONE for answer in answers) else output.FAILURE


async def _would(queue: Store, verb: str, email_id: str) -> Steered:
    row = await queue.get(email_id)
    if row is None:
        return Steered.MISSING
    deed = DEEDS[verb]
    fits = row.status in deed.among and deed.applies(row, datetime.now(UTC))
    return Steered.DONE if fits else Steered.NOT_APPLICABLE


def _told(order: Order, answer: Steered) -> str:
    deed = DEEDS[order.verb]
    if answer is Steered.DONE:
        return f"would be {deed.past}" if order.dry_run else deed.past
    return "no such email" if answer is Steered.MISSING else deed.refusal


async def by_filter(queue: Store, order: Order) -> int:
    """To all that the filter finds, up to its limit. Returns the exit code."""
    counted: Counter[Status] | None = None
    asks = not order.yes and sys.stdin.isatty()
    if order.dry_run or asks:
        counted = await _count(queue, order)
    if order.dry_run:
        return _tell_dry(queue, order, counted or Counter())
    _say(_before(queue, order, counted))
    if asks and not typer.confirm("Do it?", err=True):
        _say("nothing was done")
        return output.FAILURE
    done, missed = await _act(queue, order)
    if order.as_json:
        output.document({"store": queue.name, "action": order.verb, "done": done, "missed": missed})
    else:
        print(f"{words.emails(done)} {DEEDS[order.verb].past}{f'; {missed} had moved on meanwhile' if missed else ''}")
    if done:
        _tell_undo(order, f"{_flags(order)} --store {queue.name}")
    return output.OK


async def _act(queue: Store, order: Order) -> tuple[int, int]:
    """How many it was done to, and how many had moved on. Whatever ends it, the audit list knows of what was done."""
    tally: Counter[Steered] = Counter()
    progress = Progress(at_once=False)
    deed = DEEDS[order.verb]
    try:
        async for rows in _found(queue, order):
            for some in _chunks([row.id for row in rows]):
                tally.update(await deed.act(queue, some, order))
                progress(lambda: f"{tally[Steered.DONE]} {deed.past}")
    except (asyncio.CancelledError, StoreError):
        _say(f"ended before all of it was gone through: {words.emails(tally[Steered.DONE])} {deed.past}")
        raise
    finally:
        if tally[Steered.DONE]:
            # Each email's own history has it as well: a store that went away meanwhile loses nothing of who and why.
            with suppress(StoreError):
                what = f"{deed.past} {words.emails(tally[Steered.DONE])} by filter: {_flags(order)}"
                await queue.control.note(who=order.who, what=what, why=order.why)
    return tally[Steered.DONE], tally.total() - tally[Steered.DONE]


async def _found(queue: Store, order: Order) -> AsyncIterator[list[Row]]:
    """Page by page, in the order of the flow: those it can be done to, up to the limit."""
    deed, left = DEEDS[order.verb], order.wanted.limit or sys.maxsize
    for status in _statuses(order):
        async for page in listing.pages(queue, status, order.wanted):
            now = datetime.now(UTC)
            rows = [row for row in page if deed.applies(row, now)][:left]
            if rows:
                yield rows
            left -= len(rows)
            if left <= 0:
                return


def _statuses(order: Order) -> list[Status]:
    if order.wanted.status is not None:
        return [order.wanted.status]
    among = DEEDS[order.verb].among
    if order.verb == "requeue":  # of unknown outcome: no other filter does without a status
        among = frozenset({Status.FAILED, Status.FAILED_ACKNOWLEDGED})
    return [status for status in Status if status in among]


async def _count(queue: Store, order: Order) -> Counter[Status]:
    counted: Counter[Status] = Counter()
    progress = Progress(at_once=False)
    async for rows in _found(queue, order):
        counted.update(row.status for row in rows)
        progress(lambda: f"{counted.total()} found")
    return counted


def _sends(order: Order) -> bool:
    return any(status in DEEDS[order.verb].sends for status in _statuses(order))


def _before(queue: Store, order: Order, counted: Counter[Status] | None) -> str:
    """What is about to be done, and whether it sends mail."""
    if counted is not None:
        which = words.emails(counted.total())
    else:
        which = f"up to {words.emails(order.wanted.limit)}" if order.wanted.limit else "all emails"
    unknown = " The relay may have some of it already." if order.wanted.unknown and _sends(order) else ""
    effect = "THIS SENDS MAIL, and cannot be taken back once it is sent" if _sends(order) else DEEDS[order.verb].effect
    return f"{order.verb} in {words.title(queue.name)}, {which} ({_flags(order)}): {effect}.{unknown}"


def _tell_dry(queue: Store, order: Order, counted: Counter[Status]) -> int:
    if order.as_json:
        found = {"store": queue.name, "action": order.verb, "would": dict(counted), "sends_mail": _sends(order)}
        output.document(found)
        return output.OK
    print(output.clean(_before(queue, order, counted)))
    if counted:
        output.table(("status", "emails"), [(one, counted[one]) for one in Status if counted[one]])
    print("nothing was done: this was a dry run")
    return output.OK


def _flags(order: Order) -> str:
    """The filter as it is typed."""
    wanted = order.wanted
    flags = [f"--status {wanted.status}"] if wanted.status else []
    flags += ["--parked"] if wanted.parked else []
    flags += ["--unknown"] if wanted.unknown else []
    flags += [f"--domain {wanted.domain}"] if wanted.domain else []
    return " ".join([*flags, f"--limit {wanted.limit}" if wanted.limit else "--all"])


def _tell_undo(order: Order, what: str) -> None:
    undo = DEEDS[order.verb].undo
    if undo:
        beyond = " (and with it what was so before)" if not order.ids else ""
        _say(f"undo: mailculator {undo} {what} --why …{beyond}")


def _say(text: str) -> None:
    print(output.clean(text), file=sys.stderr, flush=True)


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)]
