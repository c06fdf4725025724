"""queue summary|list|show|why."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailculator.cli import listing, output
from mailculator.cli.service import Json
from mailculator.cli.stores import StoreName, StoreOption, load, load_one, opened

if TYPE_CHECKING:
    from mailculator.model import HistoryEntry, Row
    from mailculator.stores.base import Store

_STEP = {"created_at": "when", "version": "version", "attempt": "attempt", "status": "status", "reason": "note"}
"""What is shown of a step, and what it is called."""

application = typer.Typer(
    help="Look at the queue: summary, list, show, why.", no_args_is_help=True, rich_markup_mode=None
)


@application.command("summary")
def summary(store: StoreOption = None, as_json: Json = False) -> None:
    """Count the emails in each status.

    Shows how many of them are parked, too, and for how long the oldest has been due.
    """
    output.run(_summary(store, as_json=as_json))


@application.command("list")
def list_(
    status: Annotated[
        str, typer.Option(help="Only this status, as sent or CALLING-SENT-CALLBACK.", metavar="STATUS")
    ] = "",
    parked: Annotated[bool, typer.Option("--parked", help="Only what is set aside.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only mail that the relay may have: its reply was lost.")
    ] = False,
    domain: Annotated[
        str, typer.Option(help="Only mail to this recipient domain; known once intake is done.", metavar="DOMAIN")
    ] = "",
    after: Annotated[
        str, typer.Option(help="Only ids behind this one: the last of the page before.", metavar="ID")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Emails at the most.", metavar="N")] = 50,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """List emails in the order of their ids, page by page."""
    wanted = listing.Wanted(listing.status(status), parked, unknown, after, limit, listing.domain(domain))
    output.run(_list(store, wanted, as_json=as_json))


@application.command("show")
def show(
    email_id: Annotated[str, typer.Argument(help="Id of an email.", metavar="ID")],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Show one email with its history, and why it stands where it stands."""
    output.run(_show(store, email_id, as_json=as_json))


@application.command("why")
def why(
    email_id: Annotated[str, typer.Argument(help="Id of an email.", metavar="ID")],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Say why one email does not move, or how it ended.

    The first sentence is the reason, what follows belongs to it.
    """
    output.run(_why(store, email_id, as_json=as_json))


async def _summary(store: StoreName | None, *, as_json: bool) -> None:
    settings, names = load(store)
    found = {}
    for name in names:
        async with opened(settings, name) as queue:
            found[name] = await queue.counts(terminal=True)
    if as_json:
        output.document(
            {
                name: {
                    status: {"count": one.count, "parked": one.parked, "oldest_age_s": round(one.oldest_age, 1)}
                    for status, one in counts.items()
                }
                for name, counts in found.items()
            }
        )
        return
    rows = [
        (name, status, one.count, one.parked or "", output.duration(one.oldest_age) if one.oldest_age else "")
        for name, counts in found.items()
        for status, one in counts.items()
    ]
    output.table(("store", "status", "emails", "parked", "oldest due for"), rows)


async def _list(store: StoreName | None, wanted: listing.Wanted, *, as_json: bool) -> None:
    settings, name = load_one(store)
    async with opened(settings, name) as queue:
        rows = await listing.rows(queue, wanted)
    if as_json:
        output.document([_row(row) for row in rows])
        return
    if not rows:
        print("no such emails" if wanted.narrow else "no emails")
        return
    output.table(
        ("id", "status", "tries", "updated", "last error or reason"),
        [
            (
                row.id,
                f"{row.status} (parked)" if row.parked else row.status,
                row.attempts,
                row.updated_at,
                row.last_error or row.reason,
            )
            for row in rows
        ],
    )
    if len(rows) == wanted.limit:
        print(output.clean(f"next page: --after {rows[-1].id}"), file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Found:
    """An email in one store, its history, and why it stands there."""

    row: Row
    past: list[HistoryEntry]
    why: list[str]


async def _find(store: StoreName | None, email_id: str) -> dict[str, _Found]:
    """Wherever it is. Where it is nowhere, and a store is away, it may be there: that is an error of its own."""
    from mailculator.errors import MailculatorError

    settings, names = load(store)
    found: dict[str, _Found] = {}
    away: list[MailculatorError] = []
    for name in names:
        try:
            async with opened(settings, name) as queue:
                await _find_in(queue, email_id, found)
        except MailculatorError as error:
            away.append(error)
    if not found and away:
        raise away[0]
    if not found:
        output.fail(f"{email_id}: no such email in {', '.join(names)}")
    for trouble in away:
        print(output.clean(f"not looked at: {trouble}"), file=sys.stderr)
    return found


async def _find_in(queue: Store, email_id: str, found: dict[str, _Found]) -> None:
    from mailculator.insight.view import look
    from mailculator.insight.why import why as explain

    row = await queue.get(email_id)
    if row is not None:
        past, view = await queue.history(email_id), await look(queue)
        found[queue.name] = _Found(row, past, explain(row, past, view, view.stores_time))


async def _show(store: StoreName | None, email_id: str, *, as_json: bool) -> None:
    found = await _find(store, email_id)
    if as_json:
        output.document(
            {name: {**_row(one.row), "history": _history(one.past), "why": one.why} for name, one in found.items()}
        )
        return
    for name, one in found.items():
        shown = {"store": name, **{key: value for key, value in _row(one.row).items() if value not in (None, "")}}
        output.table(("email", one.row.id), [item for item in shown.items() if item[0] != "id"])
        print()
        lines = [[line[name] for name in _STEP] for line in _history(one.past)]
        output.table(tuple(_STEP.values()), lines)
        print()
        _tell(one.why)


async def _why(store: StoreName | None, email_id: str, *, as_json: bool) -> None:
    found = await _find(store, email_id)
    if as_json:
        output.document({name: {"status": one.row.status, "why": one.why} for name, one in found.items()})
        return
    for name, one in found.items():
        print(output.clean(f"{one.row.id} in {name}: {one.row.status}{' (parked)' if one.row.parked else ''}"))
        _tell(one.why)


def _tell(sentences: list[str]) -> None:
    for sentence in sentences:
        print("\n".join(output.paragraph(sentence, width=output.width())))


def _row(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__ if name != "claim_token"}


def _history(past: list[HistoryEntry]) -> list[dict[str, Any]]:
    from mailculator.insight.attempts import attempts

    return [
        {**{name: getattr(entry, name) for name in entry.__slots__}, "attempt": attempt}
        for entry, attempt in zip(past, attempts(past), strict=True)
    ]
