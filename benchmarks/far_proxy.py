"""A TCP proxy that puts a relay far away: what is said arrives later, in order, at any rate.

    python -m benchmarks.far_proxy PORT SECONDS    prints its own port; SECONDS are those of one direction

A process of its own: what it uses is not counted to whom it serves. It runs until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

PIECE = 1 << 16


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass on all that comes, each piece `delay` seconds after it came."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(deliver())
        piece = b"-"
        while piece:
            try:
                piece = await reader.read(PIECE)
            except ConnectionError:
                piece = b""
            pieces.put_nowait((loop.time() + delay, piece))


async def serve(port: int, delay: float) -> None:
    """Until it is ended."""

    async def join(near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * delay)  # a handshake goes there and back
        far, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(near, far_writer, delay))
                group.create_task(carry(far, near_writer, delay))
        except* ConnectionError:
            far_writer.close()
            near_writer.close()

    server = await asyncio.start_server(join, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
