"""What a callback says: its body, its headers, its signature."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import orjson

from mailculator.callback_url import parse_secrets

if TYPE_CHECKING:
    from mailculator.config import Settings

SENT = "TRAVELING"
FAILED = "DISPATCH-ERROR"


def build_body(code: str, reached_at: datetime, email_id: str, reason: str) -> bytes:
    """The body, octet for octet as producers know it: compact, keys in this order, UTF-8 not escaped.

    Arguments:
        code: SENT or FAILED.
        reached_at: when the email was sent or failed; taken as UTC when naive; fractions of a second are cut off.
    """
    at = reached_at.replace(tzinfo=UTC) if reached_at.tzinfo is None else reached_at.astimezone(UTC)
    return orjson.dumps(
        {
            "code": code,
            "reached_at": f"{at.replace(tzinfo=None).isoformat(timespec='seconds')}Z",
            "message_ids": [email_id],
            "reason": reason,
        }
    )


def build_headers(
    fixed: Mapping[str, str],
    body: bytes,
    *,
    email_id: str,
    result: Literal["sent", "failed"],
    generation: int,
    timestamp: int,
    secrets: Sequence[bytes] = (),
) -> dict[str, str]:
    """The headers: the fixed ones, and those of Standard Webhooks (standardwebhooks.com, specification 1.0).

    Arguments:
        fixed: configured; Content-Type is not theirs to change.
        generation: of the email; 0 leaves the id without one. The id is the same at every try of a generation.
        timestamp: epoch seconds of this try.
        secrets: keys; one signature each, the first being the one in use.
    """
    webhook_id = f"{email_id}:{result}" + (f":{generation}" if generation else "")
    headers = {name: value for name, value in fixed.items() if name.lower() != "content-type"}
    headers |= {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
    }
    if secrets:
        signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
        headers["webhook-signature"] = " ".join(f"v1,{_signature(key, signed)}" for key in secrets)
    return headers


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@dataclass(frozen=True, slots=True)
class CallbackFormat:
    """How this service writes a result: what the settings say, once, and a method for each part.

    Arguments:
        fixed: headers that every callback carries.
        sent_reason: what producers read of sent mail.
        secrets: signing keys.
        wall_clock: epoch seconds.
    """

    fixed: Mapping[str, str]
    sent_reason: str
    secrets: Sequence[bytes] = ()
    wall_clock: Callable[[], float] = time.time

    def body(self, *, sent: bool, reached_at: datetime, email_id: str, reason: str | None) -> bytes:
        """The request's body; `reason` is why mail failed."""
        if sent:
            return build_body(SENT, reached_at, email_id, self.sent_reason)
        return build_body(FAILED, reached_at, email_id, reason or "")

    def headers(self, *, sent: bool, email_id: str, generation: int, body: bytes) -> Mapping[str, str]:
        """The request's headers, signed for now."""
        return build_headers(
            self.fixed,
            body,
            email_id=email_id,
            result="sent" if sent else "failed",
            generation=generation,
            timestamp=int(self.wall_clock()),
            secrets=self.secrets,
        )


class CurrentFormat:
    """A format whose signing keys are taken anew while callbacks go on.

    Arguments:
        reread: the setting of the keys as its file has it now, None where it has no file. Asked in a thread. Errors:
            OSError, ValueError.
    """

    def __init__(self, begin: CallbackFormat, reread: Callable[[], str | None]) -> None:
        self._format = begin
        self._reread = reread

    def body(self, *, sent: bool, reached_at: datetime, email_id: str, reason: str | None) -> bytes:
        """As CallbackFormat.body."""
        return self._format.body(sent=sent, reached_at=reached_at, email_id=email_id, reason=reason)

    def headers(self, *, sent: bool, email_id: str, generation: int, body: bytes) -> Mapping[str, str]:
        """As CallbackFormat.headers, signed with the keys of now."""
        return self._format.headers(sent=sent, email_id=email_id, generation=generation, body=body)

    async def reread_secrets(self) -> None:
        """Take the keys anew from where they came. An empty file takes none away: it may be half written."""
        try:
            text = await asyncio.to_thread(self._reread)
            secrets = parse_secrets(text or "")
        except (OSError, ValueError):
            return  # the keys that we have may be right until the next time
        if secrets:
            self._format = replace(self._format, secrets=secrets)


def callback_format(settings: Settings) -> CallbackFormat:
    """The format that the service's settings ask for."""
    return CallbackFormat(
        fixed=settings.callback_headers,
        sent_reason=settings.callback_sent_reason,
        secrets=parse_secrets(settings.callback_secret.get_secret_value()),
    )
