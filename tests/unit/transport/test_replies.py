from __future__ import annotations

import pytest

from mailculator.transport.replies import enhanced_code, mask_addresses, one_line


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("5.1.1 <ann@example.org>: unknown", "5.1.1 <***@example.org>: unknown"),
        ("to=<a.b+c@x.org>, from=o'brien@y.org", "to=<***@x.org>, ***@y.org"),
        ('550 "ann smith"@example.org no', "550 ***@example.org no"),
        (r'550 "a\"b"@example.org', "550 ***@example.org"),
        ("mailto:ann@example.org", "mailto:***@example.org"),
        ("SRS0=abc=tt=dom=user@example.org", "***@example.org"),
        ("üser@exämple.org", "***@exämple.org"),
        ("a@b@c.org", "***@c.org"),
        ("ann@[192.0.2.1]", "***@[192.0.2.1]"),
        ("2.0.0 Ok: queued as 4F1A", "2.0.0 Ok: queued as 4F1A"),
        ("meet @ noon", "meet @ noon"),
        ("ann@", "***@"),
    ],
)
def test_addresses_are_masked(said: str, masked: str) -> None:
    assert mask_addresses(said) == masked


def test_a_hostile_reply_takes_time_in_proportion_to_its_length() -> None:
    # Quadratic, either of these would take minutes; the suite's own timeout is the limit.
    assert mask_addresses("a" * 1_000_000) == "a" * 1_000_000
    assert mask_addresses('"' * 20_001) == '"' * 20_001


def test_one_line_is_one_line() -> None:
    assert one_line("5.1.1 no\r\nsuch\tuser\x00\x1b[0m ann@x.org\udcff") == "5.1.1 no such user [0m ***@x.org"
    assert len(one_line("x" * 5000)) == 1000


@pytest.mark.parametrize(("said", "code"), [("5.3.4 too big", "5.3.4"), ("too big 5.3.4", None), ("", None)])
def test_enhanced_codes(said: str, code: str | None) -> None:
    assert enhanced_code(said) == code
