"""Every dependency, every fault, every phase: 108 cells, those that a run goes through, and why some are none."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.toxics import (
    Bandwidth,
    Blackhole,
    CutAfter,
    Fin,
    HalfOpen,
    Jitter,
    Latency,
    Phase,
    Reset,
    Slicer,
    Toxic,
)

CHOICE = "MAILCULATOR_TEST_FAULTS"
"""`all`, or nothing for the few that a run of all tests has time for."""
REPEATS = "MAILCULATOR_TEST_FAULTS_REPEATS"
SEED = "MAILCULATOR_TEST_FAULTS_SEED"
LATE = 5.0
"""Seconds of latency, before they are scaled; of jitter, on the average."""
RATE = 1000.0
"""Bytes a second, which nothing scales: mail and statements have the length that they have."""
LONGEST_PART = 2000
"""Bytes that come through before a cut, at the most: more than a statement or a short mail has."""
FORGOTTEN = 0.5
"""Which part of the connections in a black hole stays there."""


class Dependency(StrEnum):
    """What the service cannot do without."""

    MARIADB = "mariadb"
    DYNAMODB = "dynamodb"
    RELAY = "relay"
    CALLBACK = "callback"


class Fault(StrEnum):
    """What may befall the way to it; toxics.py says what each of them is in each phase."""

    LATENCY = "latency"
    JITTER = "jitter"
    BANDWIDTH = "bandwidth"
    RESET = "reset"
    FIN = "fin"
    BLACKHOLE = "blackhole"
    HALF_OPEN = "half-open"
    SLICER = "slicer"
    CUT = "cut"


NONE_SUCH: Mapping[tuple[Fault, Phase], str] = {
    (Fault.BANDWIDTH, Phase.CONNECT): "a handshake has no bytes that could come slowly; late ones are latency-connect",
    (Fault.SLICER, Phase.CONNECT): "a handshake has no bytes that could be sliced",
    (Fault.CUT, Phase.CONNECT): "a handshake has no bytes to cut after: cut after none it is fin-connect",
}
"""Cells that are impossible or another one over again, with each dependency, and why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One of the 108."""

    dependency: Dependency
    fault: Fault
    phase: Phase

    def __str__(self) -> str:
        return f"{self.fault}-{self.phase}"

    @property
    def reason(self) -> str | None:
        """Why there is no such cell; None where there is."""
        return NONE_SUCH.get((self.fault, self.phase))

    @property
    def hangs(self) -> bool:
        """Whether a connection that it meets ends by the service's own time-out."""
        return self.fault in (Fault.BLACKHOLE, Fault.HALF_OPEN)

    @property
    def is_seen(self) -> bool:
        """Whether the proxy is told when a connection meets it: what the kernel refuses, it does not hear of."""
        return self.phase is not Phase.CONNECT or self.fault not in (Fault.RESET, Fault.BLACKHOLE)

    def toxic(self, scale: float, rng: random.Random) -> Toxic:
        """The fault itself. `scale`: of its seconds."""
        match self.fault:
            case Fault.LATENCY:
                return Latency(LATE * scale)
            case Fault.JITTER:
                return Jitter(LATE * scale, rng)
            case Fault.BANDWIDTH:
                return Bandwidth(RATE)
            case Fault.RESET:
                return Reset()
            case Fault.FIN:
                return Fin()
            case Fault.BLACKHOLE:
                return Blackhole(lambda: rng.random() < FORGOTTEN)
            case Fault.HALF_OPEN:
                return HalfOpen(self.phase)
            case Fault.SLICER:
                return Slicer()
            case Fault.CUT:
                return CutAfter(lambda: int(LONGEST_PART ** rng.random()))


CELLS = tuple(Cell(dependency, fault, phase) for dependency in Dependency for fault in Fault for phase in Phase)
FEW = frozenset(
    {
        Cell(Dependency.MARIADB, Fault.BLACKHOLE, Phase.REPLY),
        Cell(Dependency.MARIADB, Fault.CUT, Phase.REQUEST),
        Cell(Dependency.MARIADB, Fault.RESET, Phase.CONNECT),
        Cell(Dependency.DYNAMODB, Fault.RESET, Phase.REPLY),
        Cell(Dependency.DYNAMODB, Fault.JITTER, Phase.REQUEST),
        Cell(Dependency.DYNAMODB, Fault.LATENCY, Phase.CONNECT),
        Cell(Dependency.RELAY, Fault.CUT, Phase.REPLY),
        Cell(Dependency.RELAY, Fault.SLICER, Phase.REQUEST),
        Cell(Dependency.RELAY, Fault.BLACKHOLE, Phase.CONNECT),
        Cell(Dependency.CALLBACK, Fault.HALF_OPEN, Phase.REQUEST),
        Cell(Dependency.CALLBACK, Fault.BANDWIDTH, Phase.REPLY),
        Cell(Dependency.CALLBACK, Fault.FIN, Phase.CONNECT),
    }
)
"""Each fault at the least once, each dependency three times."""


def chosen(dependency: Dependency) -> list[Cell]:
    """What this run goes through, of that dependency."""
    large = os.environ.get(CHOICE) == "all"
    return [cell for cell in CELLS if cell.dependency is dependency and cell.reason is None and (large or cell in FEW)]


def repeats() -> int:
    """How often each cell is gone through."""
    return int(os.environ.get(REPEATS, "1"))


def new_seed() -> int:
    """The one that the environment names, or any."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))


def again(cell: Cell, seed: int) -> str:
    """How a run of that cell can be had again: the same choices, the machine's own timing aside."""
    given = f"{CHOICE}=all {REPEATS}={repeats()} {SEED}={seed}"
    return f"{given} .venv/bin/pytest tests/faults/test_faults_{cell.dependency}.py -k {cell}"
