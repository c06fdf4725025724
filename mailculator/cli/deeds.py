"""How requeue, retry, park, release and cancel are done: said before, counted meanwhile, kept afterwards."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import typer

from mailculator import words
from mailculator.cli import listing, output
from mailculator.cli.progress import Progress
from mailculator.cli.steering import Order
from mailculator.errors import StoreError
from mailculator.insight.actions import AMONG, PAST, Action, applies, carry_out, sends_mail, would
from mailculator.lifecycle import MAY_BE_UNKNOWN
from mailculator.model import Row, Status
from mailculator.stores.base import Steered, Store

AT_ONCE = 100
"""Emails that one call acts on: their rows are locked together."""
SENDS = "THIS SENDS MAIL, and cannot be taken back once it is sent"


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said of one of the actions.

    Arguments:
        refusal: why it cannot be done to an email.
        effect: what follows, said before; where mail is sent by it, SENDS is said instead.
        undo: the command that takes it back; "" where nothing does.
        final: whether it can be asked for by filter only with a yes, even where it sends no mail.
    """

    refusal: str
    effect: str
    undo: str = ""
    final: bool = False


WORDINGS: Mapping[Action, Wording] = {
    Action.REQUEUE: Wording(
        "neither terminal nor failed: nothing to start anew",
        "their callback is made once more, and no mail is sent",
    ),
    Action.RETRY: Wording(
        "due already, parked, or not waiting: nothing to bring forward",
        "they are tried now, and no mail is sent",
    ),
    Action.PARK: Wording(
        "not waiting, or parked already",
        "nobody works on them until they are released",
        undo="release",
    ),
    Action.RELEASE: Wording(
        "not parked",
        "their callback is tried again, and no mail is sent",
        undo="park",
    ),
    Action.CANCEL: Wording(
        "sent, ended or cancelled already",
        "they are not sent, and their producers are told so; this cannot be taken back",
        final=True,
    ),
}


def check(order: Order) -> None:
    """Refuse what makes no sense, before any store is opened. Errors: BadParameter."""
    status, among = order.wanted.status, AMONG[order.action]
    if status is not None and status not in among:
        there = ", ".join(one for one in Status if one in among)
        raise output.misused("--status", f"{order.action} is for mail in {there} (got {status})")
    if order.action is Action.REQUEUE and not order.ids and status is None and not order.wanted.unknown:
        raise output.misused("--status", "what a requeue does depends on the status: name it, or give --unknown")
    must_say = not order.ids and (_sends(order) or WORDINGS[order.action].final) and not (order.yes or order.dry_run)
    if must_say and not sys.stdin.isatty():
        what = "sends mail" if _sends(order) else "cannot be taken back"
        raise output.misused("--yes", f"by filter this {what}: say --yes where nobody can be asked")


async def by_ids(queue: Store, order: Order) -> int:
    """To the emails that are named. Returns the exit code."""
    answers: list[Steered] = []
    progress = Progress(at_once=False)
    for some in _chunks(order.ids):
        if order.dry_run:
            now = datetime.now(UTC)
            answers.extend([await would(queue, order.action, one, now) for one in some])
        else:
            answers.extend(await _carry_out(queue, order, some))
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


async def _carry_out(queue: Store, order: Order, ids: Sequence[str]) -> list[Steered]:
    return await carry_out(order.action, queue, ids, who=order.who, why=order.why)


def _told(order: Order, answer: Steered) -> str:
    if answer is Steered.DONE:
        return f"would be {PAST[order.action]}" if order.dry_run else PAST[order.action]
    return "no such email" if answer is Steered.MISSING else WORDINGS[order.action].refusal


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
        output.document({"store": queue.name, "action": order.action, "done": done, "missed": missed})
    else:
        print(f"{words.emails(done)} {PAST[order.action]}{f'; {missed} had moved on meanwhile' if missed else ''}")
    if done:
        _tell_undo(order, f"{_flags(order)} --store {queue.name}")
    return output.OK


async def _act(queue: Store, order: Order) -> tuple[int, int]:
    """How many it was done to, and how many had moved on. Whatever ends it, the audit list knows of what was done."""
    tally: Counter[Steered] = Counter()
    progress = Progress(at_once=False)
    past = PAST[order.action]
    try:
        async for rows in _found(queue, order):
            for some in _chunks([row.id for row in rows]):
                tally.update(await _carry_out(queue, order, some))
                progress(lambda: f"{tally[Steered.DONE]} {past}")
    except (asyncio.CancelledError, StoreError):
        _say(f"ended before all of it was gone through: {words.emails(tally[Steered.DONE])} {past}")
        raise
    finally:
        if tally[Steered.DONE]:
            # Each email's own history has it as well: a store that went away meanwhile loses nothing of who and why.
            with suppress(StoreError):
                what = f"{past} {words.emails(tally[Steered.DONE])} by filter: {_flags(order)}"
                await queue.control.note(who=order.who, what=what, why=order.why)
    return tally[Steered.DONE], tally.total() - tally[Steered.DONE]


async def _found(queue: Store, order: Order) -> AsyncIterator[list[Row]]:
    """Page by page, in the order of the flow: those it can be done to, up to the limit."""
    left = order.wanted.limit or sys.maxsize
    for status in _statuses(order):
        async for page in listing.pages(queue, status, order.wanted):
            now = datetime.now(UTC)
            rows = [row for row in page if applies(order.action, row, now)][:left]
            if rows:
                yield rows
            left -= len(rows)
            if left <= 0:
                return


def _statuses(order: Order) -> list[Status]:
    if order.wanted.status is not None:
        return [order.wanted.status]
    among = AMONG[order.action]
    if order.wanted.unknown:
        among &= MAY_BE_UNKNOWN
    return [status for status in Status if status in among]


async def _count(queue: Store, order: Order) -> Counter[Status]:
    counted: Counter[Status] = Counter()
    progress = Progress(at_once=False)
    async for rows in _found(queue, order):
        counted.update(row.status for row in rows)
        progress(lambda: f"{counted.total()} found")
    return counted


def _sends(order: Order) -> bool:
    return any(sends_mail(order.action, status) for status in _statuses(order))


def _before(queue: Store, order: Order, counted: Counter[Status] | None) -> str:
    """What is about to be done, and whether it sends mail."""
    if counted is not None:
        which = words.emails(counted.total())
    else:
        which = f"up to {words.emails(order.wanted.limit)}" if order.wanted.limit else "all emails"
    unknown = " The relay may have some of it already." if order.wanted.unknown and _sends(order) else ""
    effect = SENDS if _sends(order) else WORDINGS[order.action].effect
    return f"{order.action} in {words.title(queue.name)}, {which} ({_flags(order)}): {effect}.{unknown}"


def _tell_dry(queue: Store, order: Order, counted: Counter[Status]) -> int:
    if order.as_json:
        found = {"store": queue.name, "action": order.action, "would": dict(counted), "sends_mail": _sends(order)}
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
    undo = WORDINGS[order.action].undo
    if undo:
        beyond = " (and with it what was so before)" if not order.ids else ""
        _say(f"undo: mailculator {undo} {what} --why …{beyond}")


def _say(text: str) -> None:
    print(output.clean(text), file=sys.stderr, flush=True)


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)]
