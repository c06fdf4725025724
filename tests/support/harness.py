"""What a backend gives the contract suite beside its Store: a fresh queue, a second opinion, and time that passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mailculator.stores.base import Store


class Harness(Protocol):
    """One backend under test. `fresh` gives an empty queue; `another` a second Store on the same queue."""

    name: str

    async def fresh(self) -> Store: ...

    async def another(self) -> Store: ...

    async def rewind(self, seconds: float) -> None:
        """Make every stored time that many seconds older: to the queue, time has passed, and no test has slept."""

    async def execute(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        """Portable SQL on a connection of its own, as a producer or an operator would; `?` marks a parameter."""

    async def close(self) -> None: ...
