"""Where the relay is and how to talk to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mailculator.config import Settings


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What the relay needs of the settings.

    Arguments:
        host: name or address; also the name its certificate must bear.
        tls: `starttls` and `implicit` are required, never merely tried.
        user: empty = no AUTH.
        allow_insecure_tls: take any certificate.
        ca_file: trusted instead of the system's; None = the system's.
        allow_plaintext_auth: AUTH without TLS to an address that is not loopback.
        helo: what we call ourselves; empty = this host's full name, or its address where it has none.
        connections: open at once, at the most.
    """

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)
    allow_insecure_tls: bool = False
    ca_file: Path | None = None
    allow_plaintext_auth: bool = False
    helo: str = ""
    connections: int = 20


def relay_settings(settings: Settings) -> RelaySettings:
    """The relay's part of the service's settings."""
    return RelaySettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        tls=settings.smtp_tls,
        user=settings.smtp_user,
        password=settings.smtp_pass.get_secret_value(),
        allow_insecure_tls=settings.smtp_allow_insecure_tls,
        ca_file=settings.smtp_ca_file,
        allow_plaintext_auth=settings.smtp_allow_plaintext_auth,
        helo=settings.smtp_helo,
        connections=settings.smtp_connections,
    )


def tls_context(settings: RelaySettings) -> ssl.SSLContext:
    """How the relay is verified: TLS 1.2 at least. Errors: OSError (ssl.SSLError is one) for a bad CA file."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.allow_insecure_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
