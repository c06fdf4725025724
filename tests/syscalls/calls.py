"""What a system call is, and what it is made on: the queue, the relay, the callback, the journal, a payload, the log.

Only calls by which a process meets the world outside are told apart; what it does in its own memory, with its threads
and with the clock is nobody else's to see, so that a kill there is a kill at the next of these.
"""

from __future__ import annotations

import os
import platform
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WAIT = "wait"
"""What the event loop's own waiting is made on: a request is under way somewhere."""

_X86_64 = {
    "read": 0, "write": 1, "close": 3, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "connect": 42,
    "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "fcntl": 72, "flock": 73, "fsync": 74,
    "fdatasync": 75, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87,
    "epoll_wait": 232, "openat": 257, "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265,
    "epoll_pwait": 281, "fallocate": 285, "renameat2": 316,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "close": 57, "pread64": 67, "pwrite64": 68, "readv": 65, "writev": 66, "connect": 203,
    "sendto": 206, "recvfrom": 207, "sendmsg": 211, "recvmsg": 212, "shutdown": 210, "fcntl": 25, "flock": 32,
    "fsync": 82, "fdatasync": 83, "ftruncate": 46, "openat": 56, "mkdirat": 34, "unlinkat": 35, "renameat": 38,
    "linkat": 37, "epoll_pwait": 22, "fallocate": 47, "renameat2": 276,
}  # fmt: skip
_BY_MACHINE = {"x86_64": _X86_64, "aarch64": _AARCH64}
_PATH_FIRST = frozenset({"rename", "mkdir", "rmdir", "link", "unlink"})
_PATH_SECOND = frozenset({"openat", "mkdirat", "unlinkat", "renameat", "linkat", "renameat2"})
_WAITS = frozenset({"epoll_wait", "epoll_pwait"})
_LONGEST_PATH = 4096


def numbered(machine: str = "") -> dict[int, str]:
    """The calls that count by their numbers on this kind of machine, or on another. LookupError for an unknown one."""
    return {number: name for name, number in _BY_MACHINE[machine or platform.machine()].items()}


@dataclass
class Targets:
    """What the descriptors and paths of a process lead to.

    Arguments:
        ports: of 127.0.0.1, and what listens there.
        paths: beginnings of paths, and what lies there; the first that fits counts.
    """

    pid: int
    ports: Mapping[int, str]
    paths: Sequence[tuple[str, str]]
    _sockets: dict[str, str] = field(default_factory=dict)

    def of(self, call: str, arguments: Sequence[int]) -> str | None:
        """What the call is made on; None where that is of no interest."""
        if call in _WAITS:
            return WAIT
        if call in _PATH_FIRST:
            return self._lying_at(self._text(arguments[0]))
        if call in _PATH_SECOND:
            return self._lying_at(self._text(arguments[1]))
        if call == "connect":
            return self._addressed(arguments[1])
        return self._open(arguments[0])

    def _open(self, descriptor: int) -> str | None:
        try:
            link = os.readlink(f"/proc/{self.pid}/fd/{descriptor}")  # noqa: PTH115  # cheaper, and each call pays it
        except OSError:
            return None
        if link.startswith("socket:"):
            if link not in self._sockets and (port := self._peer(link[8:-1])) is not None:
                self._sockets[link] = self.ports.get(port, "")
            return self._sockets.get(link) or None
        return "log" if descriptor == 1 else self._lying_at(link)

    def _peer(self, inode: str) -> int | None:
        """The port that a socket is connected to; None while it is not."""
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[9] == inode:
                return int(columns[2].partition(":")[2], 16) or None
        return None

    def _addressed(self, address: int) -> str | None:
        family, port = struct.unpack("=H", self._memory(address, 2))[0], self._memory(address + 2, 2)
        return self.ports.get(int.from_bytes(port, "big")) if family == socket.AF_INET else None

    def _lying_at(self, path: str) -> str | None:
        return next((name for beginning, name in self.paths if path.startswith(beginning)), None)

    def _text(self, address: int) -> str:
        return os.fsdecode(self._memory(address, _LONGEST_PATH).partition(b"\0")[0])

    def _memory(self, address: int, size: int) -> bytes:
        """What stands there, as far as it can be read: a path may end where its page does."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123  # unbuffered
            whole = -address % 4096 or 4096
            memory.seek(address)
            found = memory.read(min(size, whole))
            try:
                return found + (memory.read(size - len(found)) if size > len(found) else b"")
            except OSError:
                return found
