"""send-test: one mail through the configured relay, with the conversation on the screen."""

from __future__ import annotations

import base64
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator.cli import output

if TYPE_CHECKING:
    from mailculator.address import Address
    from mailculator.config import Settings


def send_test(address: Annotated[str, typer.Argument(help="Whom to send it to.", metavar="ADDRESS")]) -> None:
    """Send one mail through the configured relay.

    Prints the conversation, the password masked (C is this side, S the relay). Exit code 1 when the mail is refused,
    69 when the relay does not answer.
    """
    output.run(_send(address))


async def _send(text: str) -> None:
    from mailculator import address, config
    from mailculator.errors import PayloadError, RelayUnavailable, TransportError
    from mailculator.transport.base import Envelope
    from mailculator.transport.relay_settings import relay_settings
    from mailculator.transport.smtp import SmtpRelay

    try:
        to = address.parse(text, "ADDRESS")
    except PayloadError as error:
        raise output.misused("ADDRESS", error.detail) from error
    settings = config.load(needs={"smtp"})
    sender = address.parse(settings.smtp_from, "SMTP_FROM")
    mask = _mask(settings)
    relay = SmtpRelay(relay_settings(settings), settings.timing, trace=lambda who, line: tell(mask(f"{who}: {line}")))
    envelope = Envelope(sender.addr_spec, to.addr_spec, smtputf8=sender.needs_smtputf8 or to.needs_smtputf8)
    try:
        reply = await relay.send(
            envelope, _mail(settings, sender, to), before_data=lambda: True, before_dot=_go, after_reply=_note
        )
    except TransportError as error:
        silent = isinstance(error, RelayUnavailable) and error.code is None
        output.fail(f"not sent: {mask(str(error))}", output.UNAVAILABLE if silent else output.FAILURE)
    finally:
        await relay.close()
    print(output.clean(f"sent: {mask(reply)}"), file=sys.stderr)


def tell(line: str) -> None:
    """Print a line of the conversation as it happens; what the relay says may not steer the terminal."""
    print(output.clean(line), flush=True)


async def _go() -> bool:
    return True


async def _note(_code: int, _text: str) -> None:
    """The conversation on the screen is note enough."""


def _mail(settings: Settings, sender: Address, to: Address) -> bytes:
    from mailculator import message
    from mailculator.payload import Payload

    email_id = str(uuid.uuid4())
    mail = Payload(
        id=email_id,
        sender=sender,
        reply_to=sender,
        to=to,
        subject="mailculator: test",
        body_html=None,
        body_text="This mail was sent by `mailculator send-test`. Whoever reads it knows that the relay works.\n",
        attachments=(),
        custom_headers=(),
    )
    domain = settings.message_id_domain
    return message.render(mail, email_id=email_id, domain=domain, date=datetime.now(UTC), attachments=())


def _mask(settings: Settings) -> Callable[[str], str]:
    """Takes the password out of a line, in each form that a relay may echo it in (RFC 4616, AUTH LOGIN)."""
    password = settings.smtp_pass.get_secret_value().encode()
    if not password:
        return lambda line: line
    plain = b"\0" + settings.smtp_user.encode() + b"\0" + password
    forms = (base64.b64encode(plain).decode(), base64.b64encode(password).decode(), password.decode())

    def mask(line: str) -> str:
        for form in forms:
            line = line.replace(form, "***")
        return line

    return mask
