"""Amazon's DynamoDB Local on a free port, and a command that runs beside it:

    python -m tests.support.dynamodb_local [--for-contract] COMMAND [ARGUMENT…]

The command finds it by DYNAMODB_TEST_ENDPOINT, or by DYNAMODB_CONTRACT_ENDPOINT, which the contract suite alone heeds.
Where DYNAMODB_TEST_ENDPOINT is set already, nothing is started, and what it names must answer.
Exit code: the command's; 69 when there is no DynamoDB Local to be had here, with the reason.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

ENDPOINT = "DYNAMODB_TEST_ENDPOINT"
"""Names a running DynamoDB (DynamoDB Local as a rule) that tests use instead of moto."""
CONTRACT_ENDPOINT = "DYNAMODB_CONTRACT_ENDPOINT"
"""The same for the contract suite alone; all other tests stay on moto."""
UNAVAILABLE = 69
ROOT = Path(__file__).resolve().parents[2]
FETCH = ROOT / "tools" / "dynamodb_local.sh"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
FOR_CONTRACT = "--for-contract"
_MAIN = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"


class Unavailable(Exception):
    """There is no DynamoDB Local; the text says what is lacking."""


class DynamodbLocal:
    """One DynamoDB Local in memory, on a free port.

    Arguments:
        jars: the directory of its jars, as `fetch` gives it.
    """

    def __init__(self, jars: Path) -> None:
        self.endpoint = ""
        self._jars = jars
        self._folder = tempfile.TemporaryDirectory(prefix="mailculator-dynamodb-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running server."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Returns when it answers. Errors: Unavailable, with its last words."""
        port = _free_port()
        log = Path(self._folder.name) / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                # Credentials and region choose among databases unless it is told to have one. Its default is to report
                # to Amazon how it is used.
                [
                    "java",
                    "-cp",
                    f"{self._jars}/*",
                    _MAIN,
                    "-inMemory",
                    "-sharedDb",
                    "-disableTelemetry",
                    "-port",
                    str(port),
                ],
                # It leaves a file where it stands. In a session of its own it is ended by us alone, not by a Ctrl-C.
                cwd=self._folder.name,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_TIMEOUT
        while not answers(self.endpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                self.close()
                raise Unavailable(f"it did not come up:\n{words}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it; what was in it is gone. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()


def fetch() -> Path:
    """The directory of its jars, fetched now if need be. Errors: Unavailable."""
    done = subprocess.run([FETCH], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(done.stderr.strip())
    return Path(done.stdout.strip())


def answers(endpoint: str) -> bool:
    """Whether something there speaks HTTP; DynamoDB has but errors for who asks for nothing."""
    parts = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The address of a DynamoDB Local: the one that the environment names, or one for the length of this context.

    Errors: Unavailable.
    """
    named = os.environ.get(ENDPOINT)
    if named:
        if not answers(named):
            raise Unavailable(f"nothing answers at {ENDPOINT}={named}")
        yield named
        return
    local = DynamodbLocal(fetch())
    local.start()
    try:
        yield local.endpoint
    finally:
        local.close()


def main(command: Sequence[str]) -> int:
    """Run a command beside it. Returns its exit code."""
    variable = ENDPOINT
    if command and command[0] == FOR_CONTRACT:
        variable, command = CONTRACT_ENDPOINT, command[1:]
    if not command:
        sys.stderr.write(f"usage: python -m tests.support.dynamodb_local [{FOR_CONTRACT}] COMMAND [ARGUMENT…]\n")
        return 2
    # So that the server is ended as well when this is.
    signal.signal(signal.SIGTERM, _leave)
    try:
        with running() as endpoint:
            return subprocess.run(command, env={**os.environ, variable: endpoint}, check=False).returncode
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
