"""The share that the journals lie on: what a process has written outlives it, what it has synced its machine too."""

from __future__ import annotations

import errno
import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from mailculator.journal.framing import Records
from mailculator.journal.layout import Segment
from mailculator.journal.marks import Kind, Mark, decode
from tests.simulation.loop import Process

_REPLIES = tuple(f" {kind} ".encode() for kind in (Kind.ACCEPTED, Kind.REFUSED))


@dataclass(eq=False)
class File:
    """One file.

    Arguments:
        writer: whose memory what is not synced is in.
        synced: octets that are on the disk itself; `named`: so is its name.
    """

    path: PurePath
    writer: Process
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0
    named: bool = False
    modified: float = 0.0
    open: bool = True


@dataclass(frozen=True)
class Found:
    """A file as a reader opens it: it sees what has been written until then."""

    file: File

    @property
    def name(self) -> str:
        return self.file.path.name

    def open(self, mode: str) -> io.BytesIO:
        """Like that of a path."""
        assert mode == "rb", "readers only read"
        return io.BytesIO(bytes(self.file.data))


class Share:
    """All files of all replicas.

    Arguments:
        now: the file server's clock, epoch seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.files: dict[PurePath, File] = {}
        self.folders: set[PurePath] = set()
        self.now = now

    def segments(self, directory: PurePath) -> Mapping[str, Sequence[Segment]]:
        """As journal.layout.segments has it."""
        if directory not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "no such directory")
        found: defaultdict[str, list[Segment]] = defaultdict(list)
        for path, file in self.files.items():
            if path.parent == directory:
                incarnation, _, number = path.stem.partition("-")
                segment = Segment(Found(file), incarnation, int(number), file.modified)  # type: ignore[arg-type]  # a path to its readers
                found[incarnation].append(segment)
        return {incarnation: sorted(each, key=lambda one: one.number) for incarnation, each in found.items()}

    def replica_directories(self, journal: PurePath) -> Iterator[PurePath]:
        """As journal.layout.replica_directories has it."""
        yield from sorted(folder for folder in self.folders if folder.parent == journal)

    def lose(self, writer: Process, rng: random.Random) -> None:
        """The writer's machine has lost its power: of what was not synced some may be there, up to some octet."""
        for path, file in list(self.files.items()):
            if file.writer is writer:
                del file.data[rng.randint(file.synced, len(file.data)) :]
                if not file.named and rng.random() < 0.5:
                    del self.files[path]


class ReplicaDisk:
    """The Disk of one process.

    Arguments:
        trouble: the number of the error that the disk has for it now, or None.
        time: of the world.
        replied: when the relay's reply to a message was there for others to read, by email and version: a mark itself
            tells when it was made.
    """

    def __init__(
        self, share: Share, process: Process, trouble: Callable[[], int | None], time: Callable[[], float]
    ) -> None:
        self.replied: dict[tuple[str, int], float] = {}
        self._time = time
        self._share = share
        self._process = process
        self._trouble = trouble
        self._open: dict[int, File] = {}

    def make_directory(self, path: Path) -> None:
        """See Disk, as with all that follows."""
        self._check()
        self._share.folders.add(path)

    def sync_directory(self, path: Path) -> None:
        self._check()
        for file in self._share.files.values():
            file.named = file.named or file.path.parent == path

    def create(self, path: Path) -> int:
        self._check()
        if path in self._share.files:
            raise FileExistsError(errno.EEXIST, "it is there")
        descriptor = len(self._open) + 3
        self._share.files[path] = self._open[descriptor] = File(path, self._process, modified=self._share.now())
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        self._check()
        file = self._open[descriptor]
        assert file.open, "written to after it was closed"
        file.data += data
        file.modified = self._share.now()
        if any(kind in data for kind in _REPLIES):
            self._note_replies(data)
        return len(data)

    def datasync(self, descriptor: int) -> None:
        self._check()
        file = self._open[descriptor]
        file.synced = len(file.data)

    def close(self, descriptor: int) -> None:
        self._open[descriptor].open = False

    def remove(self, path: Path) -> None:
        self._check()
        del self._share.files[path]

    def tear(self, data: bytes, rng: random.Random) -> None:
        """The process dies amid a write: some of it may be there."""
        for file in self._open.values():
            if file.open and rng.random() < 0.7:
                file.data += data[: rng.choice([0, rng.randint(0, len(data)), len(data)])]

    def _note_replies(self, data: bytes) -> None:
        for payload in Records(io.BytesIO(data)):
            mark = decode(payload)
            if isinstance(mark, Mark) and mark.reply is not None:
                self.replied[mark.key.email_id, mark.key.version] = self._time()

    def _check(self) -> None:
        if not self._process.alive:
            raise OSError(errno.EIO, "nobody is there who could write")
        if (number := self._trouble()) is not None:
            raise OSError(number, "the disk says no")
