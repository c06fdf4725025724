"""The how-manieth attempt a step belongs to, by what the history tells."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailculator.insight.attempts import attempts
from mailculator.model import HistoryEntry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Line = tuple[int | None, str, int | None]
"""Version, status, and the attempt that it belongs to."""

BORN: Line = (None, "ACCEPTED", None)
TAKEN_IN: list[Line] = [BORN, (2, "INTAKING", 1), (3, "READY", 1)]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [BORN],
        [*TAKEN_IN, (4, "PROCESSING", 1), (5, "SENT", 1), (6, "CALLING-SENT-CALLBACK", 1), (7, "SENT-ACKNOWLEDGED", 1)],
        # A step back, for whatever reason, ends its attempt and begins none.
        [*TAKEN_IN, (4, "PROCESSING", 1), (5, "READY", 1), (6, "PROCESSING", 2), (7, "READY", 2), (8, "PROCESSING", 3)],
        # Each stage begins anew, and so does a requeue, which belongs to no attempt itself.
        [
            *TAKEN_IN,
            *((4, "PROCESSING", 1), (5, "READY", 1), (6, "PROCESSING", 2), (7, "FAILED", 2)),
            *((8, "CALLING-FAILED-CALLBACK", 1), (9, "FAILED", 1), (10, "READY", None), (11, "PROCESSING", 1)),
        ],
        [BORN, (2, "INTAKING", 1), (3, "INVALID", 1), (4, "ACCEPTED", None), (5, "INTAKING", 1), (6, "FAILED", 1)],
        # A mark of an operator's, and a producer's line that comes late, change nothing.
        [(2, "INTAKING", 1), BORN, (3, "ACCEPTED", 1), (None, "ACCEPTED", None), (4, "INTAKING", 2)],
        # Another program has moved it meanwhile: how often it was tried by then, nobody knows.
        [*TAKEN_IN, (4, "PROCESSING", 1), (None, "READY", None), (6, "PROCESSING", None), (7, "SENT", None)],
        [BORN, (4, "PROCESSING", None), (5, "READY", None), (6, "PROCESSING", None), (7, "SENT", None)],
        # The same where its moves raise no version, as on DynamoDB: no move of ours leads from one to the other.
        [*TAKEN_IN, (4, "PROCESSING", 1), (None, "READY", None), (5, "PROCESSING", None), (6, "READY", None)],
        # After that it comes to a stage before our eyes.
        [BORN, (4, "PROCESSING", None), (5, "SENT", None), (6, "CALLING-SENT-CALLBACK", 1), (7, "SENT", 1)],
        # Older lines are not kept, and the first that is there may be a step back or not.
        [BORN, (40, "READY", None), (41, "PROCESSING", None), (42, "FAILED", None), (43, "CALLING-FAILED-CALLBACK", 1)],
        # What somebody has put there by hand.
        [BORN, (2, "INTAKING", 1), (3, "NONSENSE", None), (4, "READY", None), (5, "PROCESSING", None)],
    ],
)
def test_each_step_belongs_to_an_attempt_or_to_none(lines: list[Line]) -> None:
    history = [HistoryEntry(status, version, None, NOW) for version, status, _ in lines]

    assert attempts(history) == [attempt for _, _, attempt in lines]
