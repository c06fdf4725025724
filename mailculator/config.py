"""Settings: the environment, checked once, as frozen typed values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mailculator.timing import Timing

DEFAULT_CALLBACK_HEADERS = {"X-MTRAX-SOURCE": "MULTIDIALOGO"}


class Settings(BaseSettings):
    """Everything an operator can set. Field order is the order of .env.example and docs/configuration.md."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True)

    mysql_pipelines_enabled: bool = Field(False, alias="MYSQL_PIPELINES_ENABLED", description="...")
    sqlite_pipelines_enabled: bool = Field(False, alias="SQLITE_PIPELINES_ENABLED", description="...")
    dynamodb_pipelines_enabled: bool = Field(False, alias="DYNAMODB_PIPELINES_ENABLED", description="...")

    mysql_host: str = Field("", alias="MYSQL_HOST")
    mysql_port: int = Field(3306, alias="MYSQL_PORT")
    mysql_user: str = Field("", alias="MYSQL_USER")
    mysql_password: SecretStr = Field(SecretStr(""), alias="MYSQL_PASSWORD")
    mysql_database: str = Field("", alias="MYSQL_DATABASE")
    mysql_tls: Literal["false", "true", "skip-verify"] = Field("false", alias="MYSQL_TLS")
    mysql_ca_file: Path | None = Field(None, alias="MAILCULATOR_MYSQL_CA_FILE")
    mysql_connections: int = Field(8, alias="MAILCULATOR_MYSQL_CONNECTIONS")
    sqlite_path: Path = Field(Path("./data/mailculator.db"), alias="SQLITE_PATH")

    smtp_host: str = Field("", alias="SMTP_HOST")
    smtp_port: int = Field(587, alias="SMTP_PORT")
    smtp_user: str = Field("", alias="SMTP_USER")
    smtp_pass: SecretStr = Field(SecretStr(""), alias="SMTP_PASS")
    smtp_from: str = Field("", alias="SMTP_FROM")
    smtp_allow_insecure_tls: bool = Field(False, alias="SMTP_ALLOW_INSECURE_TLS")
    smtp_tls: Literal["starttls", "implicit", "none"] = Field("starttls", alias="MAILCULATOR_SMTP_TLS")
    smtp_ca_file: Path | None = Field(None, alias="MAILCULATOR_SMTP_CA_FILE")
    smtp_allow_plaintext_auth: bool = Field(False, alias="MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH")
    smtp_helo: str = Field("", alias="MAILCULATOR_SMTP_HELO")  # empty = this host's name
    smtp_connections: int = Field(20, alias="MAILCULATOR_SMTP_CONNECTIONS")
    smtp_rate: float = Field(0.0, alias="MAILCULATOR_SMTP_RATE")
    message_id_domain: str = Field("", alias="MAILCULATOR_MESSAGE_ID_DOMAIN")  # empty = domain of SMTP_FROM

    callback_url: str = Field("", alias="PIPELINE_CALLBACK_URL")
    callback_connections: int = Field(50, alias="MAILCULATOR_CALLBACK_CONNECTIONS")
    callback_timeout: float = Field(15.0, alias="MAILCULATOR_CALLBACK_TIMEOUT")
    callback_headers: dict[str, str] = Field(DEFAULT_CALLBACK_HEADERS, alias="MAILCULATOR_CALLBACK_HEADERS")
    callback_sent_reason: str = Field("Consegnato al server di posta", alias="MAILCULATOR_CALLBACK_SENT_REASON")
    callback_secret: SecretStr = Field(SecretStr(""), alias="MAILCULATOR_CALLBACK_SECRET")
    callback_ca_file: Path | None = Field(None, alias="MAILCULATOR_CALLBACK_CA_FILE")
    callback_require_https: bool = Field(False, alias="MAILCULATOR_CALLBACK_REQUIRE_HTTPS")
    callback_give_up: float = Field(259200.0, alias="MAILCULATOR_CALLBACK_GIVE_UP")  # seconds, then parked

    attachments_base_path: Path | None = Field(None, alias="ATTACHMENTS_BASE_PATH")
    eml_storage_path: Path | None = Field(None, alias="EML_STORAGE_PATH")
    invalid_callback: bool = Field(False, alias="MAILCULATOR_INVALID_CALLBACK")
    allowed_sender_domains: Annotated[tuple[str, ...], NoDecode] = Field((), alias="MAILCULATOR_ALLOWED_SENDER_DOMAINS")
    max_message_size: int = Field(36_700_160, alias="MAILCULATOR_MAX_MESSAGE_SIZE")

    pipeline_interval: float = Field(1.0, alias="PIPELINE_INTERVAL")
    batch_size: int = Field(500, alias="MAILCULATOR_BATCH_SIZE")
    lease: float = Field(90.0, alias="MAILCULATOR_LEASE")
    memory_limit: int = Field(134_217_728, alias="MAILCULATOR_MEMORY_LIMIT")
    shutdown_grace: float = Field(25.0, alias="MAILCULATOR_SHUTDOWN_GRACE")
    replica: str = Field("", alias="MAILCULATOR_REPLICA")  # empty = <host>-<pid>
    time_scale: float = Field(1.0, alias="MAILCULATOR_TIME_SCALE")

    http_port: int = Field(8080, alias="MAILCULATOR_HTTP_PORT")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="MAILCULATOR_LOG_LEVEL")
    log_format: Literal["auto", "json", "console"] = Field("auto", alias="MAILCULATOR_LOG_FORMAT")
    log_addresses: bool = Field(False, alias="MAILCULATOR_LOG_ADDRESSES")

    @property
    def timing(self) -> Timing:
        """Durations, with the lease the operator chose, scaled."""
        raise NotImplementedError
