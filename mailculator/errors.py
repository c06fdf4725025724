"""Every error that crosses a seam.

Driver errors never leave the file that meets them: a backend maps them to one of these, keeps the cause, and puts
the facts into attributes::

    MailculatorError
    ├── ConfigError                 bad settings; all problems at once; exit code 78
    │   └── SchemaError             the database's schema is missing, older or newer than this program can serve
    ├── StoreError
    │   ├── StoreUnavailable        the store is away or refuses for now: keep what you have and try again
    │   └── StoreRejected           the store understood and will never accept this call: a bug or a missing right
    ├── PayloadError                something is wrong with the mail itself: it becomes INVALID
    ├── PayloadUnavailable          something is wrong with the world around it: it is tried again
    ├── LeaseLapsed                 the claim ran out before the message left: nothing was sent
    ├── journal.errors.JournalBroken    a mark could not be made: what it should have allowed must not happen
    └── TransportError
        ├── RelayUnavailable        no mail was offered, or none could be: the relay's trouble, not the mail's
        ├── RelayDeferred           the relay refused this mail for now (4yz at RCPT or later)
        ├── RelayRefused            the relay refused this mail for good (5yz at RCPT or later)
        ├── RelayLost               the link died after the message had begun to leave: the outcome is unknown
        └── CallbackUnavailable     the callback URL could not be reached, or gave no usable answer in time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MailculatorError(Exception):
    """Base of everything this program raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the settings.

    Arguments:
        variable: the environment variable's name, as the operator wrote it.
        message: what is wrong and what would be right; never a secret's value.
    """

    variable: str
    message: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.message}"


class ConfigError(MailculatorError):
    """The settings cannot be used. `problems` lists every one of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SchemaError(ConfigError):
    """The store's schema does not fit this program; the message says which of the two to bring forward."""

    def __init__(self, store: str, message: str) -> None:
        self.store = store
        super().__init__([Problem(f"{store} schema", message)])


class StoreError(MailculatorError):
    """Base of what a store's verbs raise.

    Arguments:
        store: the store's name.
        op: the verb that failed.
        detail: the driver's own words, free of parameters and secrets.
    """

    def __init__(self, store: str, op: str, detail: str) -> None:
        self.store = store
        self.op = op
        self.detail = detail
        super().__init__(f"{store} {op}: {detail}")


class StoreUnavailable(StoreError):
    """The store did not answer, or cannot take this now. Whether a write was applied is not known."""


class StoreRejected(StoreError):
    """The store refused the call itself (missing table or right, bad statement)."""


class PayloadError(MailculatorError):
    """The mail cannot be sent as it is.

    Arguments:
        code: short and stable, e.g. `address_multiple`.
        detail: for a person; names the field, never quotes a body.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class PayloadUnavailable(MailculatorError):
    """A payload or attachment cannot be read for now.

    Arguments:
        detail: for a person.
        missing: the file is not there (it may come late, or never).
        shared: the whole share looks unavailable, so no mail is to blame.
    """

    def __init__(self, detail: str, *, missing: bool = False, shared: bool = False) -> None:
        self.detail = detail
        self.missing = missing
        self.shared = shared
        super().__init__(detail)


class LeaseLapsed(MailculatorError):
    """The claim was about to run out, so the message was not allowed to leave. Nothing was sent."""


class TransportError(MailculatorError):
    """Base of what sending a mail or a callback raises.

    Arguments:
        phase: where it happened: connect, tls, greeting, ehlo, auth, mail, rcpt, data, body, callback.
        detail: the peer's reply or the network's error, on one line, cleaned of addresses and control characters.
        code: the reply's three-digit code, if there was a reply.
    """

    def __init__(self, phase: str, detail: str, code: int | None = None) -> None:
        self.phase = phase
        self.detail = detail
        self.code = code
        super().__init__(f"{phase}: {code} {detail}" if code is not None else f"{phase}: {detail}")


class RelayUnavailable(TransportError):
    """The relay is down, refuses our credentials, or refuses us before RCPT: no mail may be blamed for it."""


class RelayDeferred(TransportError):
    """4yz at RCPT or later (RFC 5321 section 4.2.1: transient negative completion)."""


class RelayRefused(TransportError):
    """5yz at RCPT or later (RFC 5321 section 4.2.1: permanent negative completion)."""


class RelayLost(TransportError):
    """The connection died, or a reply did not come, after the message had begun to leave."""


class CallbackUnavailable(TransportError):
    """No usable answer from the callback URL."""
