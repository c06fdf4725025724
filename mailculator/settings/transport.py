"""Where mail leaves and where results go: the relay and the callback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from mailculator import setting_values
from mailculator.settings.part import Flag, Part

DEFAULT_CALLBACK_HEADERS = {"X-MTRAX-SOURCE": "MULTIDIALOGO"}


class Relay(Part):
    """The SMTP relay."""

    smtp_host: str = Field(
        default="",
        alias="SMTP_HOST",
        description="The relay's host name or address; every address that the name resolves to is tried.",
        json_schema_extra={"required": "smtp"},
    )
    smtp_port: int = Field(default=587, alias="SMTP_PORT", ge=1, le=65535, description="The relay's port.")
    smtp_user: str = Field(default="", alias="SMTP_USER", description="User for SMTP AUTH. Empty = no AUTH.")
    smtp_pass: SecretStr = Field(default=SecretStr(""), alias="SMTP_PASS", description="Password for SMTP AUTH.")
    smtp_from: Annotated[str, AfterValidator(setting_values.envelope_sender)] = Field(
        default="",
        alias="SMTP_FROM",
        description="Envelope sender of every mail (MAIL FROM, where bounces go); the From header is the producer's.",
        json_schema_extra={"required": "smtp"},
    )
    smtp_allow_insecure_tls: Flag = Field(
        default=False,
        alias="SMTP_ALLOW_INSECURE_TLS",
        description="Do not verify the relay's certificate. Anybody on the way can then read mail and password.",
    )
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        alias="MAILCULATOR_SMTP_TLS",
        description="How the connection to the relay is encrypted: STARTTLS (never skipped when the relay does not "
        "offer it), TLS from the first byte (port 465 as a rule), or not at all.",
    )
    smtp_ca_file: Path | None = Field(
        default=None,
        alias="MAILCULATOR_SMTP_CA_FILE",
        description="PEM file of the authorities that may have signed the relay's certificate.",
        json_schema_extra={"default": "the system's"},
    )
    smtp_allow_plaintext_auth: Flag = Field(
        default=False,
        alias="MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH",
        description="Allow AUTH without TLS to a relay that is not on this machine.",
    )
    smtp_helo: Annotated[str, AfterValidator(setting_values.helo_name)] = Field(
        default="",
        alias="MAILCULATOR_SMTP_HELO",
        description="The name this client gives in EHLO: a host name, or an address in square brackets.",
        json_schema_extra={"default": "this host's full name, or its address"},
    )
    smtp_connections: int = Field(
        default=20,
        alias="MAILCULATOR_SMTP_CONNECTIONS",
        ge=1,
        le=1000,
        description="Connections to the relay at once, at the most; as many mails are on their way together.",
    )
    smtp_rate: float = Field(
        default=0.0,
        alias="MAILCULATOR_SMTP_RATE",
        ge=0,
        le=1_000_000,
        description="Mails a second over the whole process, fractions allowed. 0 = no limit.",
    )
    smtp_domain_rate: float = Field(
        default=0.0,
        alias="MAILCULATOR_SMTP_DOMAIN_RATE",
        ge=0,
        le=1_000_000,
        description="Mails a second that this process begins for one recipient domain, fractions allowed. Mail beyond "
        "that waits its turn, and holds up no other domain's. 0 = no limit.",
    )
    message_id_domain: Annotated[str, AfterValidator(setting_values.message_id_domain)] = Field(
        default_factory=lambda fields: setting_values.domain_of(fields.get("smtp_from", "")),
        alias="MAILCULATOR_MESSAGE_ID_DOMAIN",
        description="Right side of every Message-ID.",
        json_schema_extra={"default": "the domain of SMTP_FROM"},
    )


class Callback(Part):
    """The producer's URL."""

    # May carry a token in its query, so it is shown without that, and never in an error.
    callback_url: str = Field(
        default="",
        alias="PIPELINE_CALLBACK_URL",
        repr=False,
        description="Where the producer's callbacks are POSTed; http or https. Link-local and metadata addresses are "
        "refused.",
        json_schema_extra={"required": "callback", "url": True},
    )
    callback_connections: int = Field(
        default=50,
        alias="MAILCULATOR_CALLBACK_CONNECTIONS",
        ge=1,
        le=1000,
        description="Callbacks under way at once, at the most.",
    )
    callback_timeout: float = Field(
        default=15.0,
        alias="MAILCULATOR_CALLBACK_TIMEOUT",
        gt=0,
        le=300,
        description="Seconds that one POST may take, all in all.",
    )
    callback_headers: Annotated[
        dict[str, str], NoDecode, BeforeValidator(setting_values.header_object), AfterValidator(setting_values.headers)
    ] = Field(
        default=DEFAULT_CALLBACK_HEADERS,
        alias="MAILCULATOR_CALLBACK_HEADERS",
        repr=False,
        description="Fixed headers of every callback, a JSON object of names and values; it replaces the default as a "
        "whole.",
        json_schema_extra={"secret": True},
    )
    callback_sent_reason: str = Field(
        default="Consegnato al server di posta",
        alias="MAILCULATOR_CALLBACK_SENT_REASON",
        max_length=1000,
        description="The reason that a callback gives for sent mail.",
    )
    callback_secret: SecretStr = Field(
        default=SecretStr(""),
        alias="MAILCULATOR_CALLBACK_SECRET",
        description="Signs every callback (Standard Webhooks, header `webhook-signature`); `whsec_` and base64, or any "
        "text. Several separated by blanks all sign, while they are rotated. Empty = not signed.",
    )
    callback_ca_file: Path | None = Field(
        default=None,
        alias="MAILCULATOR_CALLBACK_CA_FILE",
        description="PEM file of the authorities that may have signed the callback server's certificate.",
        json_schema_extra={"default": "the system's"},
    )
    callback_require_https: Flag = Field(
        default=False,
        alias="MAILCULATOR_CALLBACK_REQUIRE_HTTPS",
        description="Refuse a callback URL that is not https.",
    )
    callback_give_up: float = Field(
        default=259200.0,
        alias="MAILCULATOR_CALLBACK_GIVE_UP",
        ge=60,
        le=31_536_000,
        description="Seconds after its first failure at which a callback is given up: the email is parked, and an "
        "operator can release it.",
    )
