"""What the marks of one claim add up to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailculator.journal.marks import Reply


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything a holder's journal says of one claim.

    Arguments:
        begun: its handling had started.
        dot: the final dot was about to leave, so the relay may have the mail.
        reply: what the relay said of it.
        ended: its handling ended with an outcome that needed no other mark.
        unreadable: part of the journal cannot be read and no reply was found in the rest: a mark that is not here may
            have been made all the same.
        outlived: seconds by which the process's last mark is later than this claim's BEGIN; 0 without a BEGIN.
    """

    begun: bool = False
    dot: bool = False
    reply: Reply | None = None
    ended: bool = False
    unreadable: bool = False
    outlived: float = 0.0


class Verdict(Enum):
    """What the relay made of a mail whose holder died."""

    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    REFUSED = "refused"


def verdict(trace: Trace) -> Verdict:
    """Whether the mail may be sent again.

    Without a dot the relay cannot have taken it: a transaction that ends before is cancelled (RFC 5321 section 4.1.1.4
    and 4.1.1.10). That needs a journal that can be read.
    """
    if trace.reply is not None:
        return Verdict.ACCEPTED if trace.reply.code // 100 == 2 else Verdict.REFUSED
    return Verdict.UNKNOWN if trace.dot or trace.unreadable else Verdict.NOT_SENT


def crashed(trace: Trace, lease: float) -> bool:
    """Whether this mail may have been what its holder died of.

    It had begun, as far as anybody knows, it had not ended, and the process made no mark later than one lease after.

    Arguments:
        lease: seconds.
    """
    begun = trace.begun or trace.dot or trace.unreadable
    return begun and not trace.ended and trace.reply is None and trace.outlived <= lease
