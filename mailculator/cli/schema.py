"""schema apply, schema status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from mailculator.cli import output
from mailculator.cli.service import Json
from mailculator.cli.stores import StoreName, StoreOption, load

if TYPE_CHECKING:
    from mailculator.stores.base import SchemaState

application = typer.Typer(
    help="Look at the schema, and bring it up to date.", no_args_is_help=True, rich_markup_mode=None
)


@application.command("apply")
def apply(store: StoreOption = None, as_json: Json = False) -> None:
    """Bring the schema up to date; any number of times.

    Works on an empty database and on a live one of the older service.
    """
    output.run(_apply(store, as_json=as_json))


@application.command("status")
def status(store: StoreOption = None, as_json: Json = False) -> None:
    """Compare the schema with what this version needs.

    Exit code 1 when `schema apply` has something to do.
    """
    raise typer.Exit(output.run(_status(store, as_json=as_json)))


async def _apply(chosen: StoreName | None, *, as_json: bool) -> None:
    from mailculator.stores import registry

    settings, names = load(chosen)
    applied: dict[str, tuple[str, ...]] = {}
    for name in names:
        schema = registry.backend(name).open_schema(settings)
        applied[name] = await schema.apply(lambda step, name=name: _tell(name, step))  # type: ignore[misc]
    if as_json:
        output.document(applied)
        return
    for name, files in applied.items():
        print(f"{name}: {'applied ' + ', '.join(files) if files else 'nothing to do, the schema is up to date'}")


def _tell(name: str, step: str) -> None:
    print(output.clean(f"{name}: {step.removeprefix(f'{name}: ')}"), file=sys.stderr, flush=True)


async def _status(chosen: StoreName | None, *, as_json: bool) -> int:
    from mailculator.stores import registry

    settings, names = load(chosen)
    states = {name: await registry.backend(name).open_schema(settings).state() for name in names}
    if as_json:
        output.document({name: describe(state) for name, state in states.items()})
    else:
        for name, state in states.items():
            for line in _lines(state):
                print(output.clean(f"{name}: {line}"))
    return output.OK if all(is_current(state) for state in states.values()) else output.FAILURE


def is_current(state: SchemaState) -> bool:
    """Whether there is nothing to do."""
    return not (state.pending or state.differences or state.refusal)


def describe(state: SchemaState) -> dict[str, object]:
    """A state as it stands in JSON."""
    return {
        "applied": state.applied,
        "pending": state.pending,
        "oldest_service": state.oldest_service,
        "differences": state.differences,
        "refusal": state.refusal,
    }


def _lines(state: SchemaState) -> list[str]:
    lines = [f"applied {name}" for name in state.applied] + [f"pending {name}" for name in state.pending]
    lines += [f"differs: {difference}" for difference in state.differences]
    if state.refusal:
        lines.append(f"this version will not start on it: {state.refusal}")
    return lines if not is_current(state) else [*lines, "up to date"]
