"""The mail itself, how the work is paced, and what the service tells of itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from mailculator import setting_values
from mailculator.settings.part import Flag, Part


class Mail(Part):
    """What mail is made of."""

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


class Work(Part):
    """How the work is paced."""

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
    journal_dir: Path = Field(
        default=Path("./data/journal"),
        alias="MAILCULATOR_JOURNAL_DIR",
        description="Directory of the send journal, which tells after a crash which mail the relay may have. On "
        "storage that outlives the container and that all replicas see, as the payloads do.",
    )
    outcome_unknown: Literal["resend", "hold", "fail"] = Field(
        default="resend",
        alias="MAILCULATOR_OUTCOME_UNKNOWN",
        description="What becomes of mail that had left when the relay's answer was lost: `resend` sends it once more "
        "under the same Message-ID, and fails it if that ends the same way; `hold` parks it for an operator; `fail` "
        "tells its producer.",
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


class Signs(Part):
    """What it tells of itself."""

    http_port: int = Field(
        default=8080,
        alias="MAILCULATOR_HTTP_PORT",
        ge=0,
        le=65535,
        description="Health and metrics, on all addresses. 0 takes a free port and prints it.",
    )
    admin_port: int = Field(
        default=8081,
        alias="MAILCULATOR_ADMIN_PORT",
        ge=0,
        le=65535,
        description="The operators' page and its API: for this machine alone, unless a token is set. 0 takes a free "
        "one and prints it. Where it is not set and the port is taken, there is no page, and mail flows.",
    )
    admin_token: Annotated[SecretStr, AfterValidator(setting_values.token)] = Field(
        default=SecretStr(""),
        alias="MAILCULATOR_ADMIN_TOKEN",
        description="Who knows it may see and steer the queue by the page and its API, which then listen on all "
        "addresses. They speak plain HTTP: put TLS in front of them.",
    )
    admin_addresses: Flag = Field(
        default=False,
        alias="MAILCULATOR_ADMIN_ADDRESSES",
        description="Let the page show mail addresses in full instead of `***@domain`, where a relay, a callback or an "
        "older program has put one into its words.",
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
