"""Progress of long work, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

TELL_EVERY = 5.0
"""Seconds between two lines."""


class Progress:
    """Tells how far it is, as often as a reader likes to hear of it.

    Arguments:
        clock: monotonic seconds.
        at_once: whether the first word comes before TELL_EVERY has passed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, at_once: bool = True) -> None:
        self._clock = clock
        self._next = clock() + (0.0 if at_once else TELL_EVERY)

    def __call__(self, text: Callable[[], str]) -> None:
        """Tell it, unless something was told just now."""
        from mailculator.cli import output

        now = self._clock()
        if now >= self._next:
            self._next = now + TELL_EVERY
            print(output.clean(text()), file=sys.stderr, flush=True)
