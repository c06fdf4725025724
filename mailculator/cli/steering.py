"""requeue, retry, park, release, cancel: single emails by their ids, or all that a filter finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator.cli import listing, output
from mailculator.cli.service import Json
from mailculator.cli.signing import Who, Why, signed
from mailculator.cli.stores import StoreName, StoreOption, load_one, opened

if TYPE_CHECKING:
    from mailculator.insight.actions import Action

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of emails.", metavar="ID", show_default=False)]
Limit = Annotated[int, typer.Option(min=0, show_default=False, help="By filter: so many at the most.", metavar="N")]


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asked for.

    Arguments:
        action: which the command is named by.
        ids: the emails; none where `wanted` finds them.
        dry_run: nothing is changed.
        yes: nobody is asked.
    """

    action: Action
    ids: tuple[str, ...]
    wanted: listing.Wanted
    who: str
    why: str
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False


HELP = {
    "requeue": """Start terminal or failed emails anew.

    INVALID ones start from intake, FAILED ones from sending: both send mail. Sent ones start from the callback alone.
    By filter, say which with --status or --unknown.
    """,
    "retry": """Try waiting emails now that were to be tried later.

    Tries and age stay as they are. In ACCEPTED and READY this sends mail sooner.
    """,
    "park": """Set waiting emails aside until they are released.

    What is being worked on goes on.
    """,
    "release": """Let parked emails go on.

    They are due at once, and their tries are counted anew. In ACCEPTED and READY this sends mail.
    """,
    "cancel": """Have emails not sent that are not sent yet.

    Whoever takes them up next makes them FAILED, and their producer is told. What is just being sent may be sent all
    the same.
    """,
}

_REST = """
    Name ids, or a filter with --all or --limit; what is done by filter is told before, and asked for on a terminal.
    Exit code 1 when one of the ids is not there or it cannot be done to it.
    """


def command(verb: str) -> Callable[..., None]:
    """The command of that name; all of them take the same."""

    def steer(
        ids: Annotated[
            list[str] | None, typer.Argument(help="Ids of emails.", metavar="ID", show_default=False)
        ] = None,
        *,
        why: Why,
        who: Who = "",
        status: Annotated[str, typer.Option(help="By filter: only this status.", metavar="STATUS")] = "",
        parked: Annotated[bool, typer.Option("--parked", help="By filter: only what is set aside.")] = False,
        unknown: Annotated[
            bool, typer.Option("--unknown", help="By filter: only mail that the relay may have.")
        ] = False,
        domain: Annotated[
            str, typer.Option(help="By filter: only mail to this recipient domain.", metavar="DOMAIN")
        ] = "",
        everything: Annotated[bool, typer.Option("--all", help="By filter: all that it finds.")] = False,
        limit: Annotated[
            int, typer.Option(min=0, show_default=False, help="By filter: so many at the most.", metavar="N")
        ] = 0,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask before acting by filter.")] = False,
        store: StoreOption = None,
        as_json: Json = False,
    ) -> None:
        from mailculator.insight.actions import Action

        wanted = listing.Wanted(listing.status(status), parked, unknown, "", limit, listing.domain(domain))
        _check(ids or [], wanted, everything=everything)
        by = signed(who, why)
        order = Order(Action(verb), tuple(ids or ()), wanted, *by, dry_run=dry_run, yes=yes, as_json=as_json)
        raise typer.Exit(output.run(_steer(order, store)))

    steer.__doc__ = HELP[verb].rstrip() + "\n" + _REST
    return steer


async def _steer(order: Order, store: StoreName | None) -> int:
    from mailculator.cli import deeds

    settings, name = load_one(store)
    deeds.check(order)
    async with opened(settings, name) as queue:
        return await deeds.by_ids(queue, order) if order.ids else await deeds.by_filter(queue, order)


def _check(ids: list[str], wanted: listing.Wanted, *, everything: bool) -> None:
    filtered = wanted.narrow or everything or bool(wanted.limit)
    if ids and filtered:
        raise output.misused("ID", "name emails or give a filter, not both")
    if not ids and not filtered:
        raise output.misused("ID", "name emails, or give a filter with --all or --limit")
    if filtered and everything == bool(wanted.limit):
        raise output.misused("--all", "a filter needs --all or --limit N, and one of them only")
