"""What READY mail becomes before it can go out: its envelope, and a message in memory or one that is read meanwhile."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from mailculator import address, message, message_stream, payload, prepared
from mailculator.config import Settings
from mailculator.errors import PayloadError
from mailculator.message_stream import MessageStream
from mailculator.model import Email
from mailculator.payload import Payload
from mailculator.pipelines import files
from mailculator.pipelines.feed import ROOM
from mailculator.transport.base import Envelope
from mailculator.values import value

SMALL = 65_536
"""Octets of a message that is rendered before there is room for it in memory was asked for: all connections' worth of
them is little beside the limit."""

COPIES = 3
"""How many times a mail's octets are in memory at once: as it was read, as it is rendered, and what the relay's
transport keeps of it."""


@value
class Outgoing:
    """A mail as it goes out; one that is large is not in memory."""

    envelope: Envelope
    content: bytes | MessageStream


class _About(TypedDict):
    """What a message holds beside its payload."""

    email_id: str
    domain: str
    date: datetime


class Composer:
    """Makes mail of payloads, and of what the older consumer prepared.

    It reads files: call it in a thread, but for `compose` of mail without attachments.

    Errors of all its verbs: PayloadError where it cannot be sent, PayloadUnavailable where a file cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._sender = address.parse(settings.smtp_from, "SMTP_FROM").addr_spec
        self._domain = settings.message_id_domain
        self._allowed_sender_domains = settings.allowed_sender_domains
        self._attachments = settings.attachments_base_path
        self._prepared = settings.eml_storage_path
        self._limit = settings.max_message_size

    def read(self, email: Email, path: str) -> tuple[Payload, int, Outgoing | None]:
        """A payload, and the octets of memory that its mail takes; where that is little the mail too: one journey to a
        thread less."""
        raw = files.read_payload(path)
        mail = payload.parse(raw, allowed_sender_domains=self._allowed_sender_domains)
        size = len(raw)  # its texts are no longer than that
        if mail.attachments or size > SMALL:
            size = files.check_attachments(mail, self._attachments, self._limit)
        # Streamed, only the texts are ever here as a whole.
        room = min(COPIES * size, COPIES * len(raw) + ROOM) if mail.attachments else COPIES * size
        return mail, room, self.compose(email, mail) if size <= SMALL else None

    def compose(self, email: Email, mail: Payload) -> Outgoing:
        """The mail of a payload."""
        about = _About(email_id=email.id, domain=self._domain, date=email.created_at)
        content: bytes | MessageStream
        if mail.attachments:
            attachments = files.open_attachments(mail, self._attachments, self._limit)
            content = message_stream.stream(mail, **about, attachments=attachments)
            size = content.size
            if size <= SMALL:
                content = b"".join(content)
        else:
            content = message.render(mail, **about, attachments=())
            size = len(content)
        if size > self._limit:
            raise PayloadError("size", f"the message has {size} bytes; the limit is {self._limit}")
        utf8 = mail.to.needs_smtputf8 or mail.sender.needs_smtputf8 or mail.reply_to.needs_smtputf8
        return Outgoing(Envelope(self._sender, mail.to.addr_spec, smtputf8=utf8), content)

    def measure_prepared(self, path: str) -> int:
        """The octets of memory that a prepared file's mail takes."""
        return COPIES * files.measure_prepared(path, self._prepared, self._limit)

    def load_prepared(self, path: str) -> Outgoing:
        """The mail of a prepared file."""
        found = prepared.prepare(files.read_prepared(path, self._prepared, self._limit))
        to = found.recipient
        return Outgoing(Envelope(self._sender, to.addr_spec, smtputf8=to.needs_smtputf8), found.content)
