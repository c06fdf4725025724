"""Settings: the environment, checked once, as frozen typed values.

`load` is the way in: it takes the environment, or any mapping, and reports everything that is wrong at once. A Settings
made directly takes nothing from the environment, so the demo and the tests cannot touch what a machine happens to set.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from mailculator import environment, setting_values
from mailculator.errors import ConfigError, Problem
from mailculator.timing import Timing

DEFAULT_CALLBACK_HEADERS = {"X-MTRAX-SOURCE": "MULTIDIALOGO"}

Need = Literal["store", "mysql", "sqlite", "smtp", "callback", "paths"]
"""What a command uses: `store` is at least one enabled store and each enabled one complete; `mysql` and `sqlite` are
that store, enabled or not; `paths` are the directories of attachments and EML files."""

EVERYTHING: frozenset[Need] = frozenset({"store", "smtp", "callback", "paths"})
"""What `run` and `check` need."""

Flag = Annotated[bool, BeforeValidator(setting_values.flag)]


class Settings(BaseSettings):
    """Everything an operator can set. Field order is the order of .env.example and docs/configuration.md."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True, hide_input_in_errors=True
    )

    mysql_pipelines_enabled: Flag = Field(
        default=False,
        alias="MYSQL_PIPELINES_ENABLED",
        description="Run the four pipelines on MariaDB. At least one queue must be switched on.",
    )
    sqlite_pipelines_enabled: Flag = Field(
        default=False,
        alias="SQLITE_PIPELINES_ENABLED",
        description="Run the four pipelines on the embedded queue, a file of this machine. One service process at a "
        "time.",
    )
    dynamodb_pipelines_enabled: Flag = Field(
        default=False,
        alias="DYNAMODB_PIPELINES_ENABLED",
        description="Run the four pipelines on DynamoDB. This version has no DynamoDB store: it refuses to start when "
        "this is true.",
    )

    mysql_host: str = Field(
        default="",
        alias="MYSQL_HOST",
        description="MariaDB's host name or address.",
        json_schema_extra={"required": "mysql"},
    )
    mysql_port: int = Field(default=3306, alias="MYSQL_PORT", ge=1, le=65535, description="MariaDB's port.")
    mysql_user: str = Field(
        default="",
        alias="MYSQL_USER",
        description="Its user. SELECT, INSERT, UPDATE and DELETE on the queue's tables are enough; `schema apply` "
        "wants another user, one that may change tables.",
        json_schema_extra={"required": "mysql"},
    )
    mysql_password: SecretStr = Field(
        default=SecretStr(""),
        alias="MYSQL_PASSWORD",
        description="Its password. Empty means that none is sent: only for a server that identifies its users in "
        "another way.",
    )
    mysql_database: str = Field(
        default="",
        alias="MYSQL_DATABASE",
        description="The database that holds the queue.",
        json_schema_extra={"required": "mysql"},
    )
    mysql_tls: Annotated[Literal["false", "true", "skip-verify"], BeforeValidator(setting_values.tls_mode)] = Field(
        default="false",
        alias="MYSQL_TLS",
        description="TLS to MariaDB: `true` verifies the server's certificate and name, `skip-verify` does neither.",
    )
    mysql_ca_file: Path | None = Field(
        default=None,
        alias="MAILCULATOR_MYSQL_CA_FILE",
        description="PEM file of the authorities that may have signed MariaDB's certificate.",
        json_schema_extra={"default": "the system's"},
    )
    mysql_connections: int = Field(
        default=8,
        alias="MAILCULATOR_MYSQL_CONNECTIONS",
        ge=1,
        le=256,
        description="Connections to MariaDB at once, at the most.",
    )
    sqlite_path: Path = Field(
        default=Path("./data/mailculator.db"),
        alias="SQLITE_PATH",
        description="File of the embedded queue, on a local disk.",
    )

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
    message_id_domain: Annotated[str, AfterValidator(setting_values.message_id_domain)] = Field(
        default_factory=lambda fields: setting_values.domain_of(fields.get("smtp_from", "")),
        alias="MAILCULATOR_MESSAGE_ID_DOMAIN",
        description="Right side of every Message-ID.",
        json_schema_extra={"default": "the domain of SMTP_FROM"},
    )

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

    attachments_base_path: Path | None = Field(
        default=None,
        alias="ATTACHMENTS_BASE_PATH",
        description="Absolute directory that the attachments' paths are joined to and must stay beneath. Without it "
        "mail with attachments waits.",
    )
    eml_storage_path: Path | None = Field(
        default=None,
        alias="EML_STORAGE_PATH",
        description="Absolute directory that holds the EML files of mail prepared by the older consumer. Without it "
        "such mail waits.",
    )
    invalid_callback: Flag = Field(
        default=False,
        alias="MAILCULATOR_INVALID_CALLBACK",
        description="Tell producers of invalid mail: it becomes FAILED and is called back, instead of INVALID.",
    )
    allowed_sender_domains: Annotated[tuple[str, ...], NoDecode, BeforeValidator(setting_values.domains)] = Field(
        default=(),
        alias="MAILCULATOR_ALLOWED_SENDER_DOMAINS",
        description="Domains that a mail's From may have, separated by commas. Empty = any.",
    )
    max_message_size: int = Field(
        default=36_700_160,
        alias="MAILCULATOR_MAX_MESSAGE_SIZE",
        ge=65_536,
        le=1_073_741_824,
        description="Bytes that a finished message may have; attachments grow by a third on the way into it.",
    )

    pipeline_interval: float = Field(
        default=1.0,
        alias="PIPELINE_INTERVAL",
        gt=0,
        le=3600,
        description="Longest idle wait between two polls of a queue, in seconds, fractions allowed.",
    )
    batch_size: int = Field(
        default=500,
        alias="MAILCULATOR_BATCH_SIZE",
        ge=1,
        le=5000,
        description="Emails claimed or recorded in one transaction.",
    )
    lease: float = Field(
        default=90.0,
        alias="MAILCULATOR_LEASE",
        ge=15,
        le=3600,
        description="Seconds that a claimed email stays with a process that no longer renews it. It is renewed every "
        "third of that.",
    )
    memory_limit: int = Field(
        default=134_217_728,
        alias="MAILCULATOR_MEMORY_LIMIT",
        ge=1_048_576,
        le=68_719_476_736,
        description="Bytes of messages held in memory at once, at the most.",
    )
    shutdown_grace: float = Field(
        default=25.0,
        alias="MAILCULATOR_SHUTDOWN_GRACE",
        ge=0,
        le=3600,
        description="Seconds that a stop waits for mail under way; keep it below the time after which the platform "
        "kills (ECS: 30).",
    )
    replica: Annotated[str, AfterValidator(setting_values.replica_name)] = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        alias="MAILCULATOR_REPLICA",
        description="This process's name in claims, history and logs; unique among those on one queue.",
        json_schema_extra={"default": "host name and process id"},
    )
    time_scale: float = Field(
        default=1.0,
        alias="MAILCULATOR_TIME_SCALE",
        gt=0,
        le=10,
        description="Multiplies the lease, the delays and the timeouts that have no setting of their own. For tests; "
        "leave it at 1.",
    )

    http_port: int = Field(
        default=8080,
        alias="MAILCULATOR_HTTP_PORT",
        ge=0,
        le=65535,
        description="Health and metrics, on all addresses. 0 takes a free port and prints it.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(setting_values.lower)] = Field(
        default="info", alias="MAILCULATOR_LOG_LEVEL", description="The least level that is logged."
    )
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(setting_values.lower)] = Field(
        default="auto",
        alias="MAILCULATOR_LOG_FORMAT",
        description="`auto` writes JSON when the output is no terminal, and for people when it is one.",
    )
    log_addresses: Flag = Field(
        default=False,
        alias="MAILCULATOR_LOG_ADDRESSES",
        description="Write mail addresses in full instead of `***@domain`.",
    )

    @property
    def timing(self) -> Timing:
        """Durations, with the lease and the giving up that the operator chose, scaled."""
        # A renewal that waits for a hanging store must come back while the lease still holds.
        base = Timing()
        chosen = replace(
            base,
            lease=self.lease,
            renew_every=self.lease / 3,
            lease_margin=self.lease / 6,
            store_timeout=min(base.store_timeout, self.lease / 3),
            callback_give_up=self.callback_give_up,
        )
        return chosen if self.time_scale == 1.0 else chosen.scaled(self.time_scale)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load` reads the environment, with the files of secrets, and nothing else does."""
        return (init_settings,)


def load(environ: Mapping[str, str] | None = None, *, needs: Collection[Need] = EVERYTHING) -> Settings:
    """The settings, from the environment or from `environ`.

    An empty value counts as unset. A value that is malformed is a problem whoever asks; what is missing, or does not
    fit together, is one only where it is needed.

    Arguments:
        needs: what the command at hand uses; a command that only looks at a queue needs no relay.

    Errors: ConfigError with every problem at once, never with a secret's value.
    """
    from mailculator import config_checks  # it checks Settings, so it comes after them

    given, problems = environment.read(os.environ if environ is None else environ, Settings)
    settings, malformed = _validate(given)
    problems += malformed
    bad = {problem.variable.removesuffix("_FILE") for problem in problems}
    if any(name.endswith("_PIPELINES_ENABLED") for name in bad):
        bad.add(config_checks.SWITCH)  # which queues are meant is not known, so none is missing
    problems += [found for found in config_checks.problems(settings, frozenset(needs)) if found.variable not in bad]
    if problems:
        order = {name: index for index, name in enumerate(environment.fields(Settings))}
        raise ConfigError(sorted(problems, key=lambda problem: order.get(problem.variable.removesuffix("_FILE"), 999)))
    return settings


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each MAILCULATOR_ variable that nobody reads, with the name that was probably meant."""
    return environment.unknown(os.environ if environ is None else environ, Settings)


def redacted(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, tuple[str, str]]:
    """Every variable with its value, secrets as `***`, and where it came from: environment, file or default.

    Arguments:
        environ: what the settings were loaded from.
    """
    source = os.environ if environ is None else environ
    return {
        name: (environment.shown(field, getattr(settings, attribute)), environment.origin(source, name))
        for name, (attribute, field) in environment.fields(Settings).items()
    }


def _validate(given: dict[str, str]) -> tuple[Settings, list[Problem]]:
    """The settings of the well-formed values, and the problems of the others.

    The malformed ones are left at their defaults, so that what does not fit together is found in the same round.
    """
    source = EnvSettingsSource(Settings)
    source.env_vars = given
    values: dict[str, Any] = source()
    try:
        return Settings(**values), []
    except ValidationError as error:
        found = environment.problems(error.errors(include_url=False, include_context=False), Settings, given)
    # Outside the except clause: an error raised from here on must not carry the values in its context.
    bad = {problem.variable for problem in found}
    return Settings(**{name: value for name, value in values.items() if name not in bad}), found
