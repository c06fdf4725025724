"""Payload bytes -> checked Payload. Pure: no file but the bytes it is given, no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox (RFC 5322 section 3.4), taken apart.

    Arguments:
        name: the display name as text, "" when there is none.
        local: the local part as it goes into RCPT TO, quotes included where it is quoted.
        domain: lower case, in A-label form.
    """

    name: str
    local: str
    domain: str

    @property
    def addr_spec(self) -> str:
        """local@domain."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether its local part cannot be sent without SMTPUTF8 (RFC 6531)."""
        return not self.local.isascii()


@dataclass(frozen=True, slots=True)
class AttachmentRef:
    """An attachment as the payload names it: a path yet to be joined to the base, and the name the recipient sees."""

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Payload:
    """A mail as its producer described it, every field checked.

    Arguments:
        id: as the payload says; the row's id is what counts.
        sender: the From header.
    """

    id: str
    sender: Address
    reply_to: Address
    to: Address
    subject: str
    body_html: str | None
    body_text: str | None
    attachments: tuple[AttachmentRef, ...]
    custom_headers: tuple[tuple[str, str], ...]
