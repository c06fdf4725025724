"""What a run leaves behind: a JSON file of figures, and no words about single mails."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDS = "MAILCULATOR_TEST_CHAOS_RECORDS"
"""Directory that the records go to; none are written when it is not set."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run.

    Arguments:
        what: kills, freezes or drains.
        date: ISO 8601, UTC, when it ended.
        seconds: it took in all.
        blows: kills, freezes or drains that were dealt out.
        struck: those of them that met a replica with mail in its hands.
        mails: put on the queue, by kind.
        complaints: what a replica did that it must not do, beside what became of the mail.
        refused_writes: claims that frozen processes were told they had lost.
        rescue: seconds from a blow to the rescue of the last of what was held; p50 and p99, None without any.
        recovery: seconds from a blow to the last of its mails being worked on again; likewise.
    """

    what: str
    store: str
    date: str
    seeds: tuple[int, ...]
    machine: str
    seconds: float
    replicas: int
    blows: int
    struck: int
    mails: dict[str, int]
    lost: int
    stuck: int
    falsely_final: int
    set_aside: int
    doubled_in_window: int
    doubled_after_pause: int
    doubled_outside: int
    broken: int
    complaints: int
    refused_writes: int
    rescue_p50: float | None
    rescue_p99: float | None
    recovery_p50: float | None
    recovery_p99: float | None

    def keep(self) -> None:
        """Write it where the environment says, if it says so."""
        if folder := os.environ.get(RECORDS):
            Path(folder).mkdir(parents=True, exist_ok=True)
            name = f"{self.what}-{self.store}-{self.date.replace(':', '')}.json"
            Path(folder, name).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so many of all do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(share * len(values)) - 1)], 2)
