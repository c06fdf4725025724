"""The deep queue as an operator finds it: emails in every status where some may stand, parked ones, and many domains.

What is in benchmarks/deep_queue.py waits or is finished, and all of it goes to one domain. Here a part of it is made
otherwise, chosen by how its id ends: ids are random, so each part lies all over the tables. One part is chosen by how
its id begins: those lie together, as where a producer's ids go up with the time.
"""

from __future__ import annotations

from benchmarks.deep_queue import DeepQueue

FREQUENT = "example.org"
"""The domain of seven emails in eight."""
RARE = "abc.example"
"""The domain of one email in 65,536: there are 4,096 like it."""
PARKED = "0f"
"""How the ids of parked emails end, where they wait to be sent: one in 256."""

_ELSEWHERE = (
    "UPDATE emails SET recipient_domain = CONCAT(SUBSTR(id, 33, 3), '.example') WHERE id LIKE '%d'",
    "UPDATE emails SET recipient_domain = NULL WHERE id LIKE '%e'",
)
_SET_ASIDE = (
    f"UPDATE emails SET parked = 1, last_error = 'parked by anna' WHERE status = 'READY' AND id LIKE '%{PARKED}'"
)
_MOVE = "UPDATE emails SET status = '{status}', reason = '{reason}' WHERE status = 'READY' AND id LIKE '%{ends}'"
_ASTRAY = (
    ("ACCEPTED", "", "1f"),
    ("SENT", "", "2f"),
    ("FAILED", "550 5.1.1 no such user", "3f"),
    ("FAILED-ACKNOWLEDGED", "550 5.1.1 no such user", "4f"),
    ("FAILED-ACKNOWLEDGED", "outcome unknown: the reply was lost", "05f"),
)
_TOGETHER = "UPDATE emails SET status = 'INVALID', reason = 'no_recipient' WHERE status = 'READY' AND id >= 'ffc'"
"""One in 1,024, the last of all ids."""
_LOST = "UPDATE emails SET last_error = 'outcome unknown: the reply was lost' WHERE status = 'READY' AND id LIKE '%06f'"


def mix(deep: DeepQueue) -> None:
    """Have a part of what waits stand elsewhere, and a part of everything go to other domains."""
    moves = (_MOVE.format(status=status, reason=reason, ends=ends) for status, reason, ends in _ASTRAY)
    deep.execute(*_ELSEWHERE, _SET_ASIDE, *moves, _TOGETHER, _LOST, "ANALYZE TABLE emails")


def pause(deep: DeepQueue) -> None:
    """Have nothing claimed any more, as an operator does it."""
    deep.execute("INSERT INTO mailculator_pauses (pipeline, who, why) VALUES ('*', 'anna', 'measured')")


def resume(deep: DeepQueue) -> None:
    """Have everything claimed again."""
    deep.execute("DELETE FROM mailculator_pauses")
