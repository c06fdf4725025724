"""Whether this machine's wall clock agrees with a store's.

No claim, lease or due time rests on it. But the log and the journal's marks carry it, AWS refuses what is signed by a
wrong one, and people trust it.
"""

from __future__ import annotations

from mailculator.events import Observer, StoreNoticed

TOLERANCE = 60.0
"""Seconds. Clocks that somebody keeps differ by milliseconds."""
RIGHT_AGAIN = TOLERANCE / 2


class WallClock:
    """Tells when it goes wrong, when it jumps further, and when it is right again; not each time that it is looked at.

    Arguments:
        store: the name of the store that it is compared with.
    """

    def __init__(self, store: str, *, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._told: float | None = None

    def compared(self, off: float | None) -> None:
        """One comparison. `off`: seconds by which it is ahead of the store's clock; None tells nothing."""
        if off is None:
            return
        if abs(off) > TOLERANCE and (self._told is None or abs(off - self._told) > TOLERANCE):
            self._told = off
            self._observer(StoreNoticed(self._store, "clock_off", detail=f"this machine's clock is {_words(off)}"))
        elif abs(off) < RIGHT_AGAIN and self._told is not None:
            self._told = None
            self._observer(StoreNoticed(self._store, "clock_right", detail="this machine's clock agrees again"))


def _words(off: float) -> str:
    return f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the store's"
