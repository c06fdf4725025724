"""What a run leaves behind: a JSON file of figures, and no words about single mails."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from benchmarks.report import machine
from tests.chaos.parts import Part

RECORDS = "MAILCULATOR_TEST_CHAOS_RECORDS"
"""Directory that the records go to; none are written when it is not set."""
SIZE = "MAILCULATOR_TEST_CHAOS_SIZE"
"""Set to full by the targets of make that ask for large figures."""
COMMIT = "MAILCULATOR_TEST_CHAOS_COMMIT"
"""Short hash of the tree as the run began, with -dirty where it had been changed."""
FULL, SMALL = "full", "small"
FAULTS = frozenset(
    {
        "lost",
        "stuck",
        "falsely final",
        "set aside",
        "doubled elsewhere",
        "second copy elsewhere",
        "other faults",
        "other errors",
        "disagreements",
        "taken from the living",
        "restarts of replicas",
        "without their mark on the disk",
        "worlds that do not hold",
    }
)
"""Figures of which each has to be 0 for what was promised to hold."""
_UNFIT = re.compile(r"[^A-Za-z0-9.+-]+")


def asked_size(*, whole: bool = True) -> str:
    """How large the run is: what make asked for, and small where it left out some of it, or nobody asked."""
    return FULL if whole and os.environ.get(SIZE) == FULL else SMALL


def tree() -> str:
    """What was run; empty where make did not say."""
    return os.environ.get(COMMIT, "")


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
        part, parts: which one of how many, where a run was cut into such as run side by side.
        commit: of the tree that was run; empty if unknown.
        size: full or small.
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
    part: int = 1
    parts: int = 1
    commit: str = field(default_factory=tree)
    size: str = field(default_factory=asked_size)

    @property
    def name(self) -> str:
        """Of the row that it fills, fit for a file."""
        return _fit(Part(self.part, self.parts).label(f"{self.what}-{self.store}"))

    @property
    def faults(self) -> dict[str, int | float | str]:
        """What must not be there, and is."""
        found: dict[str, int | float | str] = {
            "lost": self.lost,
            "stuck": self.stuck,
            "falsely final": self.falsely_final,
            "set aside": self.set_aside,
            "doubled elsewhere": self.doubled_outside,
            "other faults": self.broken + self.complaints,
        }
        return {name: count for name, count in found.items() if count}

    def keep(self) -> None:
        """Write it where the environment says, if it says so."""
        _keep(self.name, self.date, asdict(self))


@dataclass(frozen=True, slots=True)
class Proof:
    """A run whose figures are its own, not those of blows that befall replicas.

    Arguments:
        what: the kind of run: faults, simulation and the like.
        on: what it was made of: a store, or some other part.
        date: ISO 8601, UTC, when it ended.
        seconds: it took in all.
        figures: what came of it, in the order and by the names in which people read them.
        commit: of the tree that was run; empty if unknown.
        size: full or small.
        part, parts: which one of how many, where a run was cut into such as run side by side.
    """

    what: str
    on: str
    date: str
    seeds: tuple[int, ...]
    machine: str
    seconds: float
    figures: dict[str, int | float | str]
    commit: str = field(default_factory=tree)
    size: str = field(default_factory=asked_size)
    part: int = 1
    parts: int = 1

    @classmethod
    def of(
        cls,
        what: str,
        on: str,
        seeds: Sequence[int],
        seconds: float,
        figures: Mapping[str, int | float | str],
        *,
        whole: bool = True,
        part: Part = Part(),  # noqa: B008  # a value, which nobody can change
    ) -> Self:
        """One that ends now; not whole where it did only some of what was asked for."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        when, size = machine(when="at its end"), asked_size(whole=whole)
        return cls(
            what,
            on,
            date,
            tuple(seeds),
            when,
            round(seconds, 1),
            dict(figures),
            size=size,
            part=part.number,
            parts=part.of,
        )

    @property
    def name(self) -> str:
        """Of the row that it fills, fit for a file."""
        return _fit(Part(self.part, self.parts).label(f"{self.what}-{self.on}"))

    @property
    def faults(self) -> dict[str, int | float | str]:
        """What must not be there, and is."""
        return {name: figure for name, figure in self.figures.items() if name in FAULTS and figure}

    def keep(self) -> None:
        """Write it where the environment says, if it says so."""
        _keep(self.name, self.date, asdict(self))


def _fit(name: str) -> str:
    return _UNFIT.sub("-", name)


def _keep(name: str, date: str, values: dict[str, object]) -> None:
    if folder := os.environ.get(RECORDS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = Path(folder, f"{name}-{date.replace(':', '')}.json")
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so many of all do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(share * len(values)) - 1)], 2)
