"""What all cells of one dependency came to, and the record of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.chaos.record import Proof, percentile
from tests.faults.cells import Cell, Dependency, chosen, repeats
from tests.faults.trial import Outcome
from tests.support.outage_bench import RETURN_LIMIT

TIMED_FROM = 3
"""Repeats from which on it is judged how fast things went; in fewer the machine has as much to say as the service."""
LEAST_SHARE = 0.8
"""What the others keep of their pace while one dependency is ill."""
_ON = {
    Dependency.MARIADB: "MariaDB",
    Dependency.DYNAMODB: "DynamoDB (moto)",
    Dependency.RELAY: "the relay",
    Dependency.CALLBACK: "the callback",
}


@dataclass
class Tally:
    """One dependency's."""

    dependency: Dependency
    seed: int
    outcomes: list[Outcome] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def keep(self) -> None:
        """Write down what there is, where the environment says."""
        if self.outcomes:
            seconds = time.monotonic() - self.begun
            whole = {one.cell for one in self.outcomes} >= set(chosen(self.dependency))
            Proof.of("faults", _ON[self.dependency], [self.seed], seconds, self.figures(), whole=whole).keep()

    def figures(self) -> dict[str, int | float | str]:
        """By the names in which people read them."""
        verdicts = [one.verdict for one in self.outcomes]
        shares = self._shares()
        return {
            "cells": f"{len({one.cell for one in self.outcomes})} of {len(chosen(self.dependency))}",
            "repeats": repeats(),
            "mails": sum(one.mails for one in self.outcomes),
            "lost": sum(len(one.lost) for one in verdicts),
            "stuck": sum(len(one.stuck) for one in verdicts),
            "falsely final": sum(len(one.falsely_final) for one in verdicts),
            "doubled in the window": sum(len(one.doubled_in_window) for one in verdicts),
            "doubled elsewhere": sum(len(one.doubled_outside) + len(one.doubled_after_pause) for one in verdicts),
            "other faults": sum(len(one.set_aside) + len(one.broken) for one in verdicts)
            + sum(len(one.complaints) for one in self.outcomes),
            "moving again after p50 / p99 / max": _spread([one.moving for one in self.outcomes]),
            "all ended after p50 / p99 / max": _spread([one.ended for one in self.outcomes]),
            **({"least share of the others' pace": f"{min(shares):.0%}"} if shares else {}),
        }

    def _shares(self) -> list[float]:
        """Of each cell, the median over its repeats."""
        by_cell: defaultdict[Cell, list[float]] = defaultdict(list)
        for one in self.outcomes:
            if one.share is not None:
                by_cell[one.cell].append(one.share)
        return [median(shares) for shares in by_cell.values()]


def too_late(outcomes: Sequence[Outcome], patience: float) -> list[str]:
    """Whether recovery took longer than is promised, by the median over the repeats: a busy machine has its moments.

    Arguments:
        patience: the service's own with what hangs, in seconds.
    """
    limit, took = RETURN_LIMIT + patience, [one.ended for one in outcomes]
    if not took or median(took) <= limit:
        return []
    return [f"ended {median(took):.1f} s after it was healed, and {limit:g} s are promised: {took}"]


def too_slow(outcomes: Sequence[Outcome]) -> list[str]:
    """Whether the others lost more of their pace than is promised, by the median over the repeats."""
    shares = [one.share for one in outcomes if one.share is not None]
    if not shares or median(shares) >= LEAST_SHARE:
        return []
    return [f"the others kept {median(shares):.0%} of their pace: {', '.join(f'{share:.0%}' for share in shares)}"]


def _spread(seconds: Sequence[float]) -> str:
    return " / ".join(
        f"{value:.1f} s"
        for value in (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds))
        if value is not None
    )
