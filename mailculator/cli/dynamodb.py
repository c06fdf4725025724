"""dynamodb adopt, dynamodb resume: what only the queue in DynamoDB needs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mailculator.cli import output
from mailculator.cli.progress import Progress
from mailculator.cli.service import Json
from mailculator.cli.signing import Who, Why, signed
from mailculator.cli.stores import StoreName, load_one, opened

if TYPE_CHECKING:
    from mailculator.stores.base import Store
    from mailculator.stores.dynamodb.store import DynamodbStore
    from mailculator.stores.dynamodb.sweep import Adoption

application = typer.Typer(help="What only DynamoDB needs: adopt, resume.", no_args_is_help=True, rich_markup_mode=None)


@application.command("adopt")
def adopt(
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Records a second, at the most.", metavar="N")] = 200.0,
    as_json: Json = False,
) -> None:
    """Go through what the older producer has left.

    Unfinished emails are taken up, and their ACCEPTED records and those of finished ones are deleted, unless
    MAILCULATOR_DYNAMODB_KEEP_ACCEPTED keeps them. The service may work beside it. End it at any time: run again, it
    goes on where it was.
    """
    output.run(_adopt(rate, as_json=as_json))


@application.command("resume")
def resume(why: Why, who: Who = "", as_json: Json = False) -> None:
    """Let every replica claim from DynamoDB again.

    Another program's writes have stopped them all: make sure first that no older consumer works on the table. Where
    nothing has stopped them, nothing happens.
    """
    output.run(_resume(who, why, as_json=as_json))


async def _adopt(rate: float, *, as_json: bool) -> None:
    import asyncio

    settings, name = load_one(StoreName.DYNAMODB)
    async with opened(settings, name) as queue:
        try:
            found = await _dynamodb(queue).adopt(rate=rate, progress=Teller())
        except asyncio.CancelledError:
            print("ended before everything was gone through; run it again, and it goes on from here", file=sys.stderr)
            raise
    if as_json:
        output.document(asdict(found))
    else:
        print(describe(found))


async def _resume(who: str, why: str, *, as_json: bool) -> None:
    asker, reason = signed(who, why)
    settings, name = load_one(StoreName.DYNAMODB)
    async with opened(settings, name) as queue:
        resumed = await _dynamodb(queue).resume(asker, reason)
    if as_json:
        output.document({"resumed": resumed})
    else:
        print("claims from DynamoDB go on" if resumed else "nothing had stopped them: claims from DynamoDB go on")


def _dynamodb(queue: Store) -> DynamodbStore:
    return cast("DynamodbStore", queue)


def describe(found: Adoption) -> str:
    """How far it is, on one line."""
    parts = [f"{found.seen} records seen", f"{found.adopted} emails taken up", f"{found.cleared} ACCEPTED records gone"]
    if found.left:
        parts.append(f"{found.left} left: nobody can work on them")
    return ", ".join([*parts, *(["everything gone through"] if found.done else [])])


class Teller:
    """Tells the progress of an adoption, but for its end: the result says that.

    Arguments:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = Progress(clock)

    def __call__(self, found: Adoption) -> None:
        """Tell it, unless something was told just now, or the result is about to be."""
        if not found.done:
            self._progress(lambda: describe(found))
