"""Ends a process in which something spins, so that its mail is taken up by others and the one mail is found.

Python cannot stop a thread, and a loop that does not turn renews no lease: there is nothing left to save but time. What
waits (for a share, a relay, a store) is not meant: it has timeouts of its own, and spinning is told from waiting by the
CPU that it takes.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

STUCK = 70
"""Exit code (EX_SOFTWARE): somebody's bug, ours or a library's."""
LOOKS = 10
"""Looks within the limit."""
LAST_RESORT = 4
"""Limits after which the interpreter's own timer ends the process: whatever holds the GIL lets no look happen. It
cannot tell a frozen process from one that spins, so it waits longer."""

_STDERR = 2
"""Whatever has become of `sys.stderr`."""


def end(why: str) -> None:
    """Say what every thread was doing, and end the process at once: there is no order left to end it in."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001  # the documented way
    ]
    os.write(_STDERR, f"mailculator: ended by its watchdog: {why}\n{''.join(stacks)}".encode())
    os._exit(STUCK)


class Watchdog:
    """Looks from a thread of its own whether the loop turns, and whether a worker spins.

    A frozen process (SIGSTOP, a machine that sleeps) is not taken for one that spins: silence is counted in looks, and
    while it is frozen nobody looks.

    Arguments:
        limit: seconds of silence.
        cpu: seconds of CPU that one job of a worker may use; `limit` where it is not given. Well below a lease: the
            journal takes a mail for what a process died of only if that process made no mark later than a lease after.
        busiest: each tells how many seconds of CPU the longest job of its workers has used.
        end: what to do then.
    """

    def __init__(
        self,
        limit: float,
        *,
        cpu: float | None = None,
        busiest: Sequence[Callable[[], float]] = (),
        end: Callable[[str], None] = end,
    ) -> None:
        self._limit = limit
        self._cpu = limit if cpu is None else cpu
        self._every = limit / LOOKS
        self._busiest = busiest
        self._end = end
        self._beaten = True
        self._silent = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    @property
    def every(self) -> float:
        """Seconds between two beats, at the most."""
        return self._every / 2

    def start(self) -> None:
        """Begin to look. `beat` must be called from now on."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """The loop has turned."""
        self._beaten = True
        if not self._stopped.is_set():
            faulthandler.dump_traceback_later(LAST_RESORT * self._limit, exit=True, file=_STDERR)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        faulthandler.cancel_dump_traceback_later()

    def look(self) -> None:
        """One look."""
        self._silent = 0 if self._beaten else self._silent + 1
        self._beaten = False
        if self._silent > LOOKS:
            self._end(f"the event loop has not turned for {self._limit:g} s")
        used = max((ask() for ask in self._busiest), default=0.0)
        if used > self._cpu:
            self._end(f"one job has used {used:.0f} s of CPU")

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self.look()
