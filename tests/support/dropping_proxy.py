"""A TCP proxy before a MariaDB server: it cuts a connection at a named statement, before the server has it or after."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass
class _Link:
    """One client's connection and the one to the server; `cut` closes both at the server's next words."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    cut: bool = False

    def close(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class DroppingProxy:
    """Passes everything on until it is armed; `dropped` is set when it has cut a connection.

    Arguments:
        host, port: the server's.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.dropped = asyncio.Event()
        self._target = (host, port)
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: list[_Link] = []
        self._statement: bytes | None = None
        self._after = False

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for link in tuple(self._links):
            link.close()
        await asyncio.gather(*self._tasks)
        await asyncio.sleep(0)

    def drop_statement(self, sql: str) -> None:
        """Cut the next connection that sends a statement beginning with `sql`; the server does not get it."""
        self._arm(sql, after=False)

    def drop_reply(self, sql: str) -> None:
        """Cut the next connection that sends a statement beginning with `sql`, when the server has answered it."""
        self._arm(sql, after=True)

    def _arm(self, sql: str, *, after: bool) -> None:
        self.dropped.clear()
        # COM_QUERY and the statement's first words, as they stand in the packet.
        self._statement, self._after = b"\x03" + sql.encode(), after

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server_reader, server = await asyncio.open_connection(*self._target)
            link = _Link(writer, server)
            self._links.append(link)
            try:
                await asyncio.gather(self._upstream(link, reader), self._downstream(link, server_reader))
            finally:
                link.close()
        except OSError:
            # One side went away: the other is told so, as by a network.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _upstream(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            if self._statement is not None and self._statement in data:
                self._statement = None
                if not self._after:
                    self._cut(link)
                    return
                link.cut = True
            link.server.write(data)
            await link.server.drain()
        link.close()

    async def _downstream(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            if link.cut:
                self._cut(link)
                return
            link.client.write(data)
            await link.client.drain()
        link.close()

    def _cut(self, link: _Link) -> None:
        link.close()
        self.dropped.set()
