"""The small pieces that statements and rows are made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mailculator.model import Email, Status
from mailculator.stores import mariadb_claims, mariadb_rows
from mailculator.stores.mariadb import server_name


def test_one_value_for_all_rows_is_a_plain_parameter() -> None:
    assert mariadb_rows.per_row(["a", "b"], [7, 7]) == ("%s", [7])


def test_a_few_values_name_the_rows_that_share_them() -> None:
    assert mariadb_rows.per_row(["a", "b", "c"], [7, 8, 7]) == (
        "(CASE WHEN id IN %s THEN %s WHEN id IN %s THEN %s END)",
        [["a", "c"], 7, ["b"], 8],
    )


def test_many_values_are_looked_up_by_id() -> None:
    many = range(mariadb_rows.FEW + 1)
    expression, parameters = mariadb_rows.per_row([f"id-{number}" for number in many], list(many))
    assert expression == "(CASE id" + " WHEN %s THEN %s" * len(many) + " END)"
    assert parameters == [part for number in many for part in (f"id-{number}", number)]


def test_text_without_a_place_in_utf_8_is_still_written() -> None:
    assert mariadb_rows.text("a\ud800b") == "a?b"
    assert mariadb_rows.text("x" * 9000) == "x" * mariadb_rows.TEXT_LIMIT
    assert mariadb_rows.text(None) is None


def test_a_zero_date_is_the_epoch_and_no_error() -> None:
    assert mariadb_rows.utc("0000-00-00 00:00:00") == datetime(1970, 1, 1, tzinfo=UTC)


def test_no_delay_reaches_beyond_what_a_timestamp_can_hold() -> None:
    assert mariadb_claims.microseconds(1e12) == 31_536_000_000_000
    assert mariadb_claims.microseconds(-1) == 0


@pytest.mark.parametrize(
    ("version", "comment", "name"),
    [
        ("10.11.19-MariaDB-0+deb12u1", "Debian 12", "MariaDB 10.11.19"),
        ("8.0.36", "MySQL Community Server - GPL", "MySQL Community Server - GPL 8.0.36"),
        ("8.0.36-28", "Percona Server (GPL), Release 28", "Percona Server 8.0.36"),
        ("8.4.0", "", "MySQL 8.4.0"),
    ],
)
def test_a_server_is_named_for_people(version: str, comment: str, name: str) -> None:
    assert server_name(version, comment) == name


EMAIL = Email(
    id="a",
    status=Status.INTAKING,
    version=2,
    claim_token="mine",
    payload_file_path="/p",
    eml_file_path=None,
    reason=None,
    attempts=1,
    generation=0,
    failing_for=0.0,
    expired=False,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    reached_at=None,
)
HELD = mariadb_rows.Held("a", Status.INTAKING, 2, "mine")


def test_a_claim_stands_while_nothing_has_changed() -> None:
    assert HELD.stands(EMAIL)


@pytest.mark.parametrize(
    "changed",
    [
        replace(HELD, status=Status.READY),
        replace(HELD, version=4),
        replace(HELD, claim_token="another's"),
        replace(HELD, claim_token=None),
    ],
)
def test_g1_a_claim_falls_with_its_status_its_version_or_its_token(changed: mariadb_rows.Held) -> None:
    assert not changed.stands(EMAIL)
