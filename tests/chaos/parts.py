"""A run that mostly waits, cut into parts that run side by side: each has its own queue, peers, seed and record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

PARTS = "MAILCULATOR_TEST_CHAOS_PARTS"
"""Where the environment says how many there are to be; one where it says nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of them.

    Arguments:
        number: from 1 on.
        of: how many there are.
    """

    number: int = 1
    of: int = 1

    def share(self, amount: int) -> int:
        """What falls to it, one at the least; of an amount that is enough for all, the shares are the whole."""
        return max(1, (amount + self.of - self.number) // self.of)

    def label(self, whole: str) -> str:
        """How the part of a test or of a file of that name is called."""
        return whole if self.of == 1 else f"{whole}-{self.number}-of-{self.of}"


def parts() -> Iterator[Part]:
    """All that the environment asks for."""
    count = int(os.environ.get(PARTS) or 1)
    return (Part(number, count) for number in range(1, count + 1))
