"""The least callback server: a process of its own, so that its CPU is nobody else's.

    python -m benchmarks.callback_server        prints its port, then answers until it is ended

Every POST gets 200 without a body, on a connection that stays open. `GET /when/N` is answered once N of them came.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

YES = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Count:
    """POSTs that were answered, and who waits for how many."""

    def __init__(self) -> None:
        self.came = 0
        self.waiting: list[tuple[int, asyncio.Transport]] = []

    def one_more(self) -> None:
        self.came += 1
        if self.waiting:
            self.tell()

    def tell(self) -> None:
        for wanted, transport in self.waiting:
            if self.came >= wanted:
                body = b"%d" % self.came
                transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        self.waiting = [one for one in self.waiting if self.came < one[0]]


class Answering(asyncio.Protocol):
    """One connection. It takes requests as this repository's clients send them, and no others."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            if head.startswith(b"GET /when/"):
                self._buffer = self._buffer[end + 4 :]
                self._count.waiting.append((int(head[10:].split(b" ", 1)[0]), self._transport))
                self._count.tell()
                continue
            whole = end + 4 + _length(head)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._transport.write(YES)
            self._count.one_more()


def _length(head: bytes) -> int:
    """Of the body (RFC 9112 section 6.2): these clients say it always."""
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0])


async def serve() -> None:
    """Until the process is ended."""
    count = Count()
    server = await asyncio.get_running_loop().create_server(lambda: Answering(count), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
