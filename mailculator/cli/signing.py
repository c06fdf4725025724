"""Who asks for something, and why: said with every action, and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from mailculator.cli import output

Why = Annotated[str, typer.Option("--why", help="The reason, kept in the history.", metavar="TEXT")]
Who = Annotated[
    str, typer.Option("--as", help="Who asks, kept in the history. Default: the user at the keyboard.", metavar="NAME")
]


def signed(who: str, why: str) -> tuple[str, str]:
    """Both as they are kept. Errors: BadParameter where no reason is given."""
    from mailculator.lifecycle import clean

    if not clean(why):
        raise output.misused("--why", "say why; the history keeps it")
    return clean(who) or output.operator(), clean(why)
