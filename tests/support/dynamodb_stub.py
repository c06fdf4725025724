"""A server that speaks DynamoDB's JSON and answers what a test says: refusals, resets, silence, half of an answer."""

from __future__ import annotations

import asyncio
import json
import zlib
from email.utils import formatdate
from typing import Any

EPOCH = 1_900_000_000
"""The server's time: not the machine's."""


class Reply:
    """An answer of the server.

    Arguments:
        content: the JSON body; text is sent as it is.
        cut: bytes of the body to send before the connection is reset; None = all.
    """

    def __init__(self, content: Any, status: int = 200, *, cut: int | None = None, date: bool = True) -> None:
        self.content = content
        self.status = status
        self.cut = cut
        self.date = date

    def bytes(self) -> tuple[bytes, bytes]:
        body = (self.content if isinstance(self.content, str) else json.dumps(self.content)).encode()
        lines = [
            f"HTTP/1.1 {self.status} X",
            f"Content-Length: {len(body)}",
            "Content-Type: application/x-amz-json-1.0",
        ]
        if self.date:
            lines.append(f"Date: {formatdate(EPOCH, usegmt=True)}")
        if not isinstance(self.content, str):
            lines += ["x-amzn-RequestId: R", f"x-amz-crc32: {zlib.crc32(body)}"]
        return "\r\n".join([*lines, "", ""]).encode(), body


def error(code: str, message: str = "", status: int = 400, **fields: Any) -> Reply:
    return Reply({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **fields}, status)


RESET = Reply({}, cut=-1)
"""The connection is reset instead of an answer."""

SILENCE = Reply({}, cut=-2)
"""The connection is accepted, the request read, and nothing ever sent."""


class Server:
    """Answers requests in turn, the last answer for ever; DescribeTable is no part of a test's script."""

    def __init__(self) -> None:
        self.script: list[Reply] = [Reply({})]
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.arrived = asyncio.Event()
        self.described = Reply({"Table": {}})
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        request = json.loads(await reader.readexactly(int(fields["content-length"])))
        operation = fields["x-amz-target"].rpartition(".")[2]
        reply = self.described if operation == "describetable" else self._next(operation, request)
        self.arrived.set()
        if reply is SILENCE:
            await reader.read()
            return False
        head_bytes, body = reply.bytes()
        if reply.cut is not None:
            if reply.cut >= 0:
                writer.write(head_bytes + body[: reply.cut])
                await writer.drain()
            writer.transport.abort()
            return False
        writer.write(head_bytes + body)
        await writer.drain()
        return True

    def _next(self, operation: str, request: dict[str, Any]) -> Reply:
        self.requests.append((operation, request))
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]
