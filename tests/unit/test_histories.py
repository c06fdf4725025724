"""What counts as whole in a history, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailculator.cli.checks import judge_histories
from mailculator.cli.histories import Sampled, judge
from mailculator.model import HistoryEntry, Row, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BORN = (None, "ACCEPTED", "created by its producer")


def row(status: Status, version: int, **others: Any) -> Row:
    given: dict[str, Any] = {
        "payload_file_path": "/p.json",
        "eml_file_path": None,
        "reason": None,
        "last_error": None,
        "recipient_domain": None,
        "attempts": 0,
        "generation": 0,
        "parked": False,
        "claimed_by": None,
        "claim_token": None,
        "ttl": None,
        "created_at": NOW,
        "updated_at": NOW,
        "due_at": NOW,
        "lease_until": None,
        "reached_at": None,
    }
    return Row(id="a", status=status, version=version, **given | others)


def history(*lines: tuple[int | None, str] | tuple[int | None, str, str]) -> list[HistoryEntry]:
    return [HistoryEntry(line[1], line[0], line[2] if len(line) > 2 else None, NOW) for line in lines]


SENT = [(2, "INTAKING"), (3, "READY"), (4, "PROCESSING"), (5, "SENT")]


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        (1, [BORN]),
        (1, []),
        (5, [BORN, *SENT]),
        # Moved between the look at the row and the one at its history.
        (4, [BORN, *SENT]),
        # Released by an operator: a note that is no move.
        (5, [BORN, *SENT[:3], (None, "READY", "released"), SENT[3]]),
        # The older consumer did what our versions lack.
        (5, [BORN, (None, "INTAKING"), (None, "READY"), *SENT[2:]]),
        (4, [BORN, (2, "INTAKING"), (3, "INVALID"), (4, "ACCEPTED", "requeued")]),
        # A producer has put it back, which DynamoDB's records tell nobody.
        (5, [BORN, (2, "INTAKING"), (3, "INTAKING"), *SENT[2:]]),
        # DynamoDB keeps the newest lines.
        (5, [BORN, (None, "ACCEPTED", "2 older lines are not kept"), *SENT[2:]]),
    ],
)
def test_bad_input_48_whole_or_explained(version: int, lines: list[Any]) -> None:
    assert judge(row(Status.SENT, version), history(*lines)) is None


@pytest.mark.parametrize(
    ("version", "lines", "words"),
    [
        (5, [BORN, *SENT[1:]], "lacks version 2"),
        (5, [BORN, SENT[0], *SENT[2:]], "lacks version 3"),
        (5, [BORN, SENT[0], SENT[3]], "lacks version 3-4"),
        (6, [BORN, *SENT[1:]], "lacks version 2, 6"),
        (5, [BORN, (None, "ACCEPTED", "1 older lines are not kept"), SENT[1], SENT[3]], "lacks version 4"),
        (5, [BORN, (2, "INTAKING"), (3, "INVALID"), (4, "PROCESSING"), (5, "SENT")], "goes from INVALID to PROCESSING"),
    ],
)
def test_bad_input_48_a_gap_or_two_ends(version: int, lines: list[Any], words: str) -> None:
    found = judge(row(Status.SENT, version), history(*lines))
    assert found is not None
    assert words in found


def test_a_history_that_is_gone_altogether_is_missed_where_the_email_is_known_to_be_ours() -> None:
    """Rows of an older service may have lost theirs long ago, and that is not for us to say."""
    assert judge(row(Status.SENT, 5), history(BORN)) is None
    assert judge(row(Status.SENT, 5, reached_at=NOW), history(BORN)) == "lacks version 2-5"


def test_a_version_beyond_all_reason_takes_no_time() -> None:
    found = judge(row(Status.SENT, 2_147_483_647, claim_token="t"), history(BORN))
    assert found == "lacks version 2-1002"


def test_ten_are_named_and_the_others_counted() -> None:
    found = judge_histories("mysql", Sampled(200, {f"id-{number:02}": "lacks version 2" for number in range(12)}))

    assert found.verdict == "wrong"
    assert found.detail.startswith("12 of 200 emails looked at: id-00 lacks version 2; ")
    assert "id-09" in found.detail
    assert "id-10" not in found.detail
    assert found.detail.endswith("and 2 more")
