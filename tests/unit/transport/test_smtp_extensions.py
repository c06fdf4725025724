from __future__ import annotations

import pytest
from aiosmtplib.esmtp import parse_esmtp_extensions
from hypothesis import given
from hypothesis import strategies as st

from mailculator.errors import RelayRefused
from mailculator.transport.base import Envelope
from mailculator.transport.outgoing import check
from mailculator.transport.smtp_extensions import Extensions, mail_parameters, parse_extensions
from mailculator.transport.smtp_replies import Reply

ENVELOPE = Envelope("a@example.com", "b@example.org")
EIGHT_BIT = check("perché\r\n".encode())


def offers(*lines: str) -> Extensions:
    return parse_extensions(Reply(250, ("250-here greets", *(f"250-{line}" for line in lines))))


def test_keywords_and_mechanisms() -> None:
    found = offers("PIPELINING", "size 1000", "8BitMIME", "AUTH PLAIN Login", "AUTH=CRAM-MD5 LOGIN", "X-ODD a b")
    assert found.offered["size"] == "1000"
    assert {"pipelining", "8bitmime", "auth", "x-odd"} < set(found.offered)
    assert found.mechanisms == {"plain", "login", "cram-md5"}
    assert "smtputf8" not in found


def test_the_greeting_is_no_extension() -> None:
    assert "pipelining" not in parse_extensions(Reply(250, ("250 PIPELINING",)))


LINES = st.lists(
    st.sampled_from(
        ["SIZE 5", "SIZE", "size  7", "AUTH PLAIN LOGIN", "AUTH=LOGIN", "8BITMIME", "PIPELINING", "HELP x y"]
    ),
    unique=True,
)


@given(LINES)
def test_it_reads_what_aiosmtplib_reads(lines: list[str]) -> None:
    theirs, mechanisms = parse_esmtp_extensions("\n".join(["here", *lines]))
    ours = offers(*lines)
    assert set(ours.offered) == set(theirs)
    assert ours.mechanisms == set(mechanisms)
    if "size" in theirs:
        assert ours.offered["size"] == theirs["size"].strip()


@pytest.mark.parametrize(
    ("lines", "parameters"),
    [
        ([], ""),
        (["SIZE"], " SIZE=3"),
        (["SIZE 0"], " SIZE=3"),
        (["SIZE 3"], " SIZE=3"),
        (["SIZE lots"], " SIZE=3"),
        (["8BITMIME", "SMTPUTF8"], ""),
    ],
)
def test_what_mail_asks_for(lines: list[str], parameters: str) -> None:
    assert mail_parameters(offers(*lines), ENVELOPE, check(b"a")) == parameters


def test_what_mail_asks_for_where_more_is_needed() -> None:
    offered = offers("SIZE 100", "8BITMIME", "SMTPUTF8")
    for envelope in (Envelope("ü@example.com", "b@c"), Envelope("a@b", "ü@c"), Envelope("a@b", "b@c", smtputf8=True)):
        assert mail_parameters(offered, envelope, EIGHT_BIT) == f" SIZE={EIGHT_BIT.size} BODY=8BITMIME SMTPUTF8"


@pytest.mark.parametrize(
    ("lines", "envelope", "message", "why"),
    [
        (["SIZE 2"], ENVELOPE, b"a", "message size 3 exceeds the relay's limit of 2"),
        (["8BITMIME"], Envelope("a@b", "ü@c"), b"a", "smtputf8_unsupported"),
        (["8BITMIME"], Envelope("a@b", "b@c", smtputf8=True), b"a", "smtputf8_unsupported"),
        (["SMTPUTF8"], ENVELOPE, b"\xe9", "8bitmime_unsupported"),
    ],
)
def test_what_the_relay_cannot_take(lines: list[str], envelope: Envelope, message: bytes, why: str) -> None:
    with pytest.raises(RelayRefused, match=why):
        mail_parameters(offers(*lines), envelope, check(message))
