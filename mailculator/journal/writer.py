"""The writing side of the journal."""

from __future__ import annotations

import asyncio
import errno
import re
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from mailculator import __version__
from mailculator.clock import Clock, SystemClock
from mailculator.journal.disk import Disk, SystemDisk
from mailculator.journal.errors import JournalBroken, words
from mailculator.journal.framing import frame
from mailculator.journal.marks import DURABLE, Key, Kind, Reply, encode_marks
from mailculator.journal.scribe import Scribe, Waiter
from mailculator.journal.segments import Segments
from mailculator.journal.trimming import trim
from mailculator.patience import Patience

SEGMENT_BYTES = 16 << 20
RETENTION = 14 * 86400.0
RETRY_EVERY = 5.0
PATIENCE = 10.0

_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT})
"""What passes by itself or by an operator's hand, without another directory."""
_POSITIVE = re.compile(r"2\d\d(?!\d)", re.ASCII)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def _ignore(_news: object) -> None:
    pass


class Journal:
    """The marks of this process. Every verb returns once its mark is as safe as that mark has to be.

    A caller that is cancelled has its mark written all the same, as far as the disk takes it. After a failed write or
    sync nothing can be marked until a new segment has been opened and made durable, which is tried again and again.

    Arguments:
        directory: of all replicas; made if only its last part is missing.
        replica: the name under which this process holds its claims.
        incarnation: a uuid of this process start, 32 hexadecimal digits.
        segment_bytes: the size at which a new segment is begun.
        retention: seconds for which segments are kept after their last mark.
        patience: seconds that a mark waits for a disk which does not answer; that is trouble until it does.
        retry_every: seconds between two tries to open a new segment, after a failure.
        on_change: told `trouble` when it breaks and when it is well again, on the loop.
        on_death: told what the writing thread died of: a bug, after which this process can mark nothing any more.

    Errors: of every mark: JournalBroken when it could not be made; then it may or may not be on the disk.
    """

    def __init__(
        self,
        directory: Path,
        replica: str,
        *,
        incarnation: str | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        retention: float = RETENTION,
        retry_every: float = RETRY_EVERY,
        patience: float = PATIENCE,
        on_change: Callable[[str | None], None] = _ignore,
        on_death: Callable[[BaseException], None] = _ignore,
        disk: Disk | None = None,
        clock: Clock | None = None,
        wall: Callable[[], datetime] = utc_now,
    ) -> None:
        self.incarnation = incarnation or uuid.uuid4().hex
        self.trouble: str | None = "is not open"
        """Why nothing can be marked, in words; None while all is well."""
        self._directory = directory
        self._retention = retention
        self._retry_every = retry_every
        self._patience = patience
        self._waiting: Patience[asyncio.Future[None]] = Patience(patience, self._stall)
        self._stalled = False
        self._on_change = on_change
        self._on_death = on_death
        self._clock = clock or SystemClock()
        self._wall = wall
        self._segments = Segments(
            directory,
            replica,
            incarnation=self.incarnation,
            software=__version__,
            size_limit=segment_bytes,
            # Half of it: the other half is for clocks that differ and for processes that stand still.
            idle_limit=retention / 2,
            disk=disk or SystemDisk(),
            clock=self._clock,
            wall=wall,
        )
        self._scribe: Scribe | None = None
        self._since: datetime | None = None
        self._started: asyncio.Future[BaseException | None] | None = None
        self._mender: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._trimmer: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open the first segment and make it durable.

        A disk that is full or fails is no error but `trouble`, from which the journal recovers as from any other.

        Errors: JournalBroken where the directory cannot be made or written to.
        """
        self._scribe = Scribe(
            self._segments, on_written=self._settle, on_started=self._has_started, on_died=self._has_died
        )
        self._trimmer = ThreadPoolExecutor(1, thread_name_prefix="journal-trim")
        failure = await self._start_segment(self._scribe)
        if isinstance(failure, OSError) and failure.errno in _PASSING:
            self._blame(failure)
            self._mend_soon(self._scribe)
        elif failure is not None:
            await self.close()
            raise JournalBroken(self._directory, f"cannot be opened: {words(failure)}") from failure

    async def close(self) -> None:
        """Finish what was asked for, then give everything back. Safe to call twice."""
        self.trouble = "is closed"
        self._closing.set()
        if self._mender is not None:
            await asyncio.wait({self._mender})
        if self._scribe is not None:
            await self._scribe.end()
        if self._trimmer is not None:
            self._trimmer.shutdown(wait=False, cancel_futures=True)

    async def begin(self, keys: Sequence[Key]) -> None:
        """The handling of each starts. In the hands of the operating system on return: it survives this process."""
        if keys:
            await self._mark(Kind.BEGIN, keys)

    def end(self, keys: Sequence[Key]) -> None:
        """The handling of each ended, and nothing more is to be known about them. As safe as `begin`; nobody waits."""
        if keys and self.trouble is None and self._scribe is not None:
            # Nobody is told of a failure, either: it is on record in `trouble`.
            self._scribe.put(Waiter(self._records(Kind.END, keys), durable=False, future=None))

    async def dot(self, key: Key) -> None:
        """The final dot is about to leave. On the disk on return: only then may it."""
        await self._mark(Kind.DOT, [key])

    async def accepted(self, key: Key, reply: str) -> None:
        """The relay took it. On the disk on return.

        Arguments:
            reply: the relay's, on one line, addresses masked; with its code in front, or 250 is taken for it.
        """
        code = int(reply[:3]) if _POSITIVE.match(reply) else 250
        await self._mark(Kind.ACCEPTED, [key], Reply(code, reply))

    async def refused(self, key: Key, code: int, reply: str) -> None:
        """The relay refused it after the dot. On the disk on return.

        Arguments:
            code: 4yz or 5yz.
            reply: the relay's, on one line, addresses masked.
        """
        if not 400 <= code <= 599:
            raise ValueError(f"{code} is no refusal")
        await self._mark(Kind.REFUSED, [key], Reply(code, reply))

    async def trim(self) -> int:
        """Delete what is older than the retention, of every replica. Returns how many segments.

        Errors: JournalBroken when the directory cannot be read.
        """
        if self._trimmer is None or self._closing.is_set():
            raise JournalBroken(self._directory, str(self.trouble))
        job = (self._directory, self._retention, self._wall().timestamp(), self._segments.path)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._trimmer, trim, *job)
        except OSError as error:
            raise JournalBroken(self._directory, f"cannot be trimmed: {words(error)}") from error

    async def _mark(self, kind: Kind, keys: Sequence[Key], reply: Reply | None = None) -> None:
        waiting = self._put(kind, keys, reply)
        self._waiting.begin(waiting)
        try:
            await waiting
        finally:
            self._waiting.end(waiting)

    def _records(self, kind: Kind, keys: Sequence[Key], reply: Reply | None = None) -> bytes:
        monotonic, wall = int(self._clock.now() * 1000), int(self._wall().timestamp() * 1000)
        return b"".join(map(frame, encode_marks(kind, keys, monotonic=monotonic, wall=wall, reply=reply)))

    def _put(self, kind: Kind, keys: Sequence[Key], reply: Reply | None) -> asyncio.Future[None]:
        if self.trouble is not None or self._scribe is None:
            raise JournalBroken(self._directory, str(self.trouble))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._scribe.put(Waiter(self._records(kind, keys, reply), kind in DURABLE, future))
        return future

    def _stall(self, waiting: asyncio.Future[None]) -> None:
        """The disk has not answered for too long. What it was given may still be written."""
        if waiting.done():
            return
        if self.trouble is None:
            self._stalled = True
            self.trouble = f"has not answered for {self._patience:g} s"
            self._on_change(self.trouble)
        waiting.set_exception(JournalBroken(self._directory, str(self.trouble)))

    def _settle(self, group: Sequence[Waiter], failure: Exception | None) -> None:
        """Wake a group together. Trouble is on record before the first of them goes on."""
        if self._stalled:
            self._stalled, self.trouble = False, None
            if failure is None:
                self._on_change(None)
        breaks = failure is not None and self.trouble is None
        if failure is not None and breaks:
            self._blame(failure)
        self._answer(group, failure)
        if breaks and self._scribe is not None:
            self._mend_soon(self._scribe)

    def _has_died(self, left: Sequence[Waiter], failure: BaseException) -> None:
        """The thread is gone: nobody waits for it any more, and no new segment mends that."""
        if self._mender is not None:
            self._mender.cancel()
        if not self._closing.is_set():
            self._blame(failure)
            self._on_change(self.trouble)
        self._answer(left, failure)
        self._has_started(failure)
        self._on_death(failure)

    def _answer(self, group: Sequence[Waiter], failure: BaseException | None) -> None:
        for waiter in group:
            if waiter.future is None or waiter.future.done():  # nobody waits, or no longer
                continue
            if failure is None:
                waiter.future.set_result(None)
            else:
                waiter.future.set_exception(self._broken(failure))

    def _blame(self, failure: BaseException) -> None:
        self._since = self._wall()
        self.trouble = self._describe(failure)

    def _mend_soon(self, scribe: Scribe) -> None:
        """Tell of the trouble, and see to it that a new segment is tried."""
        if self._mender is None or self._mender.done():
            self._mender = asyncio.create_task(self._mend(scribe), name="journal-mender")
        self._on_change(self.trouble)

    def _broken(self, failure: BaseException) -> JournalBroken:
        # What gathered while the segment broke failed for the same reason, whatever it met itself.
        reason = self.trouble if self._since is not None and self.trouble else self._describe(failure)
        error = JournalBroken(self._directory, reason)
        error.__cause__ = failure
        return error

    def _describe(self, failure: BaseException) -> str:
        return f"cannot be written since {self._since or self._wall():%Y-%m-%dT%H:%M:%SZ}: {words(failure)}"

    async def _mend(self, scribe: Scribe) -> None:
        while self.trouble is not None and not await self._clock.wait(self._closing, self._retry_every):
            await self._start_segment(scribe)

    async def _start_segment(self, scribe: Scribe) -> BaseException | None:
        self._started = asyncio.get_running_loop().create_future()
        scribe.start_segment()
        return await self._started

    def _has_started(self, failure: BaseException | None) -> None:
        if self._started is not None and not self._started.done():
            self._started.set_result(failure)
        if not self._closing.is_set():
            self._note(failure)

    def _note(self, failure: BaseException | None) -> None:
        if failure is None:
            mended = self._since is not None
            self.trouble = self._since = None
            if mended:
                self._on_change(None)
        elif self._since is not None:
            self.trouble = self._describe(failure)
