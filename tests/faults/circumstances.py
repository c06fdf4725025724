"""Under which circumstances each dependency falls ill: delays, what the service itself waits for, how much load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.verdict import Kind
from tests.faults.cells import CHOICE, Cell, Dependency, Fault
from tests.faults.load import USUAL
from tests.faults.toxics import Phase
from tests.support.scenario import Variables
from tests.support.service import Line

SHORTEST = 2.0
"""Seconds that a fault lasts at the least."""
BEYOND = 1.0
"""Seconds that a fault lasts beyond the time-out that it has to outlast."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of one dependency.

    Arguments:
        scale: of all delays of the service.
        patience: seconds, scaled, after which the service gives a connection up that hangs in that phase.
        pace: mails a second on the queue, or on the one that falls ill.
        mixture: of the mails.
        variables: of the service.
        at_once: repeats of a cell that are gone through side by side.
    """

    scale: float
    patience: Mapping[Phase, float]
    pace: float
    variables: Variables
    mixture: Mapping[Kind, int] = field(default_factory=lambda: USUAL)
    at_once: int = 5

    def lasts(self, cell: Cell) -> float:
        """Seconds for which that fault is there."""
        outlasts = cell.hangs or cell.fault is Fault.BANDWIDTH
        return max(SHORTEST, self.patience[cell.phase] + BEYOND) if outlasts else SHORTEST


def _each(connect: float, other: float) -> Mapping[Phase, float]:
    return {Phase.CONNECT: connect, Phase.REQUEST: other, Phase.REPLY: other}


CIRCUMSTANCES: Mapping[Dependency, Circumstances] = {
    # A statement has 30 s, a new connection half of that.
    Dependency.MARIADB: Circumstances(0.05, _each(0.75, 1.5), 6.0, {}),
    # A call has a quarter of a lease, and no scale of its own. The emulator makes some fifty writes a second.
    Dependency.DYNAMODB: Circumstances(
        0.05,
        _each(3.2, 3.2),
        0.7,
        {"MAILCULATOR_LEASE": 250, "MAILCULATOR_BATCH_SIZE": 10, "MAILCULATOR_DYNAMODB_INTERVAL": 0.2},
        at_once=1,
    ),
    # The greeting has 30 s, the reply to the final dot ten minutes (RFC 5321 section 4.5.3.2.6). Mail that is wrong is
    # called back here, so that there are callbacks while nothing can be sent.
    Dependency.RELAY: Circumstances(
        0.02,
        _each(0.6, 12.0),
        12.0,
        {"MAILCULATOR_LEASE": 250, "MAILCULATOR_INVALID_CALLBACK": "true"},
        mixture={Kind.VALID: 6, Kind.REFUSED: 1, Kind.INVALID: 3},
    ),
    Dependency.CALLBACK: Circumstances(0.05, _each(2.0, 2.0), 12.0, {"MAILCULATOR_CALLBACK_TIMEOUT": 40}),
}

STORES = {Dependency.MARIADB: "mysql", Dependency.DYNAMODB: "dynamodb"}
"""Queues that can fall ill, by their names in the service. An embedded one beside them stays well."""

FORWARD = frozenset({"mail.prepared", "mail.invalid", "mail.sent", "mail.failed", "mail.acknowledged"})
"""Lines of the log that tell of a step ahead."""


def of_the_sick(dependency: Dependency, line: Line) -> bool:
    """Whether a step ahead has gone through what fell ill."""
    if dependency in STORES:
        return bool(line["store"] == STORES[dependency])
    if dependency is Dependency.RELAY:
        return bool(line["event"] == "mail.sent")
    return bool(line["event"] == "mail.acknowledged")


def of_the_others(dependency: Dependency, line: Line, kind: Kind | None) -> bool:
    """Whether it is a step of what does not depend on that: another store's mail, an earlier stage, mail that the
    relay never hears of."""
    if dependency in STORES:
        return bool(line["store"] != STORES[dependency])
    if dependency is Dependency.RELAY:
        return line["pipeline"] == "intake" or kind is Kind.INVALID
    return line["pipeline"] in ("intake", "sender")


def is_large() -> bool:
    """Whether all cells are gone through, so that figures are worth something."""
    return os.environ.get(CHOICE) == "all"
