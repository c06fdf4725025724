"""A disk in memory that knows what was made durable, refuses what it is told to, and can lose its power."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


class PowerLoss(BaseException):
    """Nothing happens after this."""


@dataclass
class Content:
    """A file: what was written, how much of it is durable, and whether a sync of it has failed."""

    written: bytearray = field(default_factory=bytearray)
    durable: int = 0
    synced_in_vain: bool = False


class Hold:
    """Stops the thread in an operation until it is opened."""

    def __init__(self, entered: Callable[[], object]) -> None:
        self._entered = entered
        self._open = threading.Event()

    def wait(self) -> None:
        self._entered()
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


class FakeDisk:
    """Implements mailculator.journal.disk.Disk.

    Arguments:
        root: what stands already, durably.
        bite: octets that one write takes at the most.

    `failures` are the operations that fail, by their number, each with its errno, and `failing` those by name;
    `power_fails_at` is one at which all ends.
    A failed sync drops what was not durable, and a further sync of that file "succeeds", as Linux does it.
    """

    def __init__(self, root: Path, *, bite: int = 1 << 30) -> None:
        self.bite = bite
        self.failures: dict[int, int] = {}
        self.failing: dict[str, int] = {}
        self.power_fails_at = -1
        self.calls: list[str] = []
        self.holds: dict[str, list[Hold]] = {}
        self.synced_after_failure = False
        self._files: dict[Path, Content] = {}
        self._names = {root}
        self._durable_names = {root}
        self._open: dict[int, Content] = {}
        self._next = 100

    def hold(self, operation: str) -> tuple[Hold, asyncio.Event]:
        """The next such operation stops; the event tells that it has come."""
        loop, entered = asyncio.get_running_loop(), asyncio.Event()
        hold = Hold(lambda: loop.call_soon_threadsafe(entered.set))
        self.holds.setdefault(operation, []).append(hold)
        return hold, entered

    def count(self, operation: str) -> int:
        return self.calls.count(operation)

    def make_directory(self, path: Path) -> None:
        self._called("make_directory")
        if path.parent not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no parent", str(path))
        self._names.add(path)

    def sync_directory(self, path: Path) -> None:
        self._called("sync_directory")
        self._durable_names |= {name for name in self._names if name.parent == path}
        self._durable_names -= {name for name in self._durable_names if name.parent == path and name not in self._names}

    def create(self, path: Path) -> int:
        self._called("create")
        if path.parent not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no parent", str(path))
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self._names.add(path)
        self._next += 1
        self._files[path] = self._open[self._next] = Content()
        return self._next

    def write(self, descriptor: int, data: bytes) -> int:
        self._called("write")
        taken = data[: self.bite]
        self._open[descriptor].written += taken
        return len(taken)

    def datasync(self, descriptor: int) -> None:
        content = self._open[descriptor]
        self.synced_after_failure |= content.synced_in_vain
        try:
            self._called("datasync")
        except OSError:
            content.synced_in_vain = True
            raise
        if not content.synced_in_vain:
            content.durable = len(content.written)

    def close(self, descriptor: int) -> None:
        self._called("close")
        del self._open[descriptor]

    def remove(self, path: Path) -> None:
        self._called("remove")
        self._names.remove(path)
        del self._files[path]

    def leave(self, to: Path, *, powerless: bool = False, kept: float = 0.0) -> None:
        """Write down what a reader finds after the process died, or after the power failed.

        Arguments:
            kept: the share of what was not durable that reached the disk all the same.
        """
        for path, content in self._files.items():
            if powerless and not {path, *path.parents} & self._durable_names >= {path, path.parent, path.parent.parent}:
                continue
            spare = int((len(content.written) - content.durable) * kept)
            octets = content.written[: content.durable + spare] if powerless else content.written
            copy = to / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(octets)

    def _called(self, operation: str) -> None:
        number = len(self.calls)
        self.calls.append(operation)
        if number == self.power_fails_at:
            raise PowerLoss
        if self.holds.get(operation):
            self.holds[operation].pop(0).wait()
        code = self.failures.get(number) or self.failing.get(operation)
        if code:
            raise OSError(code, os.strerror(code))
