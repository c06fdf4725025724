from __future__ import annotations

import pytest

from mailculator.throttling import asks_for_less


@pytest.mark.parametrize(
    ("code", "text", "phase", "wanted"),
    [
        (421, "4.7.0 Too many connections from your host", "greeting", "421"),
        (421, "closing", "rcpt", "421"),
        (454, "Throttling failure: Maximum sending rate exceeded.", "data", "454"),
        (454, "Throttling failure: Daily message quota exceeded.", "body", "454"),
        (454, "4.7.0 Temporary authentication failure", "auth", ""),
        (454, "TLS not available due to temporary reason", "tls", ""),
        (450, "4.2.1 The user you are trying to contact is receiving mail at a rate that ...", "rcpt", "45x"),
        (451, "4.7.1 Please slow down", "mail", "45x"),
        (452, "4.3.1 Message rate limit exceeded", "body", "45x"),
        (450, "4.7.1 Error: too much mail from 127.0.0.1", "mail", "45x"),
        (450, "4.2.0 <ann@example.org>: Recipient address rejected: Greylisted", "rcpt", ""),
        (452, "4.2.2 The email account that you tried to reach is over quota", "rcpt", ""),
        (452, "4.5.3 Too many recipients", "rcpt", ""),
        (452, "4.3.1 Insufficient system storage", "mail", ""),
        (451, "4.3.0 Temporary lookup failure", "rcpt", ""),
        (550, "5.7.1 rate limited", "rcpt", ""),
        (250, "ok", "body", ""),
        (None, "no answer in time: rate", "connect", ""),
    ],
)
def test_what_asks_for_less(code: int | None, text: str, phase: str, wanted: str) -> None:
    assert asks_for_less(code, text, phase=phase) == wanted
