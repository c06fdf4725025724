"""A message in pieces, as its maker hands it to a relay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle


class Stream:
    """A StreamedMessage.

    Arguments:
        sizes: octets of the pieces, over and over.
        size: what is announced; None = what is true.
        before: awaited before each piece with the octets that went before it.
    """

    def __init__(
        self,
        message: bytes,
        sizes: Sequence[int] = (1_000_000,),
        *,
        size: int | None = None,
        eight_bit: bool = False,
        before: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.size = len(message) if size is None else size
        self.eight_bit = eight_bit
        self._message = message
        self._sizes = cycle(sizes)
        self._before = before
        self._at = 0

    async def next_piece(self) -> bytes:
        if self._before is not None:
            await self._before(self._at)
        start, self._at = self._at, self._at + next(self._sizes)
        return self._message[start : self._at]
