from __future__ import annotations

import base64

import pytest

from mailculator.errors import RelayUnavailable
from mailculator.transport.smtp_auth import login


def test_plain_goes_first() -> None:
    [step] = login({"login", "plain"}, "wé", "p s")
    assert step.line == b"AUTH PLAIN " + base64.b64encode("\0wé\0p s".encode())
    assert (step.shown, step.wanted) == ("AUTH PLAIN ***", 235)


def test_login() -> None:
    steps = login({"cram-md5", "login"}, "we", "secret")
    assert [step.line for step in steps] == [b"AUTH LOGIN", base64.b64encode(b"we"), base64.b64encode(b"secret")]
    assert [(step.shown, step.wanted) for step in steps] == [("AUTH LOGIN", 334), ("***", 334), ("***", 235)]


def test_neither() -> None:
    with pytest.raises(RelayUnavailable, match="neither"):
        login({"cram-md5"}, "we", "secret")


def test_no_secret_is_in_a_steps_repr() -> None:
    for mechanism in ("plain", "login"):
        said = repr(login({mechanism}, "we", "secret"))
        assert "secret" not in said
        assert base64.b64encode(b"secret").decode() not in said
        assert base64.b64encode(b"\0we\0secret").decode() not in said
