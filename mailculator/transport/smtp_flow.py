"""Whether all that was written has left this process: the event loop's own buffer is empty, beneath TLS too.

Flow control pauses a writer only above a limit, 64 KB by default, and TLS has a limit of its own above that of the
socket, which it hides. Here both are zero, and both are watched: a message counts as written when our kernel has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast


class Flow:
    """The state of a connection's write buffers.

    Arguments:
        changed: called when they have become empty.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._paused = False
        self._paused_beneath = False

    @property
    def empty(self) -> bool:
        """Whether all that was written has been taken from us."""
        return not (self._paused or self._paused_beneath)

    def watch(self, transport: asyncio.WriteTransport) -> None:
        """Have a socket's transport report every octet that it could not hand over at once."""
        transport.set_write_buffer_limits(high=0)

    def watch_tls(self, raw: asyncio.Transport, tls: asyncio.WriteTransport) -> None:
        """The same for TLS over such a transport."""
        # Not 0: TLS pauses at its limit, not above it, and would pause with nothing to write.
        tls.set_write_buffer_limits(high=1, low=0)
        raw.set_protocol(_Beneath(cast(asyncio.BufferedProtocol, raw.get_protocol()), self))

    def pause(self) -> None:
        """The transport that is written to holds something back."""
        self._paused = True

    def resume(self) -> None:
        """It holds nothing back any more."""
        self._paused = False
        self._changed()

    def pause_beneath(self) -> None:
        """The socket beneath TLS holds something back."""
        self._paused_beneath = True

    def resume_beneath(self) -> None:
        """It holds nothing back any more."""
        self._paused_beneath = False
        self._changed()


class _Beneath(asyncio.BufferedProtocol):
    """Stands between a socket and its TLS, and passes everything on."""

    def __init__(self, tls: asyncio.BufferedProtocol, flow: Flow) -> None:
        self._tls = tls
        self._flow = flow

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:
        return self._tls.get_buffer(sizehint)  # type: ignore[return-value]  # typeshed: any buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._tls.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        return self._tls.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tls.connection_lost(exc)

    def pause_writing(self) -> None:
        self._flow.pause_beneath()
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        # TLS writes what it had to keep, which may pause the socket again; so it is told last.
        self._flow.resume_beneath()
        self._tls.resume_writing()
