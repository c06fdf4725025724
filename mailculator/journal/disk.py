"""The few things that a journal asks of a disk, drawn apart so that tests can refuse each of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

# Some network file systems take no fsync of a directory at all; PostgreSQL goes on after the same two.
_NO_DIRECTORY_SYNC = frozenset({errno.EINVAL, errno.EBADF})


class Disk(Protocol):
    """Blocking; called from one thread at a time. Every verb raises OSError."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, 0700, if it is not there; what is above it exists."""

    def sync_directory(self, path: Path) -> None:
        """Make the entries of a directory durable: a file's own sync does not promise that its name is."""

    def create(self, path: Path) -> int:
        """A new file, 0600, open for appending. FileExistsError when there is one."""

    def write(self, descriptor: int, data: bytes) -> int:
        """Append; returns how many octets were taken, which may be fewer."""

    def datasync(self, descriptor: int) -> None:
        """Make what was written durable."""

    def close(self, descriptor: int) -> None:
        """Give the file back."""

    def remove(self, path: Path) -> None:
        """Delete a file."""


class SystemDisk:
    """The machine's own."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, 0700, if it is not there; what is above it exists."""
        path.mkdir(0o700, exist_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Make the entries of a directory durable, where the file system can."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY_SYNC:
                raise
        finally:
            os.close(descriptor)

    def create(self, path: Path) -> int:
        """A new file, 0600, open for appending. FileExistsError when there is one."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes) -> int:
        """Append; returns how many octets were taken, which may be fewer."""
        return os.write(descriptor, data)

    def datasync(self, descriptor: int) -> None:
        """Make what was written durable, the file's length included (fdatasync(2))."""
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        """Give the file back."""
        os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()
