"""A callback receiver that acknowledges everything and keeps what it was told, for the demo and for compose."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

import orjson
from aiohttp import web


class Receiver:
    """An HTTP server that answers 200 to every callback.

    Arguments:
        log: a file that gets each callback's body, one a line; None keeps none.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.codes: Counter[str] = Counter()
        self.port = 0
        self._log = log
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, which stands in `port` then."""
        application = web.Application(client_max_size=64 * 1024)
        application.router.add_post("/callback", self._receive)
        application.router.add_get("/health", self._health)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            code = str(orjson.loads(body)["code"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return web.Response(status=400, text="not a callback")
        if self._log is not None:
            await asyncio.to_thread(_append, self._log, body)
        self.codes[code] += 1
        return web.Response(text="ok")

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "pass", "received": dict(self.codes)})


def _append(path: Path, body: bytes) -> None:
    with path.open("ab") as file:
        file.write(body + b"\n")


async def _serve(port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # as a container's first process it would not hear them otherwise
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    receiver = Receiver(Path("/dev/stdout"))
    await receiver.start("0.0.0.0", port)  # noqa: S104  # compose reaches it from other containers
    print(f"callbacks are acknowledged at port {receiver.port}", flush=True)  # noqa: T201
    await stopped.wait()
    await receiver.stop()


def main() -> None:
    """`python -m mailculator.demo.receiver [PORT]`, by default 8090."""
    asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8090))


if __name__ == "__main__":
    main()
