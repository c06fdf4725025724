"""demo: the service's main job on embedded parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mailculator.cli import output
from mailculator.cli.stores import StoreName


def demo(
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many sample mails.", metavar="N")] = 60,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when every sample has ended, instead of serving on.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on standard output; ends when every sample has.")
    ] = False,
    store: Annotated[
        StoreName, typer.Option(help="mysql starts a private mariadbd.", metavar="mysql|sqlite")
    ] = StoreName.SQLITE,
    directory: Annotated[
        Path | None,
        typer.Option(help="Where everything goes: a new or an empty one. Default: a temporary one.", metavar="PATH"),
    ] = None,
) -> None:
    """Show the service at work on sample mail.

    It has a queue, an SMTP sink and a callback receiver of its own, and touches no configured store, whatever the
    environment says. Exit code 1 when a sample ended otherwise than it should.
    """
    from mailculator.demo import show

    if store is StoreName.DYNAMODB:
        raise output.misused("--store", "must be mysql or sqlite: DynamoDB has no server of its own to start here")
    if directory is not None and show.is_taken(directory):
        raise output.misused("--directory", f"{directory} is not an empty directory; the demo wants one of its own")
    options = show.Options(count, until_done=until_done or as_json, as_json=as_json, store=store, directory=directory)
    raise typer.Exit(output.run(show.show(options)))
