"""Logging in at a relay: AUTH PLAIN (RFC 4616) or AUTH LOGIN, whichever is offered (RFC 4954)."""

from __future__ import annotations

import base64
from collections.abc import Set
from dataclasses import dataclass, field

from mailculator.errors import RelayUnavailable


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a login.

    Arguments:
        line: what is sent; a secret.
        shown: what the trace is told instead.
        wanted: the code that the relay must answer with.
    """

    line: bytes = field(repr=False)
    shown: str
    wanted: int


def login(mechanisms: Set[str], user: str, password: str) -> tuple[Step, ...]:
    """The lines of a login. Errors: RelayUnavailable where no mechanism of ours is offered.

    Arguments:
        mechanisms: offered, in lower case. PLAIN goes first: it takes one line, and it has an RFC.
    """
    name, secret = user.encode(), password.encode()
    if "plain" in mechanisms:
        return (Step(b"AUTH PLAIN " + base64.b64encode(b"\0" + name + b"\0" + secret), "AUTH PLAIN ***", 235),)
    if "login" in mechanisms:
        return (
            Step(b"AUTH LOGIN", "AUTH LOGIN", 334),
            Step(base64.b64encode(name), "***", 334),
            Step(base64.b64encode(secret), "***", 235),
        )
    raise RelayUnavailable("auth", "the relay offers neither AUTH PLAIN nor AUTH LOGIN")
