"""Which worlds a run makes, and what it leaves behind: its figures, and of a world that fails how it can be had again.

MAILCULATOR_TEST_SIMULATION_SEEDS    worlds in all, 200 without a word
MAILCULATOR_TEST_SIMULATION_MAILS    in each
MAILCULATOR_TEST_SIMULATION_FIRST    the first seed; the others follow it
MAILCULATOR_TEST_SIMULATION_SEED     this one and no other
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.chaos.record import Proof, percentile
from tests.simulation.world import Outcome, simulate

SEEDS = "MAILCULATOR_TEST_SIMULATION_SEEDS"
MAILS = "MAILCULATOR_TEST_SIMULATION_MAILS"
FIRST = "MAILCULATOR_TEST_SIMULATION_FIRST"
SEED = "MAILCULATOR_TEST_SIMULATION_SEED"
CELLS = 20
"""Tests that share the seeds; half of them stand in each of two files, since a file may be all that a worker gets."""
SHOWN = 5
SECONDS_EACH = 60.0
"""For one world, on the slowest machine; only one that hangs needs them."""


def mails() -> int:
    """In each world."""
    return int(os.environ.get(MAILS, "15"))


def seeds(cell: int) -> list[int]:
    """Those of one cell, 0 to CELLS - 1."""
    if SEED in os.environ:
        return [int(os.environ[SEED])] if cell == 0 else []
    first = int(os.environ.get(FIRST, "0"))
    return list(range(first + cell, first + int(os.environ.get(SEEDS, "200")), CELLS))


def time_limit() -> float:
    """Seconds after which a cell has hung."""
    return 300.0 + SECONDS_EACH * len(seeds(0))


def explain(outcome: Outcome) -> str:
    """What does not hold in a world, what happened last in it, and how to have it again."""
    again = f"{SEED}={outcome.seed} {MAILS}={outcome.mails} .venv/bin/pytest tests/simulation -k 'worlds and cell0'"
    shown = "\n".join(f"  {fault}" for fault in outcome.faults[:SHOWN])
    last = "\n".join(f"  {line}" for line in outcome.last)
    return (
        f"seed {outcome.seed}: {len(outcome.faults)} faults\n{shown}\nthe last of its history:\n{last}\nagain: {again}"
    )


@dataclass
class Tally:
    """What all worlds of a file have come to."""

    outcomes: list[Outcome] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def hold(self, cell: int) -> None:
        """Make the worlds of a cell. AssertionError with all that is to be known of the first that does not hold."""
        with _rarely_collected():
            for seed in seeds(cell):
                outcome = simulate(seed, mails())
                self.outcomes.append(outcome)
                assert not outcome.faults, explain(outcome)

    def keep(self, on: str) -> None:
        """Write down what it was."""
        if not self.outcomes:
            return
        counted: Counter[str] = Counter()
        for one in self.outcomes:
            counted.update(one.counted)
        recovered = [one.recovered for one in self.outcomes]
        figures = {
            "seeds": len(self.outcomes),
            "mails": sum(one.mails for one in self.outcomes),
            "virtual hours": round(sum(one.seconds for one in self.outcomes) / 3600, 1),
            "kills": counted["kill"],
            "machines lost": counted["machine"],
            "freezes": counted["freeze"],
            "drains": counted["drain"],
            "outages of store, relay, callback, share or disk": counted["spell"],
            "single faults": counted["fault"],
            "rescued": counted["rescued"],
            "lost": sum(len(one.verdict.lost) for one in self.outcomes),
            "stuck": sum(len(one.verdict.stuck) for one in self.outcomes),
            "falsely final": sum(len(one.verdict.falsely_final) for one in self.outcomes),
            "set aside": sum(len(one.verdict.set_aside) for one in self.outcomes),
            "doubled in the window": sum(len(one.verdict.doubled_in_window) for one in self.outcomes),
            "doubled after a pause": sum(len(one.verdict.doubled_after_pause) for one in self.outcomes),
            "doubled elsewhere": sum(len(one.verdict.doubled_outside) for one in self.outcomes),
            "worlds that do not hold": sum(bool(one.faults) for one in self.outcomes),
            "ended after all was well, p50": percentile(recovered, 0.5) or 0.0,
            "p99": percentile(recovered, 0.99) or 0.0,
        }
        known = [one.seed for one in self.outcomes]
        Proof.of("simulation", on, [min(known), max(known)], time.monotonic() - self.began, figures).keep()


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """A world makes many objects and lets go of all of them at its end: looking for garbage before that is in vain."""
    usual = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@contextmanager
def tallied(on: str) -> Iterator[Tally]:
    """Of one file, which has to stay with one worker."""
    tally = Tally()
    yield tally
    tally.keep(on)
