"""The reading side of the journal: what a dead replica's marks say."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mailculator.journal.framing import Records
from mailculator.journal.layout import Segment, directory_name, segments
from mailculator.journal.marks import Key, Kind, Mark, Opening, Reply, decode, encode_key, peek
from mailculator.journal.traces import Trace


class Journals:
    """The journals of all replicas.

    Arguments:
        directory: of all replicas.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-reader")

    async def look(
        self, holder: str, keys: Collection[Key], since: datetime | None = None, *, claims: Collection[Key] = ()
    ) -> Mapping[Key, Trace]:
        """What the journal of `holder` says of these claims: a trace for each. It never fails: see Trace.unreadable.

        To be asked once the holder's leases have run out: what it marks meanwhile may be missed.

        Arguments:
            holder: the replica's name.
            claims: keys that the holder marked BEGIN before anything else of these claims. Segments are read from the
                newest backwards, and none any more once all of them were met.
            since: segments that were last written before are not read; None reads all. To lie before the claims by more
                than the clocks of the replicas and of the file server may differ.
        """
        loop = asyncio.get_running_loop()
        job = (self._directory, holder, frozenset(keys), since, frozenset(claims))
        return await loop.run_in_executor(self._thread, find_traces, *job)

    def close(self) -> None:
        """Begin nothing more; waits for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Finding:
    """One claim's trace, while it is gathered.

    `begun_at` is monotonic, in milliseconds, and means something together with its incarnation only.
    """

    incarnation: str = ""
    begun_at: int | None = None
    dot: bool = False
    reply: Reply | None = None
    ended: bool = False

    def add(self, mark: Mark, incarnation: str) -> None:
        match mark.kind:
            case Kind.BEGIN:
                self.incarnation, self.begun_at = incarnation, mark.monotonic
            case Kind.DOT:
                self.dot = True
            case Kind.END:
                self.ended = True
            case Kind.ACCEPTED:
                self.reply = mark.reply
            case Kind.REFUSED:
                self.reply = self.reply or mark.reply  # an acceptance stands, whatever else was written

    def trace(self, *, unreadable: bool, last: Mapping[str, int]) -> Trace:
        outlived = 0.0 if self.begun_at is None else max(0, last[self.incarnation] - self.begun_at) / 1000
        begun = self.begun_at is not None
        return Trace(begun, self.dot, self.reply, self.ended, unreadable and self.reply is None, outlived)


class _Scan:
    """One pass through a holder's segments; it keeps nothing but what was asked for."""

    def __init__(self, holder: str, keys: Collection[Key], claims: Collection[Key]) -> None:
        self._holder = holder
        self._claims = {encode_key(key) for key in claims}
        self._stops = bool(claims)
        self._keys = {encode_key(key): key for key in keys}
        self._findings = {key: _Finding() for key in keys}
        self._last: dict[str, int] = {}
        self.unreadable = False

    @property
    def complete(self) -> bool:
        """Whether all claims were met: whatever there is of them has been read."""
        return self._stops and not self._claims

    def read(self, segment: Segment) -> None:
        """Take in a segment, as far as it can be read. Errors: OSError."""
        with segment.path.open("rb") as stream:
            records = Records(stream)
            first = True
            for payload in records:
                try:
                    if first:
                        self._open(payload, segment)
                        first = False
                    else:
                        self._take(payload, segment.incarnation)
                except ValueError as error:
                    records.reject(str(error))
        if records.damage is not None:
            self.unreadable = True

    def _open(self, payload: bytes, segment: Segment) -> None:
        opening = decode(payload)
        names = (opening.replica, opening.incarnation) if isinstance(opening, Opening) else None
        if names != (self._holder, segment.incarnation):
            raise ValueError("not the beginning of the segment that its name says it is")
        self._seen(segment.incarnation, opening.monotonic)

    def _take(self, payload: bytes, incarnation: str) -> None:
        kind, monotonic, _, name = peek(payload)
        if kind is Kind.SEGMENT:
            raise ValueError("a segment within a segment")
        self._seen(incarnation, monotonic)
        if kind is Kind.BEGIN:
            self._claims.discard(name)
        key = self._keys.get(name)
        if key is not None:
            mark = decode(payload)
            if isinstance(mark, Mark):
                self._findings[key].add(mark, incarnation)

    def _seen(self, incarnation: str, monotonic: int) -> None:
        if monotonic > self._last.get(incarnation, -1):
            self._last[incarnation] = monotonic

    def traces(self) -> Mapping[Key, Trace]:
        """What was found."""
        return {
            key: finding.trace(unreadable=self.unreadable, last=self._last) for key, finding in self._findings.items()
        }


def find_traces(
    directory: Path,
    holder: str,
    keys: Collection[Key],
    since: datetime | None = None,
    claims: Collection[Key] = (),
) -> Mapping[Key, Trace]:
    """As `Journals.look`, blocking."""
    scan = _Scan(holder, keys, claims)
    try:
        incarnations = segments(directory / directory_name(holder))
    except OSError:
        incarnations = {}
    # A holder makes its first segment before it claims anything: one without any has lost them.
    scan.unreadable = not incarnations
    for each in sorted(incarnations.values(), key=lambda each: each[-1].modified, reverse=True):
        if each[-1].number - each[0].number != len(each) - 1:
            scan.unreadable = True
        for segment in reversed(_written_since(each, since)):
            # A claim belongs to one incarnation, and of that everything later has been read by now.
            if scan.complete:
                return scan.traces()
            try:
                scan.read(segment)
            except OSError:
                scan.unreadable = True
    return scan.traces()


def _written_since(each: Sequence[Segment], since: datetime | None) -> list[Segment]:
    return [segment for segment in each if since is None or segment.modified >= since.timestamp()]
