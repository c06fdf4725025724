from __future__ import annotations

import pytest

from mailculator.transport.webhook import LONGEST_RETRY_AFTER, parse_retry_after

NOW = 1_763_625_600.0  # Thu, 20 Nov 2025 08:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("99999999999999999999", LONGEST_RETRY_AFTER),
        ("Thu, 20 Nov 2025 08:01:30 GMT", 90.0),
        ("Thu, 20 Nov 2025 07:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2099 08:00:00 GMT", LONGEST_RETRY_AFTER),
        ("Thu Nov 20 08:00:10 2025", 10.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Thu, 99 Nov 2025 08:00:00 GMT", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds
