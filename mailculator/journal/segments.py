"""The segments of one incarnation, written one after the other. Blocking; used by one thread."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from mailculator.clock import Clock
from mailculator.journal.disk import Disk
from mailculator.journal.framing import frame
from mailculator.journal.layout import directory_name, segment_name
from mailculator.journal.marks import Opening, encode


class Segments:
    """Writes records, in one segment at a time.

    What fails to be written or made durable ends its segment: after a failed sync the kernel may hold the lost pages
    for clean, and a second sync of that file would succeed with nothing done
    (https://wiki.postgresql.org/wiki/Fsync_Errors). So it is closed and never touched again; `start` tries a new one.

    Arguments:
        directory: the journal's; made if it is not there, as is the replica's in it.
        size_limit: octets, after which the next group goes into a new segment.
        idle_limit: seconds after which a segment that nobody wrote in is not taken up again: some other replica may be
            about to delete it for its age.
    """

    def __init__(
        self,
        directory: Path,
        replica: str,
        *,
        incarnation: str,
        software: str,
        size_limit: int,
        idle_limit: float,
        disk: Disk,
        clock: Clock,
        wall: Callable[[], datetime],
    ) -> None:
        self._root = directory
        self._directory = directory / directory_name(replica)
        self._replica = replica
        self._incarnation = incarnation
        self._software = software
        self._size_limit = size_limit
        self._idle_limit = idle_limit
        self._disk = disk
        self._clock = clock
        self._wall = wall
        self._root_is_durable = False
        self._descriptor: int | None = None
        self._number = 0
        self._begun = 0
        self._size = 0
        self._written_at = 0.0
        self.path: Path | None = None

    def start(self) -> None:
        """Leave the segment that is open, if one is, and open a new one.

        Its first record is made durable, and its name with it, before anything is written behind: so this is the proof
        that the disk takes marks, too. Errors: OSError.
        """
        self.close()
        try:
            self._create()
            self._put(frame(encode(self._opening())))
            self._sync()
            self._sync_names()
            self._begun = self._size
        except BaseException:
            self._abandon()
            raise

    def write(self, records: bytes, *, durable: bool) -> None:
        """Append whole records, and with `durable` return once they and all before them are on the disk.

        Errors: OSError, after which nothing can be written until `start` succeeds.
        """
        if self._descriptor is not None and self._is_full(len(records)):
            self.start()
        try:
            self._put(records)
            if durable:
                self._sync()
        except BaseException:
            self._abandon()
            raise

    def close(self) -> None:
        """Give the open segment back. Safe to call twice."""
        descriptor, self._descriptor, self.path = self._descriptor, None, None
        if descriptor is not None:
            with suppress(OSError):  # what had to be durable is; a mark that was not promised may be lost
                self._disk.close(descriptor)

    def _is_full(self, octets: int) -> bool:
        if self._clock.now() - self._written_at > self._idle_limit:
            return True
        # A group that is larger than a segment may be gets one of its own.
        return self._size > self._begun and self._size + octets > self._size_limit

    def _create(self) -> None:
        try:
            self._make_directories()
            self._open()
        except FileNotFoundError:  # another replica has just deleted the directory for being empty
            self._make_directories()
            self._open()

    def _open(self) -> None:
        while self._descriptor is None:
            path = self._directory / segment_name(self._incarnation, self._number + 1)
            # What exists is ours, without marks: made by an open that was told to have failed.
            with suppress(FileExistsError):
                self._descriptor = self._disk.create(path)
                self.path, self._size, self._begun = path, 0, 0
            self._number += 1  # not after a failure: readers take a number that is missing for a segment that is lost

    def _make_directories(self) -> None:
        self._disk.make_directory(self._root)
        if not self._root_is_durable:
            with suppress(PermissionError):  # what is above it is not ours, and need not be readable
                self._disk.sync_directory(self._root.parent)
            self._root_is_durable = True
        self._disk.make_directory(self._directory)

    def _sync_names(self) -> None:
        # Of the directory, too, whoever made it: that one may have died before its name was durable.
        self._disk.sync_directory(self._directory)
        self._disk.sync_directory(self._root)

    def _opening(self) -> Opening:
        monotonic, wall = int(self._clock.now() * 1000), int(self._wall().timestamp() * 1000)
        return Opening(self._replica, self._incarnation, self._software, monotonic, wall)

    def _put(self, records: bytes) -> None:
        """Append all of it; a disk may take a part at a time (write(2))."""
        if self._descriptor is None:
            raise OSError(errno.EIO, "no segment is open")
        left = records
        while left:
            taken = self._disk.write(self._descriptor, left)
            if taken <= 0:
                raise OSError(errno.EIO, "the disk took nothing")
            self._size += taken
            left = left[taken:]
        self._written_at = self._clock.now()

    def _sync(self) -> None:
        if self._descriptor is None:
            raise OSError(errno.EIO, "no segment is open")
        self._disk.datasync(self._descriptor)

    def _abandon(self) -> None:
        path = self.path
        markless = self._begun in {0, self._size}
        self.close()
        if path is not None and markless:
            # A full disk would gather one of these at each try. One that stays is a segment without marks.
            with suppress(OSError):
                self._disk.remove(path)
                self._number -= 1
