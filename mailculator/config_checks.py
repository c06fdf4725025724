"""Whether settings that are well formed each by itself can work together, on this machine.

Each check looks at one part of the service, so that a command is only asked for what it uses.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from mailculator import callback_url, environment, setting_values
from mailculator.config import Need, Settings
from mailculator.errors import Problem

Check = Callable[[Settings], Iterator[Problem]]
SWITCH = "MYSQL_PIPELINES_ENABLED"
"""Where it is told that no queue is switched on."""


def problems(settings: Settings, needs: frozenset[Need]) -> list[Problem]:
    """Everything that stands in the way of these needs."""
    found: list[Problem] = []
    wanted = set(needs)
    if "store" in wanted:
        wanted |= {"mysql"} if settings.mysql_pipelines_enabled else set()
        wanted |= {"sqlite"} if settings.sqlite_pipelines_enabled else set()
        wanted |= {"dynamodb"} if settings.dynamodb_pipelines_enabled else set()
    for need, checks in _CHECKS.items():
        if need in wanted:
            found += list(_required(settings, need))
            found += [problem for check in checks for problem in check(settings)]
    return found


def warnings(settings: Settings) -> list[Problem]:
    """What is allowed, and what it costs; said at the start, and shown by `check` and in /health."""
    mysql = settings.mysql_pipelines_enabled
    dynamodb = settings.dynamodb_pipelines_enabled
    unencrypted = settings.smtp_tls == "none" and not is_loopback(settings.smtp_host)
    told = (
        (mysql and settings.mysql_tls == "skip-verify", "MYSQL_TLS", "MariaDB's certificate is not verified"),
        (
            mysql and settings.mysql_tls == "false" and not is_loopback(settings.mysql_host),
            "MYSQL_TLS",
            "mail's data crosses the network to MariaDB unencrypted",
        ),
        (
            mysql and not settings.mysql_password.get_secret_value(),
            "MYSQL_PASSWORD",
            "no password is sent to MariaDB",
        ),
        (
            dynamodb and _is_plain(settings.aws_endpoint_url),
            "AWS_BASE_ENDPOINT",
            "mail's data crosses the network to DynamoDB unencrypted",
        ),
        (
            mysql and dynamodb and not settings.duplicate_guard,
            "MAILCULATOR_DUPLICATE_GUARD",
            "an id that stands on MariaDB and on DynamoDB is sent twice",
        ),
        (settings.smtp_allow_insecure_tls, "SMTP_ALLOW_INSECURE_TLS", "the relay's certificate is not verified"),
        (unencrypted, "MAILCULATOR_SMTP_TLS", "mail goes to the relay unencrypted"),
        (
            unencrypted and bool(settings.smtp_user),
            "MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH",
            "the relay's password crosses the network unencrypted",
        ),
        (_is_plain(settings.callback_url), "PIPELINE_CALLBACK_URL", "callbacks cross the network unencrypted"),
        (settings.time_scale != 1.0, "MAILCULATOR_TIME_SCALE", "every delay and timeout is changed; this is for tests"),
    )
    return [Problem(variable, message) for applies, variable, message in told if applies]


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine by its name, without asking a resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_plain(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _required(settings: Settings, need: Need) -> Iterator[Problem]:
    for name, (attribute, field) in environment.fields(Settings).items():
        if environment.marked(field, "required") == need and not getattr(settings, attribute):
            yield Problem(name, "is required")


def _enabled(settings: Settings) -> Iterator[Problem]:
    switches = (
        settings.mysql_pipelines_enabled,
        settings.sqlite_pipelines_enabled,
        settings.dynamodb_pipelines_enabled,
    )
    if not any(switches):
        yield Problem(
            SWITCH,
            "no queue is switched on: set this, SQLITE_PIPELINES_ENABLED or DYNAMODB_PIPELINES_ENABLED to true",
        )


def _mysql(settings: Settings) -> Iterator[Problem]:
    yield from _host("MYSQL_HOST", settings.mysql_host)
    yield from _authorities("MAILCULATOR_MYSQL_CA_FILE", settings.mysql_ca_file)


def _sqlite(settings: Settings) -> Iterator[Problem]:
    if settings.sqlite_path.is_dir():
        yield Problem("SQLITE_PATH", f"must name a file, not a directory (got '{settings.sqlite_path}')")


def _dynamodb(settings: Settings) -> Iterator[Problem]:
    url, other = settings.aws_endpoint_url, settings.aws_tools_endpoint_url
    variable = "AWS_ENDPOINT_URL" if url == other else "AWS_BASE_ENDPOINT"
    if url and not setting_values.is_endpoint(url):
        yield Problem(variable, "must be http:// or https:// with a host and nothing behind it but a port")
    if other and other != url:
        yield Problem("AWS_BASE_ENDPOINT", "differs from AWS_ENDPOINT_URL: unset one of the two")
    region = settings.aws_region
    if region and not setting_values.is_region(region):
        variable = "AWS_DEFAULT_REGION" if region == settings.aws_default_region else "AWS_REGION"
        yield Problem(variable, f"must be a region's name, like eu-west-1 (got {region[:60]!r})")
    key, secret = settings.aws_access_key_id, settings.aws_secret_access_key.get_secret_value()
    if key and not secret:
        yield Problem("AWS_SECRET_ACCESS_KEY", "is required when AWS_ACCESS_KEY_ID is set")
    if secret and not key:
        yield Problem("AWS_ACCESS_KEY_ID", "is required when AWS_SECRET_ACCESS_KEY is set")
    if settings.aws_session_token.get_secret_value() and not (key or secret):
        yield Problem("AWS_ACCESS_KEY_ID", "is required when AWS_SESSION_TOKEN is set")


def _smtp(settings: Settings) -> Iterator[Problem]:
    yield from _host("SMTP_HOST", settings.smtp_host)
    yield from _authorities("MAILCULATOR_SMTP_CA_FILE", settings.smtp_ca_file)
    if settings.smtp_user and not settings.smtp_pass.get_secret_value():
        yield Problem("SMTP_PASS", "is required when SMTP_USER is set")
    if settings.smtp_pass.get_secret_value() and not settings.smtp_user:
        yield Problem("SMTP_USER", "is required when SMTP_PASS is set")
    unprotected = settings.smtp_tls == "none" and settings.smtp_user and not settings.smtp_allow_plaintext_auth
    if unprotected and not is_loopback(settings.smtp_host):
        yield Problem(
            "MAILCULATOR_SMTP_TLS",
            "must be starttls or implicit when SMTP_USER is set and the relay is another machine: the password would "
            "cross the network unencrypted (MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH=true allows it)",
        )
    if settings.memory_limit < settings.max_message_size:
        yield Problem(
            "MAILCULATOR_MEMORY_LIMIT",
            f"must be at least MAILCULATOR_MAX_MESSAGE_SIZE, {settings.max_message_size} (got {settings.memory_limit})",
        )


def _callback(settings: Settings) -> Iterator[Problem]:
    wrong = callback_url.check_url(settings.callback_url, settings.callback_require_https)
    if settings.callback_url and wrong:
        yield Problem("PIPELINE_CALLBACK_URL", wrong)
    yield from _authorities("MAILCULATOR_CALLBACK_CA_FILE", settings.callback_ca_file)
    secret = settings.callback_secret.get_secret_value()
    try:
        if secret and not callback_url.parse_secrets(secret):
            yield Problem("MAILCULATOR_CALLBACK_SECRET", "must not be blank")
    except ValueError as error:
        yield Problem("MAILCULATOR_CALLBACK_SECRET", f"cannot be used: {error}")


def _journal(settings: Settings) -> Iterator[Problem]:
    if settings.journal_dir.exists() and not settings.journal_dir.is_dir():
        yield Problem("MAILCULATOR_JOURNAL_DIR", f"must name a directory (got '{settings.journal_dir}')")


def _paths(settings: Settings) -> Iterator[Problem]:
    yield from _directory("ATTACHMENTS_BASE_PATH", settings.attachments_base_path)
    yield from _directory("EML_STORAGE_PATH", settings.eml_storage_path)
    peer = settings.dynamodb_pipelines_enabled and settings.dynamodb_peer_consumer
    if peer and settings.eml_storage_path is None:
        yield Problem(
            "EML_STORAGE_PATH",
            "is required when MAILCULATOR_DYNAMODB_PEER_CONSUMER is true: the older consumer prepares EML files",
        )


_CHECKS: Mapping[Need, tuple[Check, ...]] = MappingProxyType(
    {
        "store": (_enabled,),
        "mysql": (_mysql,),
        "sqlite": (_sqlite,),
        "dynamodb": (_dynamodb,),
        "smtp": (_smtp,),
        "callback": (_callback,),
        "paths": (_paths, _journal),
    }
)


def _host(variable: str, host: str) -> Iterator[Problem]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host and not setting_values.is_host_name(host):
            yield Problem(variable, f"must be a host name or an address, without scheme or port (got {host[:60]!r})")


def _directory(variable: str, path: Path | None) -> Iterator[Problem]:
    if path is None:
        return
    given = f"(got {str(path)[:200]!r})"
    if not path.is_absolute():
        yield Problem(variable, f"must be an absolute path {given}")
    elif path.resolve() == Path("/"):
        yield Problem(variable, f"must not be the root of the file system {given}")
    elif not path.is_dir():
        yield Problem(variable, f"must be a directory that is there {given}")


def _authorities(variable: str, path: Path | None) -> Iterator[Problem]:
    if path is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=os.fspath(path))
    except ssl.SSLError:
        yield Problem(variable, f"must be a file of PEM certificates (got {str(path)[:200]!r})")
    except OSError as error:
        yield Problem(variable, f"cannot be read: {error.strerror} (got {str(path)[:200]!r})")
