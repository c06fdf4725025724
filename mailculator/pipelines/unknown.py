"""The outcome that nobody knows: the message left, and the relay's answer never came."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from mailculator.lifecycle import UNKNOWN, Back, Failed, Park, Unknown, says_unknown
from mailculator.model import Email


class Policy(StrEnum):
    """What becomes of such mail.

    RESEND sends it once more, under the same Message-ID, and fails it if that ends the same way. HOLD sets it aside for
    an operator, who may ask the relay's log. FAIL tells its producer.
    """

    RESEND = "resend"
    HOLD = "hold"
    FAIL = "fail"


def decide(policy: Policy, email: Email, reason: str, again: Callable[[str], Back]) -> Unknown:
    """What follows from an unknown outcome.

    Arguments:
        reason: how it came about.
        again: gives the mail back for another try, with that last error.
    """
    text = f"{UNKNOWN}: {reason}"
    match policy:
        case Policy.HOLD:
            return Unknown(Park(text))
        case Policy.RESEND if not is_unknown(email):
            return Unknown(again(text))
        case _:
            return Unknown(Failed(text))


def is_unknown(email: Email) -> bool:
    """Whether the relay may have taken this mail already."""
    return says_unknown(email.last_error)


def remember(email: Email, reason: str) -> str:
    """The reason of a try that failed otherwise, keeping that an earlier one ended unknown: only one may."""
    return f"{UNKNOWN} before; then {reason}" if is_unknown(email) else reason
