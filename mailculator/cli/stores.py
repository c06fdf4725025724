"""Opening queues for commands: beside a running service, and only those that the command needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator.cli import output
from mailculator.errors import SchemaError

if TYPE_CHECKING:
    from mailculator.config import Settings
    from mailculator.stores.base import Store


class StoreName(StrEnum):
    """What --store takes; the names of stores.registry, which --help would be slower with."""

    MYSQL = "mysql"
    SQLITE = "sqlite"
    DYNAMODB = "dynamodb"


STORE_METAVAR = "mysql|sqlite|dynamodb"
StoreOption = Annotated[
    StoreName | None, typer.Option("--store", help="Which queue. Default: the enabled one.", metavar=STORE_METAVAR)
]


def load(name: StoreName | None) -> tuple[Settings, tuple[str, ...]]:
    """The settings a queue command needs, and the stores it means: the named one, or every enabled one.

    Errors: ConfigError.
    """
    from mailculator import config
    from mailculator.stores import registry

    if name is None:
        settings = config.load(needs={"store"})
        return settings, registry.enabled(settings)
    return config.load(needs={name.value}), (name.value,)


def load_one(name: StoreName | None) -> tuple[Settings, str]:
    """As `load`, for a command that works on one store. Errors: ConfigError; BadParameter when several are enabled."""
    settings, names = load(name)
    if len(names) > 1:
        raise output.misused("--store", f"several queues are enabled, name one: {', '.join(names)}")
    return settings, names[0]


def place(settings: Settings, name: str) -> str:
    """Where a store is, for people; no secret in it."""
    if name == "sqlite":
        return str(settings.sqlite_path.absolute())
    if name == "dynamodb":
        return f"{settings.email_outbox_table} at {settings.aws_endpoint_url or settings.aws_region}"
    return f"{settings.mysql_database} on {settings.mysql_host}:{settings.mysql_port}"


@asynccontextmanager
async def opened(settings: Settings, name: str) -> AsyncIterator[Store]:
    """A store, for the time of the block.

    Errors: StoreError; SchemaError, so that a database without a schema is told in words and not in the driver's.
    """
    from mailculator.stores import registry

    backend = registry.backend(name)
    refusal = (await backend.open_schema(settings).state()).refusal
    if refusal is not None:
        raise SchemaError(name, f"{place(settings, name)}: {refusal}")
    store = await backend.open_store(settings, service=False)
    try:
        yield store
    finally:
        await store.close()
