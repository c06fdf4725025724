"""Looks at several queues at once, again and again: one that is away keeps no other from being seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from mailculator.cli import output
from mailculator.cli.stores import opened
from mailculator.config import Settings
from mailculator.errors import ConfigError, StoreError
from mailculator.insight.problems import Problem, Severity, problems
from mailculator.insight.view import View, look
from mailculator.stores.base import Store

_WORST = (output.CONFIG, output.UNAVAILABLE, output.FAILURE)


@dataclass(frozen=True, slots=True)
class Seen:
    """One queue.

    Arguments:
        problems: what is wrong with it, worst first.
        code: the exit code that it calls for.
    """

    view: View
    problems: Sequence[Problem]
    code: int


class Looker:
    """Opens each queue once it can be, and closes all of them when the block is left."""

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        self._settings = settings
        self._names = names
        self._stores: dict[str, Store] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    async def look(self, *, terminal: bool = False) -> list[Seen]:
        """All of them, at once: one that is away takes its time to be found so."""
        return await asyncio.gather(*(self._see(name, terminal=terminal) for name in self._names))

    async def _see(self, name: str, *, terminal: bool) -> Seen:
        code = output.UNAVAILABLE
        try:
            view = await look(await self._store(name), terminal=terminal)
        except ConfigError as error:
            view, code = View(name, datetime.now(UTC), error=str(error)), output.CONFIG
        except StoreError as error:
            view = View(name, datetime.now(UTC), error=str(error))
        found = problems(view)
        if view.error is None:
            critical = any(one.severity is Severity.CRITICAL for one in found)
            code = output.FAILURE if critical else output.OK
        return Seen(view, found, code)

    async def _store(self, name: str) -> Store:
        if name not in self._stores:
            self._stores[name] = await self._open.enter_async_context(opened(self._settings, name))
        return self._stores[name]


def exit_code(seen: Sequence[Seen]) -> int:
    """What must be mended first comes first; 0 where nothing must."""
    codes = {one.code for one in seen}
    return next((code for code in _WORST if code in codes), output.OK)
