"""What a backend gives the contract suite beside its Store: a fresh queue, a second opinion, and time that passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mailculator.stores.base import Schema, Store


class Harness(Protocol):
    """One backend under test, for a whole session. Made without arguments; servers start at the first `fresh`."""

    name: str

    async def fresh(self) -> Store:
        """An empty queue, opened as the service does it. Closes every Store handed out before."""

    async def another(self) -> Store:
        """A second Store on the same queue, with connections of its own."""

    def schema(self) -> Schema:
        """The schema of the queue under test."""

    async def rewind(self, seconds: float) -> None:
        """Make every stored time that many seconds older, `ttl` and the history included, and touch nothing else.

        To the queue, time has passed, and no test has slept.
        """

    async def execute(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        """Portable SQL on a connection of its own, committed, as a producer or an operator would run it.

        `?` marks a parameter. Returns the rows of a query, nothing for the rest.
        """

    async def close(self) -> None:
        """Stop and remove everything."""
