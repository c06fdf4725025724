"""moto's DynamoDB over HTTP, made fit for concurrent clients: one server for a whole run of the tests.

moto keeps its tables in plain dictionaries and looks after none of them: two requests at once end in an HTTP 500
("dictionary changed size during iteration"), and a transaction that fails puts its copy of the tables back over what
others wrote meanwhile, so that one email has two winners. One thread that does one request after the other makes it as
serial as it believes it is, and no slower: it is one process under one interpreter lock anyway.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from email.utils import formatdate
from threading import Thread
from typing import Any

from tests.support.moto_speed import hasten

REGION = "eu-west-1"
KEY = "test"
"""Access key and secret of every client: emulators look at neither, but botocore wants both."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which the thread has to let the event loop of the tests run, if it asks. moto computes for some 20 ms
on each request, and the loop has little to do, often: with Python's 5 ms each of its steps would wait that long."""

Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


class _OneAtATime:
    """A WSGI application that serves one request after the other, in the order in which they came.

    A lock would let one that has just been served overtake those that wait, until they time out.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="moto-worker")

    def __call__(self, environ: dict[str, Any], start_response: Start) -> list[bytes]:
        # Read before it is this one's turn: a client that is killed amid a request must not hold up the rest.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            # The server's clock is the machine's: it must not follow a `time.time` that a test has replaced.
            date = formatdate(time.clock_gettime(time.CLOCK_REALTIME), usegmt=True)
            kept = [(name, value) for name, value in headers if name.lower() != "date"]
            return start_response(status, [*kept, ("Date", date)], *more)

        return self._worker.submit(self._serve, environ, start).result()

    def _serve(self, environ: dict[str, Any], start: Start) -> list[bytes]:
        answer = self._application(environ, start)
        try:
            return list(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def close(self) -> None:
        self._worker.shutdown()


class MotoServer:
    """moto on 127.0.0.1, on a free port, in a thread of this process."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._server: Any = None
        self._thread: Thread | None = None
        self._application: _OneAtATime | None = None
        self._switch_interval = sys.getswitchinterval()

    def start(self) -> None:
        """Returns when it takes connections."""
        # 0.6 s: only for who uses it.
        from moto.moto_server.werkzeug_app import create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        hasten()

        class Quiet(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, *_: Any) -> None:
                """Say nothing of requests."""

        self._application = _OneAtATime(create_backend_app("dynamodb"))
        self._server = make_server("127.0.0.1", 0, self._application, threaded=True, request_handler=Quiet)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, name="moto", daemon=True)
        self._thread.start()
        sys.setswitchinterval(SWITCH_INTERVAL)

    def close(self) -> None:
        """End it; its tables are gone. Safe to call twice."""
        if self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._thread = None
            sys.setswitchinterval(self._switch_interval)
        if self._application is not None:
            self._application.close()
            self._application = None


class _Shared:
    server: MotoServer | None = None
    users = 0


@asynccontextmanager
async def shared_moto() -> AsyncIterator[MotoServer]:
    """The run's own server: started for the first who asks, ended with the last. Session fixtures hold it."""
    _Shared.users += 1
    try:
        if _Shared.server is None:
            server = MotoServer()
            server.start()
            _Shared.server = server
        yield _Shared.server
    finally:
        _Shared.users -= 1
        if _Shared.users == 0 and _Shared.server is not None:
            _Shared.server.close()
            _Shared.server = None
