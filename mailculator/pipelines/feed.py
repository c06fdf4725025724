"""A large message on its way to the relay: its attachments are read and encoded in threads, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mailculator.errors import PayloadUnavailable
from mailculator.message_stream import MessageStream
from mailculator.pipelines.threads import Threads

ROOM = 1_572_864
"""Octets that a streamed message takes beside its texts: a piece of an attachment, encoded, checked and on its way."""


class Feed:
    """A transport.base.StreamedMessage, for one send.

    Arguments:
        eight_bit: whether its header holds UTF-8 (RFC 6532); all else is 7-bit.
        patience: seconds that a piece may take. The relay waits meanwhile, for as long as it pleases.
    """

    def __init__(self, message: MessageStream, threads: Threads, *, eight_bit: bool, patience: float) -> None:
        self.size = message.size
        self.eight_bit = eight_bit
        # Given up half way, it closes its file as soon as nobody refers to it, be that the loop or a thread.
        self._pieces: Iterator[bytes] = iter(message)
        self._threads = threads
        self._patience = patience

    async def next_piece(self) -> bytes:
        """As StreamedMessage. Errors: PayloadError and PayloadUnavailable, as of reading an attachment."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._threads.run(next, self._pieces, b"")
        except TimeoutError as error:
            raise PayloadUnavailable(f"an attachment could not be read within {self._patience:g} s") from error
