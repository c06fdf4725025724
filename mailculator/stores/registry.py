"""The backends there are, by name. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

from mailculator.config import Settings
from mailculator.events import Observer, ignore
from mailculator.stores.base import Schema, Store
from mailculator.stores.guard import DuplicateGuard


class Backend(Protocol):
    """What a backend's module offers.

    `open_store` opens the queue; with `service` it is opened as the service does it: the schema is checked first
    (SchemaError), and a backend for one service process at a time takes its lock (ConfigError when it is held).
    Without, as the command line does it. StoreUnavailable when the database is away.

    Arguments:
        observer: told what the store notices beyond the answers of its verbs.
        guard: through which stores that share their ids agree on who sends one; None where only one is worked on.
    """

    async def open_store(
        self, settings: Settings, *, service: bool, observer: Observer = ignore, guard: DuplicateGuard | None = None
    ) -> Store:
        """Open the queue the settings name."""

    def open_schema(self, settings: Settings) -> Schema:
        """The schema of the same database."""


_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "mysql": "mailculator.stores.mariadb",
        "sqlite": "mailculator.stores.sqlite",
        "dynamodb": "mailculator.stores.dynamodb",
    }
)

NAMES: tuple[str, ...] = tuple(_MODULES)


def enabled(settings: Settings) -> tuple[str, ...]:
    """The names of the backends whose pipelines are switched on."""
    flags = {
        "mysql": settings.mysql_pipelines_enabled,
        "sqlite": settings.sqlite_pipelines_enabled,
        "dynamodb": settings.dynamodb_pipelines_enabled,
    }
    return tuple(name for name in NAMES if flags[name])


def backend(name: str) -> Backend:
    """The backend of that name, imported now. KeyError for a name that is not in NAMES."""
    return cast(Backend, import_module(_MODULES[name]))
