"""What a reply, or the lack of one, means: for the mail, for the relay, and for the connection.

Before RCPT every refusal is the relay's trouble (RelayUnavailable), but for a message too large; from RCPT on it is
about this mail (RelayDeferred, RelayRefused).
"""

from __future__ import annotations

from mailculator.errors import RelayDeferred, RelayRefused, RelayUnavailable, TransportError
from mailculator.lifecycle import clean
from mailculator.transport.replies import describe, enhanced_code, one_line
from mailculator.transport.smtp_replies import Reply, ReplyError
from mailculator.transport.smtp_wire import Wire


class Guard:
    """Whatever ends an exchange early, cancellation included, ends the connection: a late reply is nobody's.

    Only after a refusal of the mail is it in order still, and not after 421, with which the relay ends it itself.

    A class, since contextlib's generators cost a tenth of what a mail may cost.

    Arguments:
        phase: what goes on; may be set anew as an exchange goes on.
        error: what a failing link or a reply that is none becomes.
    """

    __slots__ = ("_error", "_wire", "phase")

    def __init__(self, wire: Wire, phase: str, error: type[TransportError] = RelayUnavailable) -> None:
        self._wire = wire
        self._error = error
        self.phase = phase

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            return
        if isinstance(error, (OSError, ReplyError)):
            self._wire.abort()
            raise self._error(self.phase, describe(error)) from error
        if not isinstance(error, (RelayDeferred, RelayRefused)) or error.code == 421:
            self._wire.abort()


def require(phase: str, reply: Reply, code: int | None = None) -> None:
    """Errors: RelayUnavailable, unless the reply has that code, or is 2yz where none is given."""
    if reply.code != code and (code is not None or reply.code // 100 != 2):
        raise RelayUnavailable(phase, one_line(reply.words), reply.code)


def accept(phase: str, reply: Reply) -> None:
    """Judge the reply to RSET, MAIL, RCPT or DATA. Errors: RelayUnavailable, RelayDeferred, RelayRefused."""
    if reply.code == (354 if phase == "data" else 250):  # as nearly all are
        return
    match phase:
        case "mail" if _too_large(reply):
            raise RelayRefused(phase, one_line(reply.words), reply.code)
        case "rset" | "mail":
            require(phase, reply)
        case "data" if reply.code == 354:
            return
        case "rcpt" if reply.code // 100 == 2:
            return
        case _:
            raise refusal(phase, reply)


def settle(reply: Reply, text: str) -> str:
    """What the reply to the final dot means: accepted, and in which words. Errors: RelayDeferred, RelayRefused.

    Arguments:
        text: the reply's words on one line.
    """
    if reply.code // 100 != 2:
        raise refusal("body", reply)
    return clean(f"{reply.code} {text}")


def refusal(phase: str, reply: Reply) -> TransportError:
    """The error that a reply stands for which is not the one wanted, from RCPT on."""
    error = {4: RelayDeferred, 5: RelayRefused}.get(reply.code // 100, RelayUnavailable)
    return error(phase, one_line(reply.words), reply.code)


def leaves_mail_behind(code: int) -> bool:
    """Whether a relay that said this to DATA is done with the mail, and the session in order."""
    return code // 100 in (4, 5) and code != 421


def ended_before_mail(error: RelayUnavailable) -> bool:
    """Whether a used session had ended before the relay heard of the mail, so that another connection may do.

    A MAIL that is not answered in time says nothing of the kind: the relay had just answered RSET.
    """
    if error.phase == "mail":
        return error.code == 421 or (error.code is None and not isinstance(error.__cause__, TimeoutError))
    return error.phase == "rset"


def _too_large(reply: Reply) -> bool:
    """Whether MAIL was refused for its SIZE parameter (RFC 1870 section 6.1), not for what the relay lacks.

    452 there is the relay's disk, and 552 with another enhanced code (5.2.2: quota) is the account's.
    """
    if reply.code // 100 != 5:
        return False
    enhanced = enhanced_code(reply.text)
    return (reply.code == 552 and enhanced is None) or enhanced in ("5.3.4", "5.2.3")
