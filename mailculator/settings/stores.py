"""The queues: which are worked on, and how each of them is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from mailculator import setting_values
from mailculator.settings.part import Flag, Part


class Switches(Part):
    """Which queues are worked on."""

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
        description="Run the four pipelines on DynamoDB.",
    )


class Mariadb(Part):
    """The queue in MariaDB."""

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


class Sqlite(Part):
    """The embedded queue."""

    sqlite_path: Path = Field(
        default=Path("./data/mailculator.db"),
        alias="SQLITE_PATH",
        description="File of the embedded queue, on a local disk.",
    )


class Dynamodb(Part):
    """The queue in DynamoDB. The names that the AWS tools know mean here what they mean there."""

    email_outbox_table: Annotated[str, AfterValidator(setting_values.table_name)] = Field(
        default="",
        alias="EMAIL_OUTBOX_TABLE",
        description="The table that holds the queue.",
        json_schema_extra={"required": "dynamodb"},
    )
    # An endpoint may carry a password; such a one is refused, but only where it is used.
    aws_tools_endpoint_url: str = Field(
        default="",
        alias="AWS_ENDPOINT_URL",
        repr=False,
        description="The same as AWS_BASE_ENDPOINT, under the name that the AWS tools know. Where both are set they "
        "must be equal.",
        json_schema_extra={"url": True},
    )
    aws_endpoint_url: str = Field(
        default_factory=lambda fields: fields.get("aws_tools_endpoint_url", ""),
        alias="AWS_BASE_ENDPOINT",
        repr=False,
        description="Where DynamoDB is, http or https; for an emulator or a private endpoint.",
        json_schema_extra={"default": "AWS's own for the region", "url": True},
    )
    aws_default_region: str = Field(
        default="",
        alias="AWS_DEFAULT_REGION",
        description="The region where AWS_REGION is not set.",
    )
    aws_region: str = Field(
        default_factory=lambda fields: fields.get("aws_default_region", ""),
        alias="AWS_REGION",
        description="The region of the table.",
        json_schema_extra={"required": "dynamodb"},
    )
    aws_access_key_id: str = Field(
        default="",
        alias="AWS_ACCESS_KEY_ID",
        description="Access key. Without it the usual places of the AWS tools are asked: profile, web identity, the "
        "role of the task or of the machine.",
    )
    aws_secret_access_key: SecretStr = Field(
        default=SecretStr(""), alias="AWS_SECRET_ACCESS_KEY", description="The access key's secret."
    )
    aws_session_token: SecretStr = Field(
        default=SecretStr(""), alias="AWS_SESSION_TOKEN", description="Session token of a temporary access key."
    )
    dynamodb_peer_consumer: Flag = Field(
        default=False,
        alias="MAILCULATOR_DYNAMODB_PEER_CONSUMER",
        description="The older consumer works on the same table: intake is left to it, and every claim takes the lock "
        "that it knows. Stop that consumer instead wherever you can.",
    )
    dynamodb_keep_accepted: Flag = Field(
        default=False,
        alias="MAILCULATOR_DYNAMODB_KEEP_ACCEPTED",
        description="Keep the ACCEPTED record that the older producer writes beside each email. Without it the record "
        "is deleted when the email is taken up, and the history keeps its time; with it new mail of that producer is "
        "found by a pass over the table once a minute, which is late, and dear where the table is large.",
    )
    dynamodb_interval: float = Field(
        default=2.0,
        alias="MAILCULATOR_DYNAMODB_INTERVAL",
        gt=0,
        le=3600,
        description="Longest idle wait between two polls of the table, in seconds, fractions allowed: each is paid "
        "for. PIPELINE_INTERVAL counts where it is longer.",
    )
    dynamodb_sweep_every: float = Field(
        default=21_600.0,
        alias="MAILCULATOR_DYNAMODB_SWEEP_EVERY",
        ge=1,
        le=604_800,
        description="Seconds between two sweeps of the whole table, which find what no poll does and count everything.",
    )
    dynamodb_write_rate: float = Field(
        default=700.0,
        alias="MAILCULATOR_DYNAMODB_WRITE_RATE",
        ge=1,
        le=100_000,
        description="Writes a second to the table by this process, at the most. StatusIndex takes about 1,000 a second "
        "from all processes together before DynamoDB throttles them.",
    )


class Overlap(Part):
    """Two queues at once, and the way from one to the other."""

    duplicate_guard: Flag = Field(
        default=True,
        alias="MAILCULATOR_DUPLICATE_GUARD",
        description="Send an id that stands on MariaDB and on DynamoDB once. While MariaDB is away, sending from "
        "DynamoDB waits.",
    )
    cutover_quiet: float = Field(
        default=86_400.0,
        alias="MAILCULATOR_CUTOVER_QUIET",
        ge=0,
        le=31_536_000,
        description="Seconds for which DynamoDB must have been empty before `cutover status` calls it safe to switch "
        "off.",
    )
