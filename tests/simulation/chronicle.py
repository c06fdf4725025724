"""The time of a world, and what happened in it: a line for each thing, the last for people, all of them as a hash."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mailculator.clock import SystemClock

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""When every world begins."""
EPOCH = BEGINNING.timestamp()
LINES_KEPT = 60


def milliseconds(seconds: float) -> int:
    """A world's time as the journals' marks have it: epoch milliseconds."""
    return int(EPOCH * 1000) + int(seconds * 1000)


def wall(seconds: float) -> datetime:
    """A world's time as a wall clock tells it, in the middle of a millisecond: marks round it down, through a float."""
    return BEGINNING + timedelta(milliseconds=int(seconds * 1000), microseconds=500)


class ReplicaClock(SystemClock):
    """What a process reads: a monotonic clock that began when its machine did, and waits on the world's time.

    Arguments:
        time: of the world.
        since: seconds that the clock is ahead of it.
        skew: seconds by which the wall clock is wrong.
    """

    def __init__(self, time: Callable[[], float], since: float, skew: float) -> None:
        self._time = time
        self._since = since
        self._skew = timedelta(seconds=round(skew))

    def now(self) -> float:
        """Monotonic seconds."""
        return self._time() + self._since

    def wall(self) -> datetime:
        """The time of day, or what it takes for that."""
        return wall(self._time()) + self._skew


class Chronicle:
    """What happened.

    Arguments:
        time: of the world.
        counted: how often each kind of thing happened.
    """

    def __init__(self, time: Callable[[], float], *, keep: int = LINES_KEPT) -> None:
        self._time = time
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[str] = deque(maxlen=keep or None)
        self.counted: Counter[str] = Counter()

    def write(self, kind: str, who: str, what: object = "") -> None:
        """One more thing.

        Arguments:
            kind: short, from a closed set.
            who: a process.
        """
        line = f"{self._time():.6f} {who} {kind} {what}"
        self._hash.update(line.encode())
        self.last.append(line)
        self.counted[kind] += 1

    def digest(self) -> str:
        """Of everything so far: two worlds with the same one have had the same history."""
        return self._hash.hexdigest()
