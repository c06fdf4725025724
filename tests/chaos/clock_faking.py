"""Machines whose wall clock is wrong, by libfaketime.

It changes what time a process is told, and neither its monotonic clock nor the times of files, which on a share are the
file server's. On a machine that is really off no CPU clock is; here that of another thread would be, and the watchdog
would take it for a thread that spins.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from mailculator.demo.mariadbd import PrivateMariadb
from tests.support.scenario import Variables
from tests.support.service import ROOT

OFFSETS = {"-1d": -86_400, "-30m": -1_800, "+30m": 1_800, "+1d": 86_400}
"""How wrong, as people write it, and in seconds."""
ZONES = ("Europe/Rome", "America/New_York")
"""Of servers."""
MACHINES = (*ZONES, "UTC", "Asia/Kathmandu", "Pacific/Apia")
"""Of replicas."""
_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
_NAME = "libfaketimeMT.so.1"
_MENDED = """import time
time.pthread_getcpuclockid = lambda thread: time.CLOCK_THREAD_CPUTIME_ID
"""
"""Run by each Python at its start: whoever asks for another thread's CPU clock gets its own, which is left alone."""


def library() -> Path:
    """libfaketime for programs of several threads. AssertionError when it is not installed."""
    found = [path for place in _PLACES for path in Path("/").glob(f"{place[1:]}/{_NAME}")]
    assert found, f"{_NAME} is not installed; on Debian or Ubuntu: apt-get install faketime"
    return found[0]


class FalseClock:
    """A wall clock that is off, and may be set while those who go by it run.

    Arguments:
        path: of the file that says how far it is off.
        off: seconds by which it is ahead of the true one.
    """

    def __init__(self, path: Path, off: int = 0) -> None:
        self._path = path
        self._library = library()
        self._mended = path.with_suffix(".python")
        self._mended.mkdir()
        (self._mended / "sitecustomize.py").write_text(_MENDED, encoding="utf-8")
        self.off = off
        self.set(off)

    def set(self, off: int) -> None:
        """From now on it is ahead by so many seconds."""
        self.off = off
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{off:+d}\n", encoding="ascii")
        # Nobody may read half of it.
        fresh.replace(self._path)

    def variables(self, zone: str) -> Variables:
        """Of a process that goes by it, in that time zone."""
        return {
            "TZ": zone,
            "PYTHONPATH": f"{self._mended}:{ROOT}",
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": self._path,
            "FAKETIME_NO_CACHE": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
            "NO_FAKE_STAT": 1,
        }


class ZonedMariadb(PrivateMariadb):
    """A private server in a time zone, and if need be on a false clock. Both count from its next start on."""

    zone = "UTC"
    clock: FalseClock | None = None

    def _environment(self) -> dict[str, str]:
        own = {"TZ": self.zone} if self.clock is None else self.clock.variables(self.zone)
        return {**super()._environment(), **{name: str(value) for name, value in own.items()}}

    async def wear(self, zone: str, clock: FalseClock | None = None) -> None:
        """Start it there, unless it runs there already."""
        if self.running and (self.zone, self.clock) == (zone, clock):
            return
        await self.stop()
        self.zone, self.clock = zone, clock
        await self.start()


def next_change(zone: str, after: datetime) -> datetime:
    """When a zone next goes over to summer time or back, to the hour, UTC."""
    hour = after.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    there = ZoneInfo(zone)
    while True:
        later = hour + timedelta(hours=1)
        if hour.astimezone(there).utcoffset() != later.astimezone(there).utcoffset():
            return later
        hour = later
