"""Proxies before a relay and a database, for moments that neither would ever hold still at."""

from __future__ import annotations

import asyncio

from tests.support.smtp_peer import SmtpPeer


class Gate:
    """A TCP proxy before the relay that keeps the reply to one command to itself until `open`.

    Arguments:
        target: the relay.
        command: the beginning of the command whose reply is kept back: RCPT, DATA.
    """

    def __init__(self, target: SmtpPeer, command: str) -> None:
        self.port = 0
        self.host = target.host
        self.kept = 0
        self._target = target
        self._command = command.encode()
        self._opened = asyncio.Event()
        self._news = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Gate:
        self._listener = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def open(self) -> None:
        """Pass on everything that was kept, and keep nothing more."""
        self._opened.set()

    async def keeps(self, replies: int) -> None:
        """Until that many replies are kept back."""
        while self.kept < replies:
            self._news.clear()
            await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            relay_reader, relay = await asyncio.open_connection(self._target.host, self._target.port)
            asked = asyncio.Event()
            up = asyncio.create_task(self._upstream(reader, relay, asked))
            try:
                await self._downstream(relay_reader, writer, asked)
            finally:
                up.cancel()
                relay.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _upstream(self, reader: asyncio.StreamReader, relay: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if data.startswith(self._command):
                asked.set()
            relay.write(data)
        relay.close()

    async def _downstream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if asked.is_set() and not self._opened.is_set():
                self.kept += 1
                self._news.set()
                await self._opened.wait()
            writer.write(data)


class VanishingServer:
    """A TCP proxy before MariaDB: it carries out one COMMIT, keeps the reply, and is gone until `come_back`.

    Arguments:
        host, port: the server's.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.gone = asyncio.Event()
        self._target = (host, port)
        self._statement: bytes | None = None
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> VanishingServer:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def vanish_after_commit_of(self, statement: str) -> None:
        """Be gone when the next transaction with a statement that begins so has been committed."""
        self._statement = b"\x03" + statement.encode()

    def come_back(self) -> None:
        """Take connections again."""
        self.gone.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self.gone.is_set():
                await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server = await asyncio.open_connection(*self._target)
        self._writers |= {writer, server}
        last = asyncio.Event()
        up = asyncio.create_task(self._upstream(reader, server, last))
        try:
            while data := await server_reader.read(65536):
                if last.is_set():
                    self._vanish()
                    return
                writer.write(data)
        finally:
            up.cancel()
            server.transport.abort()
            self._writers -= {writer, server}

    async def _upstream(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, last: asyncio.Event) -> None:
        marked = False
        while data := await reader.read(65536):
            if self._statement is not None and self._statement in data:
                self._statement, marked = None, True
            if marked and b"\x03COMMIT" in data:
                last.set()
            server.write(data)
        server.close()

    def _vanish(self) -> None:
        self.gone.set()
        for writer in self._writers:
            writer.transport.abort()
